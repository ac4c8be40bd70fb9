"""Fit the OOD score of a run: how strange a past is to it, why, and the error to expect."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.calibration import digest
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, TrajflowError, did_you_mean
from trajflow.inference.predictor import WEIGHTS, TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.models.tensors import device_of
from trajflow.runs import RunFolder, run_data
from trajflow.surprise import FILE, Origin, Surprise, fit, stored
from trajflow.surprise.faults import FAULTS
from trajflow.types import OnProgress, counted, silent

if TYPE_CHECKING:
    from trajflow.training import Trainer

log = logging.getLogger("trajflow")

BATCH = 256
"""Targets in a batch."""
MIN_PEOPLE = 20
"""Validation people below which a training ends without an OOD score."""


@dataclass(frozen=True)
class OodOptions:
    """What an OOD score is fitted on.

    Attributes:
        windows: Most windows of each split.
        without: Known corruptions that it does not learn from.
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
        for name in self.without:
            if name not in FAULTS:
                raise ConfigError(did_you_mean("fault", name, sorted(FAULTS)))
        if not (left := sorted(set(FAULTS) - set(self.without))):
            raise ConfigError("--without leaves no fault to learn from; leave out fewer")
        return left


def fit_ood(
    run: str | Path,
    data: str | Path,
    options: OodOptions | None = None,
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Fit the OOD score of a run and keep it in its folder.

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
    options = options or OodOptions()
    corruptions = options.corruptions()
    folder, store = RunFolder.open(run), open_store(data)
    predictor = _bare(folder, device)
    check_fit(predictor, store, data)
    tracks = run_data(store, folder)
    origin = _keep(folder, predictor, tracks, options, store.fingerprint(), on_progress).origin
    if origin.people < MIN_PEOPLE:
        log.warning(
            "%d validation people cannot say what one in twenty is; %d or more do",
            origin.people,
            MIN_PEOPLE,
        )
    return {
        "surprise": str(folder.path / FILE),
        "bytes": len(folder.read(FILE, "it has just been written")),
        "learned_from": origin.learned,
        "calibrated_on": origin.people,
        "windows": origin.windows,
        "left_out": origin.left_out,
        "independent": origin.independent,
        "evaluations": origin.evaluations,
        "temperature": origin.temperature,
        "faults": corruptions,
    }


def fit_ood_trained(trainer: Trainer, on_progress: OnProgress = silent) -> Surprise | None:
    """Fit the OOD score of what a training has kept; None, and the reason in the log, if not."""
    record = trainer.folder.read_record()
    people = record.get("parts", {}).get("val", {}).get("people", 0)
    if people < MIN_PEOPLE:
        log.debug("no surprise fitted: %d validation people, %d needed", people, MIN_PEOPLE)
        return None
    try:
        predictor = _bare(trainer.folder, str(trainer.device))
        store = str(record.get("store", ""))
        options = OodOptions(2000)
        found = _keep(trainer.folder, predictor, trainer.data, options, store, on_progress)
    except TrajflowError as error:
        log.warning("no surprise fitted: %s", error)
        return None
    log.info("surprise fitted on %d people", found.origin.learned)
    return found


def _bare(folder: RunFolder, device: str) -> TorchPredictor:
    return TorchPredictor.load(folder.path / WEIGHTS, str(device_of(device)))


def _keep(
    folder: RunFolder,
    predictor: TorchPredictor,
    data: Any,
    options: OodOptions,
    store: str,
    on_progress: OnProgress,
) -> Surprise:
    learned = counted(
        data.validation(BATCH, options.windows, "train"), "train windows", on_progress
    )
    held = counted(data.calibration(BATCH, options.windows), "val windows", on_progress)
    people = data.calibrators()
    usual_steps = 1 if predictor.model.architecture.average else 8
    origin = Origin(
        left_out=people["left_out"],
        independent=people["independent"],
        store=store,
        weights=digest(folder.read(WEIGHTS, "train it first")),
        dt=predictor.dt,
        unit=predictor.unit,
        evaluations=options.steps or folder.config.train.steps or usual_steps,
        temperature=predictor.temperature,
    )
    found = fit(predictor.model, learned, held, options.seed, options.corruptions(), origin)
    folder.write(FILE, stored(found))
    return found
