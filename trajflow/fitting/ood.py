"""Fit the OOD detector of a run, which also says the error to expect, and keep it in the run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.batch import OnProgress, counted, silent
from trajflow.calibration import digest
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, TrajflowError
from trajflow.inference.predictor import WEIGHTS, TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.ood.corruptions import trained
from trajflow.ood.detector import Detector, Origin
from trajflow.ood.fitting import fit_detector
from trajflow.ood.storage import FILE, stored
from trajflow.run_data import run_data
from trajflow.runs import RunFolder
from trajflow.tensors import device_of

if TYPE_CHECKING:
    from trajflow.training import Trainer

log = logging.getLogger("trajflow")

BATCH = 256
"""Targets in a batch."""
MIN_PEOPLE = 20
"""Validation people below which a training ends without an OOD detector."""


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
    predictor = _predictor(folder, device, options.steps)
    check_fit(predictor, store, data)
    tracks = run_data(store, folder)
    origin = _fit(folder, predictor, tracks, options, store.fingerprint(), on_progress).origin
    if origin.people < MIN_PEOPLE:
        log.warning(
            "%d validation people cannot say what one in twenty is; %d or more do",
            origin.people,
            MIN_PEOPLE,
        )
    return {
        "detector": str(folder.path / FILE),
        "bytes": len(folder.read(FILE, "it has just been written")),
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
        predictor = _predictor(trainer.folder, str(trainer.device))
        store, options = str(record.get("store", "")), OODOptions(2000)
        detector = _fit(trainer.folder, predictor, trainer.data, options, store, on_progress)
    except TrajflowError as error:
        log.warning("no OOD detector fitted: %s", error)
        return None
    log.info("OOD detector fitted on %d people", detector.origin.fitted_people)
    return detector


def _predictor(folder: RunFolder, device: str, steps: int | None = None) -> TorchPredictor:
    """The weights of a run alone, drawing in the evaluations that errors are expected of."""
    path = folder.path / WEIGHTS
    predictor = TorchPredictor.load(path, str(device_of(device)))
    one_step = predictor.model.architecture.average
    predictor.steps = steps or folder.config.train.steps or (1 if one_step else 8)
    return predictor


def _fit(
    folder: RunFolder,
    predictor: TorchPredictor,
    data: Any,
    options: OODOptions,
    store: str,
    on_progress: OnProgress,
) -> Detector:
    train, val = (
        counted(batches, f"{split} windows", on_progress)
        for split, batches in (
            ("train", data.validation(BATCH, options.windows, "train")),
            ("val", data.calibration(BATCH, options.windows)),
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
    folder.write(FILE, stored(detector))
    return detector
