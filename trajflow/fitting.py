"""Fits calibration, OOD detector and learned samples of a trained run."""

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
    calibration_bytes,
    digest,
    fit,
    gather,
    median_spread,
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
from trajflow.ood.storage import detector_bytes
from trajflow.reliability import Reliability, check, cross_check
from trajflow.runs import RunFolder, run_data
from trajflow.training import Trainer
from trajflow.training.learned_samples import LearnedSamplesTrainer, keep_samples
from trajflow.training.reproducible import reproducible
from trajflow.types import Batch, Floats, OnProgress, counted, silent

log = logging.getLogger("trajflow")

BATCH = 512
OOD_BATCH = 256
# Training windows for the typical spread.
SPREAD_WINDOWS = 500
# About how long an OOD fit takes on one core.
OOD_SECONDS = 6.0
# The same as a number of validations, for slow machines.
OOD_VALIDATIONS = 8
# With fewer people, a training ends without a calibration and an OOD detector.
MIN_PEOPLE = 20
DEPENDENT = (
    "these %d people also chose the weights, because there are few or the run is of an earlier "
    "version: coverage may be slightly lower for new people"
)


@dataclass(frozen=True)
class CalibrationOptions:
    """Options of a calibration.

    Attributes:
        split: "val" or "test".
        windows: Most windows.
        samples: Draws of each window.
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
    """Calibrate the prediction regions of a run, write the calibration, and measure its coverage.

    Args:
        run: The run folder.
        data: A store.
        options: Options; None: 2000 windows of the validation split.
        check_split: Split to measure coverage on; None: the same people, by cross-validation in
            halves.
        device: Device to compute on.
        on_progress: Called with "windows" and the number done.

    Returns:
        A summary as JSON values, and the measured coverage by level.

    Raises:
        ConfigError: A split cannot be used.
        RunError: The run does not fit the tracks.

    Examples:
        >>> from trajflow.fitting import calibrate_run
        >>> summary, coverage = calibrate_run("runs/demo", "tracks.zarr")  # doctest: +SKIP
    """
    options = options or CalibrationOptions()
    if "train" in (options.split, check_split) or options.split == check_split:
        raise ConfigError(
            f"cannot calibrate on {options.split!r} and check on {check_split!r}: the run has "
            "learned from its training split, and a check needs another split"
        )
    if options.samples < 2:
        raise ConfigError(f"a calibration needs 2 samples or more, got {options.samples}")
    folder, store = RunFolder.open(run), open_store(data)
    predictor = _uncalibrated(folder, device, options.steps)
    check_fit(predictor, store, data)
    tracks = run_data(store, folder)
    evidence = _evidence(predictor, tracks, options, on_progress)
    typical_spread = _typical_spread(predictor, tracks, options)
    calibration = _write_calibration(
        folder, tracks, evidence, typical_spread, options, store.fingerprint()
    )
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
    """Calibrate the run of a finished training; if that fails, log the reason and return None."""
    settings = trainer.settings
    steps = settings.evaluations(trainer.model.architecture.average)
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
        calibration = _write_calibration(
            trainer.folder, data, evidence, typical_spread, options, store
        )
    except TrajflowError as error:
        log.warning("not calibrated: %s", error)
        return None
    origin = calibration.origin
    log.info("regions calibrated on %d validation people", origin.people)
    if origin.left_out:
        log.info("%d other people are left out: the run was trained on them", origin.left_out)
    if not origin.independent:
        log.info(DEPENDENT, origin.people)
    return calibration


def _uncalibrated(folder: RunFolder, device: str, steps: int | None = None) -> TorchPredictor:
    """The run's weights alone; without `steps`, with as many evaluations as it was trained for."""
    predictor = TorchPredictor.load(folder.path / WEIGHTS, str(device_of(device)))
    average = predictor.model.architecture.average
    predictor.steps = steps or folder.config.train.evaluations(average)
    return predictor


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


def _write_calibration(
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
    folder.write(FILE, calibration_bytes(calibration))
    return calibration


def _first(batches: Iterable[Batch], windows: int) -> Iterator[Batch]:
    """The first batches, until they have so many windows."""
    for batch in batches:
        yield batch
        windows -= batch.targets
        if windows <= 0:
            return


def fit_learned_samples(
    run: str | Path,
    data: str | Path,
    settings: Sequence[str] = (),
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Learn samples of a run on the training split, and write them to its folder.

    Args:
        run: The run folder; its network is not changed.
        data: A store.
        settings: Settings of learned samples, such as "samples.count=20".
        device: Device to compute on.
        on_progress: Called with "epochs", the number done and their total.

    Returns:
        The file, the number of samples, and their scores on the validation split.

    Raises:
        ConfigError: A setting is invalid, or the model draws the agents of a scene jointly.
        RunError: The run does not fit the tracks.
    """
    folder, store = RunFolder.open(run), open_store(data)
    config = _with_settings(folder.config, settings)
    torch_device = device_of(device)
    predictor = TorchPredictor.load(folder.path, str(torch_device))
    check_fit(predictor, store, data)
    tracks = run_data(store, folder, config)
    trainer = LearnedSamplesTrainer(predictor.model, tracks, config, torch_device)
    for progress in trainer.run():
        on_progress("epochs", progress.epoch, config.samples.epochs)
        log.info(
            "epoch %d: minADE %.4g, minFDE %.4g on validation%s",
            progress.epoch,
            progress.min_ade,
            progress.min_fde,
            ", best" if progress.best else "",
        )
    path = keep_samples(folder, trainer)
    return {"set": str(path), "count": config.samples.count, **trainer.scores}


def _with_settings(config: Config, settings: Sequence[str]) -> Config:
    """The run's settings with other settings of learned samples."""
    others = [word for word in settings if not word.strip().startswith("samples.")]
    if others:
        raise ConfigError(
            f"--set {others[0]}: the run is already trained; only samples.NAME=VALUE can be set"
        )
    samples = Config.load(None, settings).samples.model_dump(exclude_unset=True)
    return config.model_copy(update={"samples": config.samples.model_copy(update=samples)})


@dataclass(frozen=True)
class OODOptions:
    """Options of the fit of an OOD detector.

    Attributes:
        windows: Most windows of each split.
        without: Names of corruptions that the detector is not trained on.
        seed: Seed of corruptions and draws.
        steps: Network evaluations per draw for the expected error; None: as trained.
    """

    windows: int = 4000
    without: tuple[str, ...] = ()
    seed: int = 0
    steps: int | None = None

    def corruptions(self) -> list[str]:
        """Names of the corruptions to train on.

        Raises:
            ConfigError: A name in `without` does not exist, or no corruption is left.
        """
        left_out = {corruption.name for corruption in trained(self.without)}
        names = [corruption.name for corruption in trained() if corruption.name not in left_out]
        if not names:
            raise ConfigError("--without leaves no corruption to train on; name fewer")
        return names


def fit_ood(
    run: str | Path,
    data: str | Path,
    options: OODOptions | None = None,
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Fit the OOD detector of a run and write it to its folder.

    Args:
        run: The run folder.
        data: A store.
        options: Options; None: 4000 windows of each split.
        device: Device to compute on.
        on_progress: Called with the windows of each split, and the number done.

    Returns:
        The file, and numbers of people and windows.

    Raises:
        ConfigError: There is no such corruption.
        DataError: There are too few people.
        RunError: The run does not fit the tracks.
    """
    options = options or OODOptions()
    corruptions = options.corruptions()
    folder, store = RunFolder.open(run), open_store(data)
    predictor = _uncalibrated(folder, device, options.steps)
    check_fit(predictor, store, data)
    tracks = run_data(store, folder)
    origin = _fit_ood(folder, predictor, tracks, options, store.fingerprint(), on_progress).origin
    if origin.people < MIN_PEOPLE:
        log.warning(
            "%d validation people are too few for a 95 %% threshold; use %d or more",
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
    """Fit the OOD detector of a finished training; on failure, log why and return None."""
    record = trainer.folder.read_record()
    people = record.get("parts", {}).get("val", {}).get("people", 0)
    if people < MIN_PEOPLE:
        log.debug("no OOD detector fitted: %d validation people, %d needed", people, MIN_PEOPLE)
        return None
    try:
        predictor = _uncalibrated(trainer.folder, str(trainer.device))
        store, options = str(record.get("store", "")), OODOptions(2000)
        detector = _fit_ood(trainer.folder, predictor, trainer.data, options, store, on_progress)
    except TrajflowError as error:
        log.warning("no OOD detector fitted: %s", error)
        return None
    log.info("OOD detector fitted on %d people", detector.origin.fitted_people)
    return detector


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
    folder.write(OOD_FILE, detector_bytes(detector))
    return detector


def fit_trained(trainer: Trainer, on_progress: OnProgress = silent) -> None:
    """Calibrate a finished training and fit its OOD detector, if there are enough people.

    A part that the run already has is not fitted again.
    """
    existing = Manifest.read(trainer.folder.path).files if trainer.finished else {}
    if trainer.model.architecture.memory:
        # Calibrate forecasts without memory, which are the default of `predict`.
        trainer.data.watch(0)
    with reproducible(trainer.settings.threads, trainer.device):
        if FILE not in existing:
            calibrate_trained(trainer, on_progress)
        seconds = max(OOD_SECONDS, OOD_VALIDATIONS * trainer.schedule.validation_seconds)
        if OOD_FILE not in existing and trainer.has_time(seconds):
            fit_ood_trained(trainer, on_progress)
        elif OOD_FILE not in existing:
            log.warning(
                "no OOD detector fitted: the time limit leaves no time for it; `trajflow fit RUN "
                "DATA ood` fits it"
            )
