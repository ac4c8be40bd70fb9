"""Fit what a trained run carries beside its weights: calibration, OOD detector, learned samples."""

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
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, TrajflowError
from trajflow.inference.predictor import WEIGHTS, TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.manifest import Manifest
from trajflow.models.tensors import device_of
from trajflow.ood.corruptions import trained
from trajflow.ood.detector import Detector, Origin
from trajflow.ood.fitting import fit_detector
from trajflow.ood.storage import FILE as OOD_FILE
from trajflow.ood.storage import stored as stored_detector
from trajflow.reliability import Reliability, check, cross_check
from trajflow.runs import RunFolder, run_data
from trajflow.training import Trainer
from trajflow.training.learned_samples import LearnedSamplesTrainer, keep_samples
from trajflow.training.reproducible import reproducible
from trajflow.types import Batch, Floats, OnProgress, counted, silent

log = logging.getLogger("trajflow")

BATCH = 512
"""Targets in a batch of a calibration."""
OOD_BATCH = 256
"""Targets in a batch of an OOD fit."""
SPREAD_WINDOWS = 500
"""Training windows that the typical spread is taken from."""
OOD_SECONDS = 6.0
"""Seconds that an OOD fit takes on one core, about."""
OOD_VALIDATIONS = 8
"""Validations in whose time it is done, about, where the machine is slow."""
MIN_PEOPLE = 20
"""People below which a training ends without a calibration or an OOD detector."""
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
    typical_spread = _typical_spread(predictor, tracks, options)
    calibration = _keep(folder, tracks, evidence, typical_spread, options, store.fingerprint())
    if check_split is None:
        reliability = cross_check(evidence, typical_spread, options.seed)
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
        data: TrackData = trainer.data
        people = data.calibrators()["people"]
        if people < MIN_PEOPLE:
            log.debug("not calibrated: %d validation people, %d needed", people, MIN_PEOPLE)
            return None
        evidence = _evidence(predictor, data, options, on_progress)
        store = str(trainer.folder.read_record().get("store", ""))
        typical_spread = _typical_spread(predictor, data, options)
        calibration = _keep(trainer.folder, data, evidence, typical_spread, options, store)
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
    predictor: TorchPredictor, data: TrackData, options: CalibrationOptions, on_progress: OnProgress
) -> Evidence:
    batches = data.calibration(BATCH, options.windows, options.split)
    windows = counted(batches, "windows", on_progress)
    return gather(predictor, windows, options.samples, options.seed)


def _typical_spread(
    predictor: TorchPredictor, data: TrackData, options: CalibrationOptions
) -> Floats:
    batches = _first(data.training(BATCH, 0), SPREAD_WINDOWS)
    return median_spread(gather(predictor, batches, options.samples, options.seed))


def _keep(
    folder: RunFolder,
    data: TrackData,
    evidence: Evidence,
    typical_spread: Floats,
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
    calibration = fit(evidence, typical_spread, origin)
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
    others = [word for word in settings if not word.strip().startswith("samples.")]
    if others:
        raise ConfigError(
            f"--set {others[0]}: the run is trained; here only samples.NAME=VALUE can be set"
        )
    given = Config.load(None, settings).samples.model_dump(exclude_unset=True)
    return config.model_copy(update={"samples": config.samples.model_copy(update=given)})


@dataclass(frozen=True)
class OODOptions:
    """What an OOD detector is fitted on.

    Attributes:
        windows: Most windows of each split.
        without: Corruptions that it does not learn from.
        seed: Seed of the corruptions and the draws.
        steps: Network evaluations of the draws whose error is to be expected; None: as trained.
    """

    windows: int = 4000
    without: tuple[str, ...] = ()
    seed: int = 0
    steps: int | None = None

    def corruptions(self) -> list[str]:
        """Names of the corruptions that it learns from.

        Raises:
            ConfigError: One that is left out does not exist, or none is left.
        """
        left_out = {corruption.name for corruption in trained(self.without)}
        left = [one.name for one in trained() if one.name not in left_out]
        if not left:
            raise ConfigError("--without leaves no corruption to learn from; leave out fewer")
        return left


def fit_ood(
    run: str | Path,
    data: str | Path,
    options: OODOptions | None = None,
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Fit the OOD detector of a run and keep it in its folder.

    Args:
        run: The run folder.
        data: A store.
        options: What it is fitted on; None: 4000 windows of each split.
        device: Where to compute.
        on_progress: Called with the windows of each split, and the number done.

    Returns:
        The file, and whom it is fitted on.

    Raises:
        ConfigError: A corruption does not exist.
        DataError: There are too few people.
        RunError: The run does not fit the tracks.
    """
    options = options or OODOptions()
    corruptions = options.corruptions()
    folder, store = RunFolder.open(run), open_store(data)
    predictor = _ood_predictor(folder, device, options.steps)
    check_fit(predictor, store, data)
    tracks = run_data(store, folder)
    origin = _fit_ood(folder, predictor, tracks, options, store.fingerprint(), on_progress).origin
    if origin.people < MIN_PEOPLE:
        log.warning(
            "%d validation people cannot say what one in twenty is; %d or more do",
            origin.people,
            MIN_PEOPLE,
        )
    return {
        "detector": str(folder.path / OOD_FILE),
        "bytes": len(folder.read(OOD_FILE, "it has just been written")),
        "fitted_people": origin.fitted_people,
        "reference_people": origin.people,
        "windows": origin.windows,
        "left_out": origin.left_out,
        "independent": origin.independent,
        "evaluations": origin.evaluations,
        "temperature": origin.temperature,
        "corruptions": corruptions,
    }


def fit_ood_trained(trainer: Trainer, on_progress: OnProgress = silent) -> Detector | None:
    """Fit the OOD detector of what a training has kept; None, and the reason in the log, if not."""
    record = trainer.folder.read_record()
    people = record.get("parts", {}).get("val", {}).get("people", 0)
    if people < MIN_PEOPLE:
        log.debug("no OOD detector fitted: %d validation people, %d needed", people, MIN_PEOPLE)
        return None
    try:
        predictor = _ood_predictor(trainer.folder, str(trainer.device))
        store, options = str(record.get("store", "")), OODOptions(2000)
        detector = _fit_ood(trainer.folder, predictor, trainer.data, options, store, on_progress)
    except TrajflowError as error:
        log.warning("no OOD detector fitted: %s", error)
        return None
    log.info("OOD detector fitted on %d people", detector.origin.fitted_people)
    return detector


def _ood_predictor(folder: RunFolder, device: str, steps: int | None = None) -> TorchPredictor:
    """The weights of a run alone, drawing in the evaluations that errors are expected of."""
    path = folder.path / WEIGHTS
    predictor = TorchPredictor.load(path, str(device_of(device)))
    one_step = predictor.model.architecture.average
    predictor.steps = steps or folder.config.train.steps or (1 if one_step else 8)
    return predictor


def _fit_ood(
    folder: RunFolder,
    predictor: TorchPredictor,
    data: TrackData,
    options: OODOptions,
    store: str,
    on_progress: OnProgress,
) -> Detector:
    train, val = (
        counted(batches, f"{split} windows", on_progress)
        for split, batches in (
            ("train", data.validation(OOD_BATCH, options.windows, "train")),
            ("val", data.calibration(OOD_BATCH, options.windows)),
        )
    )
    people = data.calibrators()
    origin = Origin(
        left_out=people["left_out"],
        independent=people["independent"],
        store=store,
        weights=digest(folder.read(WEIGHTS, "train it first")),
        dt=predictor.dt,
        unit=predictor.unit,
        evaluations=predictor.steps,
        temperature=predictor.temperature,
    )
    detector = fit_detector(predictor, train, val, options.seed, options.corruptions(), origin)
    folder.write(OOD_FILE, stored_detector(detector))
    return detector


def fit_trained(trainer: Trainer, on_progress: OnProgress = silent) -> None:
    """Calibrate what a training has kept and fit its OOD detector, where there are people enough.

    A run that was trained to its end before keeps what it has.
    """
    kept = Manifest.read(trainer.folder.path).files if trainer.finished else {}
    if trainer.model.architecture.memory:
        # Regions and errors are those of forecasts without memory, as `predict` makes them.
        trainer.data.watch(0)
    with reproducible(trainer.settings.threads, trainer.device):
        if FILE not in kept:
            calibrate_trained(trainer, on_progress)
        seconds = max(OOD_SECONDS, OOD_VALIDATIONS * trainer.validation_seconds)
        if OOD_FILE not in kept and trainer.has_time(seconds):
            fit_ood_trained(trainer, on_progress)
        elif OOD_FILE not in kept:
            log.warning(
                "no OOD detector fitted: the time limit does not last for it; `trajflow fit RUN "
                "DATA ood` fits it"
            )
