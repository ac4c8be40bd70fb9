"""How a run learns what is strange to it, and where it keeps that."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.console import counted, log
from trajflow.errors import ConfigError, TrajflowError, did_you_mean

if TYPE_CHECKING:
    from trajflow.batch import Batch
    from trajflow.predictor import Predictor
    from trajflow.runs import RunFolder
    from trajflow.surprise import Surprise
    from trajflow.training import Trainer

SIZE = 256
"""Targets in a batch."""
LEAST = 20
"""Validation people below which a training ends without a surprise."""


@dataclass(frozen=True)
class Fitting:
    """What a surprise is fitted on.

    Attributes:
        windows: Most windows of each part.
        without: Known faults that are not learned from.
        seed: Seed of the faults and the draws.
        steps: Network evaluations of the draws whose error is to be expected; None: as trained.
    """

    windows: int = 4000
    without: tuple[str, ...] = ()
    seed: int = 0
    steps: int | None = None

    def faults(self) -> list[str]:
        """Names of the faults that are learned from.

        Raises:
            ConfigError: One that is left out does not exist, or none is left.
        """
        from trajflow.surprise.faults import FAULTS

        for name in self.without:
            if name not in FAULTS:
                raise ConfigError(did_you_mean("fault", name, sorted(FAULTS)))
        if not (left := sorted(set(FAULTS) - set(self.without))):
            raise ConfigError("--without leaves no fault to learn from; leave out fewer")
        return left


def fit_run(run: Path, place: Path, how: Fitting, device: str) -> dict[str, Any]:
    """Fit the surprise of a run, keep it in its folder, and tell what it was fitted on.

    Raises:
        ConfigError: A fault does not exist.
        DataError: There are too few people.
        RunError: The run does not fit the tracks.
    """
    from trajflow.datasets.store import open_store
    from trajflow.inference.tables import check_fit
    from trajflow.run_data import run_data
    from trajflow.runs import RunFolder
    from trajflow.surprise import FILE

    faults = how.faults()
    folder, store = RunFolder.open(run), open_store(place)
    predictor = _bare(folder, device)
    check_fit(predictor, store, place)
    data = run_data(store, folder)
    found = _kept(folder, predictor, data, how, store.fingerprint())
    if found.origin.people < LEAST:
        log.warning(
            "%d validation people cannot say what one in twenty is; %d or more do",
            found.origin.people,
            LEAST,
        )
    size = len(folder.read(FILE, "it has just been written"))
    return {"surprise": str(folder.path / FILE), "bytes": size, **_told(found), "faults": faults}


def fit_trained(trainer: "Trainer") -> "Surprise | None":
    """The surprise of what a training has kept; None, and said why, where there is none."""
    record = trainer.folder.read_record()
    data: Any = trainer.data
    people = data.calibrators()["people"] if record.get("parts", {}).get("val") else 0
    if people < LEAST:
        log.debug("no surprise fitted: %d validation people, %d needed", people, LEAST)
        return None
    try:
        predictor = _bare(trainer.folder, str(trainer.device))
        store = str(record.get("store", ""))
        found = _kept(trainer.folder, predictor, data, Fitting(2000), store)
        log.info("surprise fitted on %d people", found.origin.learned)
        return found
    except TrajflowError as error:
        log.warning("no surprise fitted: %s", error)
        return None


def _bare(folder: "RunFolder", device: str) -> "Predictor":
    from trajflow.predictor import WEIGHTS, Predictor
    from trajflow.training.setup import device_of

    return Predictor.load(folder.path / WEIGHTS, str(device_of(device)))


def _kept(
    folder: "RunFolder", predictor: "Predictor", data: Any, how: Fitting, store: str
) -> "Surprise":
    from trajflow.calibration import digest
    from trajflow.runs import WEIGHTS
    from trajflow.surprise import FILE, Origin, fit, stored

    weights = digest(folder.read(WEIGHTS, "train it first"))
    learned = _counted("train", data.validation(SIZE, how.windows, "train"))
    held = _counted("val", data.calibration(SIZE, how.windows))
    who = data.calibrators()
    average = predictor.model.architecture.average
    origin = Origin(
        left_out=who["left_out"],
        independent=who["independent"],
        store=store,
        weights=weights,
        dt=predictor.dt,
        unit=predictor.unit,
        evaluations=how.steps or folder.config.train.steps or (1 if average else 8),
        temperature=predictor.temperature,
    )
    found = fit(predictor.model, learned, held, how.seed, how.faults(), origin)
    folder.write(FILE, stored(found))
    return found


def _counted(part: str, batches: Iterable["Batch"]) -> Iterable["Batch"]:
    return counted(f"{part} windows", batches, lambda batch: batch.targets)


def _told(found: "Surprise") -> dict[str, Any]:
    said = found.origin
    told = {"learned_from": said.learned, "calibrated_on": said.people, "windows": said.windows}
    names = ("left_out", "independent", "evaluations", "temperature")
    return told | {name: getattr(said, name) for name in names}
