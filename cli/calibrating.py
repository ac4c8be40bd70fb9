"""How a run is calibrated: forecasts of validation people against what happened to them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.console import counted, log
from trajflow.errors import ConfigError, TrajflowError

if TYPE_CHECKING:
    from trajflow.batch import Batch, Floats
    from trajflow.calibration import Calibration, Evidence, Reliability
    from trajflow.datasets.loader import TrackData
    from trajflow.predictor import Predictor
    from trajflow.runs import RunFolder
    from trajflow.training import Trainer

SIZE = 512
"""Targets in a batch."""
USUAL = 500
"""Training windows that say what spread is usual."""
LEAST = 20
"""People below which a training ends without a calibration."""
DEPENDENT = (
    "these %d people also chose the weights, because there are few or the run is of an earlier "
    "version: new people may be inside a little less often"
)


@dataclass(frozen=True)
class Fitting:
    """What a calibration is fitted on, and how its forecasts are drawn.

    Attributes:
        part: "val" or "test".
        windows: Most windows looked at.
        samples: Draws of each.
        steps: Network evaluations per draw.
        seed: Seed of the draws.
    """

    part: str = "val"
    windows: int = 2000
    samples: int = 20
    steps: int = 1
    seed: int = 0


def calibrate_run(
    run: Path, place: Path, how: Fitting, checked: str | None, device: str
) -> tuple[dict[str, Any], "Reliability"]:
    """Calibrate a run, keep that in its folder, and tell how reliable it is.

    Args:
        run: The run folder.
        place: The store.
        how: What to fit on.
        checked: Another part whose people it is held against; None: those it is fitted on, half
            by half.
        device: Where to compute.

    Raises:
        ConfigError: A part cannot be used.
        RunError: The run does not fit the tracks.
    """
    from trajflow.datasets.store import open_store
    from trajflow.inference.tables import check_fit
    from trajflow.run_data import run_data
    from trajflow.runs import RunFolder

    if "train" in (how.part, checked) or how.part == checked:
        raise ConfigError(
            f"cannot calibrate on {how.part!r} and check on {checked!r}: the run has learned from "
            "its training part, and a check wants people of another part"
        )
    if how.samples < 2:
        raise ConfigError(f"a calibration needs the spread of 2 samples or more, got {how.samples}")
    folder, store = RunFolder.open(run), open_store(place)
    predictor = _uncalibrated(folder, device, how.steps)
    check_fit(predictor, store, place)
    data = run_data(store, folder)
    evidence = _evidence(predictor, data, how)
    usual = _usual(predictor, data, how)
    calibration = _kept(folder, data, evidence, usual, how, store.fingerprint())
    found = _reliability(predictor, data, calibration, evidence, usual, how, checked)
    told: dict[str, Any] = {
        "run": str(folder.path),
        "data": str(place),
        "fold": folder.config.data.fold,
        "unit": store.unit,
        **vars(calibration.origin),
        "highest_level": calibration.highest,
        "checked_on": checked or how.part,
        "reliability": found.to_json(),
    }
    return told, found


def calibrate_trained(trainer: "Trainer") -> "Calibration | None":
    """The calibration of what a training has kept; None, and said why, where there is none."""
    settings = trainer.settings
    steps = settings.steps or (1 if trainer.model.architecture.average else 8)
    how = Fitting(windows=min(2000, settings.validation_windows), steps=steps)
    try:
        predictor = _uncalibrated(trainer.folder, str(trainer.device), steps)
        data: Any = trainer.data
        people = data.calibrators()["people"]
        if people < LEAST:
            log.debug("not calibrated: %d validation people, %d needed", people, LEAST)
            return None
        evidence = _evidence(predictor, data, how)
        store = str(trainer.folder.read_record().get("store", ""))
        usual = _usual(predictor, data, how)
        calibration = _kept(trainer.folder, data, evidence, usual, how, store)
        _say(calibration)
        return calibration
    except TrajflowError as error:
        log.warning("not calibrated: %s", error)
        return None


def _say(calibration: "Calibration") -> None:
    origin = calibration.origin
    log.info("regions calibrated on %d validation people", origin.people)
    if origin.left_out:
        log.info("%d more are left out: the run has trained on them", origin.left_out)
    if not origin.independent:
        log.info(DEPENDENT, origin.people)


def _uncalibrated(folder: "RunFolder", device: str, steps: int) -> "Predictor":
    from trajflow.predictor import WEIGHTS, Predictor
    from trajflow.training.setup import device_of

    return Predictor.load(folder.path / WEIGHTS, str(device_of(device)), steps)


def _evidence(predictor: "Predictor", data: Any, how: Fitting) -> "Evidence":
    from trajflow.calibration import gather

    batches = data.calibration(SIZE, how.windows, how.part)
    return gather(predictor, _counted(batches), how.samples, how.seed)


def _usual(predictor: "Predictor", data: Any, how: Fitting) -> "Floats":
    from trajflow.calibration import gather, usual_spread

    batches = _first(data.training(SIZE, 0), USUAL)
    return usual_spread(gather(predictor, batches, how.samples, how.seed))


def _kept(
    folder: "RunFolder",
    data: Any,
    evidence: "Evidence",
    usual: "Floats",
    how: Fitting,
    store: str,
) -> "Calibration":
    from trajflow.calibration import FILE, Origin, digest, fit, stored
    from trajflow.runs import WEIGHTS

    origin = Origin(
        part=how.part,
        **_who(data, how.part),
        samples=how.samples,
        evaluations=how.steps,
        seed=how.seed,
        store=store,
        weights=digest(folder.read(WEIGHTS, "train it first")),
    )
    calibration = fit(evidence, usual, origin)
    folder.write(FILE, stored(calibration))
    return calibration


def _who(data: Any, part: str) -> dict[str, Any]:
    told = data.calibrators(part)
    return {name: told[name] for name in ("left_out", "independent")}


def _reliability(
    predictor: "Predictor",
    data: "TrackData",
    calibration: "Calibration",
    evidence: "Evidence",
    usual: "Floats",
    how: Fitting,
    checked: str | None,
) -> "Reliability":
    from trajflow.calibration import check, cross_check

    if checked is None:
        return cross_check(evidence, usual, how.seed)
    if shared := len(data.leakage()["val+test"]):
        log.warning("%d people are in both parts, %s and %s", shared, how.part, checked)
    return check(calibration, _evidence(predictor, data, replace(how, part=checked)))


def _first(batches: Iterable["Batch"], windows: int) -> Iterator["Batch"]:
    """Batches until so many windows have come."""
    left = windows
    for batch in batches:
        yield batch
        left -= batch.targets
        if left <= 0:
            return


def _counted(batches: Iterable["Batch"]) -> Iterable["Batch"]:
    return counted("windows", batches, lambda batch: batch.targets)
