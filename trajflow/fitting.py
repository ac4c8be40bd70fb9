"""Fit what a trained run carries beside its weights: calibration, OOD score, learned samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trajflow.calibration import (
    FILE,
    Calibration,
    CalibrationOrigin,
    Evidence,
    digest,
    fit,
    gather,
    median_spread,
    stored,
)
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, TrajflowError
from trajflow.inference.predictor import WEIGHTS, TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.manifest import Manifest
from trajflow.models.tensors import device_of
from trajflow.ood.fit import fit_ood as fit_ood
from trajflow.ood.fit import fit_ood_trained
from trajflow.reliability import Reliability, check, cross_check
from trajflow.runs import RunFolder, run_data
from trajflow.surprise import FILE as OOD
from trajflow.training import Trainer
from trajflow.training.learned_samples import LearnedSamplesTrainer, keep_samples
from trajflow.training.reproducible import reproducible
from trajflow.types import Batch, Floats, OnProgress, counted, silent

log = logging.getLogger("trajflow")

BATCH = 512
"""Targets in a batch."""
SPREAD_WINDOWS = 500
"""Training windows that say what spread is usual."""
MIN_PEOPLE = 20
"""People below which a training ends without a calibration."""
DEPENDENT = (
    "these %d people also chose the weights, because there are few or the run is of an earlier "
    "version: new people may be inside a little less often"
)


@dataclass(frozen=True)
class CalibrationOptions:
    """What a calibration is fitted on, and how its forecasts are drawn.

    Attributes:
        split: "val" or "test".
        windows: Most windows looked at.
        samples: Draws of each.
        steps: Network evaluations per draw.
        seed: Seed of the draws.
    """

    split: str = "val"
    windows: int = 2000
    samples: int = 20
    steps: int = 1
    seed: int = 0


def calibrate_run(
    run: str | Path,
    data: str | Path,
    options: CalibrationOptions | None = None,
    *,
    check_split: str | None = None,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> tuple[dict[str, Any], Reliability]:
    """Calibrate a run, keep the calibration in its folder, and measure how reliable it is.

    Args:
        run: The run folder.
        data: A store.
        options: What it is fitted on; None: 2000 windows of the validation split.
        check_split: Another split whose people it is checked on; None: those it is fitted on, half
            by half.
        device: Where to compute.
        on_progress: Called with "windows" and the number done.

    Returns:
        Whom it is fitted on, as JSON values, and the share of truths inside by level.

    Raises:
        ConfigError: A split cannot be used.
        RunError: The run does not fit the tracks.
    """
    options = options or CalibrationOptions()
    if "train" in (options.split, check_split) or options.split == check_split:
        raise ConfigError(
            f"cannot calibrate on {options.split!r} and check on {check_split!r}: the run has "
            "learned from its training split, and a check wants people of another split"
        )
    if options.samples < 2:
        raise ConfigError(
            f"a calibration needs the spread of 2 samples or more, got {options.samples}"
        )
    folder, store = RunFolder.open(run), open_store(data)
    predictor = _uncalibrated(folder, device, options.steps)
    check_fit(predictor, store, data)
    tracks = run_data(store, folder)
    evidence = _evidence(predictor, tracks, options, on_progress)
    usual = _usual_spread(predictor, tracks, options)
    calibration = _keep(folder, tracks, evidence, usual, options, store.fingerprint())
    if check_split is None:
        reliability = cross_check(evidence, usual, options.seed)
    else:
        if shared := len(tracks.leakage()["val+test"]):
            log.warning("%d people are in both %s and %s", shared, options.split, check_split)
        others = replace(options, split=check_split)
        reliability = check(calibration, _evidence(predictor, tracks, others, on_progress))
    summary: dict[str, Any] = {
        "run": str(folder.path),
        "data": str(data),
        "fold": folder.config.data.fold,
        "unit": store.unit,
        **vars(calibration.origin),
        "highest_level": calibration.highest,
        "checked_on": check_split or options.split,
        "reliability": reliability.to_json(),
    }
    return summary, reliability


def calibrate_trained(trainer: Trainer, on_progress: OnProgress = silent) -> Calibration | None:
    """Calibrate what a training has kept; None, and the reason in the log, where it cannot be."""
    settings = trainer.settings
    steps = settings.steps or (1 if trainer.model.architecture.average else 8)
    options = CalibrationOptions(windows=min(2000, settings.validation_windows), steps=steps)
    try:
        predictor = _uncalibrated(trainer.folder, str(trainer.device), steps)
        data: Any = trainer.data
        people = data.calibrators()["people"]
        if people < MIN_PEOPLE:
            log.debug("not calibrated: %d validation people, %d needed", people, MIN_PEOPLE)
            return None
        evidence = _evidence(predictor, data, options, on_progress)
        store = str(trainer.folder.read_record().get("store", ""))
        usual = _usual_spread(predictor, data, options)
        calibration = _keep(trainer.folder, data, evidence, usual, options, store)
    except TrajflowError as error:
        log.warning("not calibrated: %s", error)
        return None
    origin = calibration.origin
    log.info("regions calibrated on %d validation people", origin.people)
    if origin.left_out:
        log.info("%d more are left out: the run has trained on them", origin.left_out)
    if not origin.independent:
        log.info(DEPENDENT, origin.people)
    return calibration


def _uncalibrated(folder: RunFolder, device: str, steps: int) -> TorchPredictor:
    return TorchPredictor.load(folder.path / WEIGHTS, str(device_of(device)), steps)


def _evidence(
    predictor: TorchPredictor, data: Any, options: CalibrationOptions, on_progress: OnProgress
) -> Evidence:
    batches = data.calibration(BATCH, options.windows, options.split)
    windows = counted(batches, "windows", on_progress)
    return gather(predictor, windows, options.samples, options.seed)


def _usual_spread(predictor: TorchPredictor, data: Any, options: CalibrationOptions) -> Floats:
    batches = _first(data.training(BATCH, 0), SPREAD_WINDOWS)
    return median_spread(gather(predictor, batches, options.samples, options.seed))


def _keep(
    folder: RunFolder,
    data: Any,
    evidence: Evidence,
    usual: Floats,
    options: CalibrationOptions,
    store: str,
) -> Calibration:
    people = data.calibrators(options.split)
    origin = CalibrationOrigin(
        split=options.split,
        left_out=people["left_out"],
        independent=people["independent"],
        samples=options.samples,
        evaluations=options.steps,
        seed=options.seed,
        store=store,
        weights=digest(folder.read(WEIGHTS, "train it first")),
    )
    calibration = fit(evidence, usual, origin)
    folder.write(FILE, stored(calibration))
    return calibration


def _first(batches: Iterable[Batch], windows: int) -> Iterator[Batch]:
    """Batches until so many windows have come."""
    left = windows
    for batch in batches:
        yield batch
        left -= batch.targets
        if left <= 0:
            return


def fit_learned_samples(
    run: str | Path,
    data: str | Path,
    settings: Sequence[str] = (),
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Learn samples of a run from the training split, and keep them in its folder.

    Args:
        run: The run folder; its network stays as it is.
        data: A store.
        settings: Settings of learned samples, as "samples.count=20".
        device: Where to compute.
        on_progress: Called with "epochs", the number done and their total.

    Returns:
        The file, the number of samples, and their scores on the validation split.

    Raises:
        ConfigError: A setting is wrong, or the model draws the agents of a scene together.
        RunError: The run does not fit the tracks.
    """
    folder, store = RunFolder.open(run), open_store(data)
    config = _with_settings(folder.config, settings)
    place = device_of(device)
    predictor = TorchPredictor.load(folder.path, str(place))
    check_fit(predictor, store, data)
    trainer = LearnedSamplesTrainer(predictor.model, run_data(store, folder, config), config, place)
    for now in trainer.run():
        on_progress("epochs", now.epoch, config.samples.epochs)
        log.info(
            "epoch %d: minADE %.4g, minFDE %.4g on validation%s",
            now.epoch,
            now.min_ade,
            now.min_fde,
            ", kept" if now.best else "",
        )
    path = keep_samples(folder, trainer)
    return {"set": str(path), "count": config.samples.count, **trainer.found}


def _with_settings(config: Config, settings: Sequence[str]) -> Config:
    """The run's settings with other ones for the learned samples."""
    strange = [word for word in settings if not word.strip().startswith("samples.")]
    if strange:
        raise ConfigError(
            f"--set {strange[0]}: the run is trained; here only samples.NAME=VALUE can be set"
        )
    given = Config.load(None, settings).samples.model_dump(exclude_unset=True)
    return config.model_copy(update={"samples": config.samples.model_copy(update=given)})


def fit_trained(trainer: Trainer, on_progress: OnProgress = silent) -> None:
    """Calibrate what a training has kept and fit its OOD score, where there are people enough.

    A run that was trained to its end before keeps what it has.
    """
    kept = Manifest.read(trainer.folder.path).files if trainer.finished else {}
    with reproducible(trainer.settings.threads, trainer.device):
        if FILE not in kept:
            calibrate_trained(trainer, on_progress)
        if OOD not in kept:
            fit_ood_trained(trainer, on_progress)
