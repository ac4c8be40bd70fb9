"""A trained run and the tracks it is asked about, once they fit each other."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trajflow.cli.streams import log
from trajflow.errors import RunError

if TYPE_CHECKING:
    from trajflow.datasets.store import Store
    from trajflow.predictor import Predictor
    from trajflow.runtime import Predictor as Exported


def load_forecaster(run: Path, device: str, steps: int) -> "Predictor | Exported":
    """The predictor of a run, or of an exported model.

    Raises:
        RunError: There is none, or it was exported for another number of evaluations.
    """
    if run.suffix not in (".onnx", ".pt2"):
        return load_predictor(run, device, steps)
    from trajflow.runtime import Predictor

    predictor = Predictor.load(run)
    if predictor.steps != steps:
        raise RunError(
            f"{run} draws in {predictor.steps} evaluations, asked for {steps}; leave --steps at "
            f"{predictor.steps}, or export the run with --steps {steps}"
        )
    return predictor


def load_predictor(run: Path, device: str, steps: int) -> "Predictor":
    """The predictor of a run.

    Raises:
        RunError: There is none.
    """
    from trajflow.predictor import Predictor
    from trajflow.runs import RunFolder
    from trajflow.training.setup import device_of

    return Predictor.load(RunFolder.open(run).path, str(device_of(device)), steps)


def check_fit(predictor: "Predictor | Exported", store: "Store", tracks: Path) -> None:
    """Refuse tracks that a predictor cannot know anything about.

    Raises:
        RunError: They have other steps, units or coordinates than it was trained on.
    """
    apart = abs(store.dt - predictor.dt) > 1e-6 * predictor.dt
    if apart or (store.dims, store.unit) != (predictor.dims, predictor.unit):
        raise RunError(
            f"the run was trained on {predictor.dims} coordinates in {predictor.unit}, every "
            f"{predictor.dt:g} s; {tracks} has {store.dims} in {store.unit}, every "
            f"{store.dt:g} s. Import them with the --dt and --unit of the run, or train on them"
        )


@contextmanager
def opened(
    path: Path, columns: Mapping[str, str], dt: float | None, unit: str
) -> Iterator["Store"]:
    """A store, or a table of tracks read into one that is gone afterwards."""
    from trajflow.datasets.importing import import_tracks
    from trajflow.datasets.store import open_store

    if path.is_dir() or not path.exists():
        yield open_store(path)
        return
    with TemporaryDirectory() as folder:
        place = Path(folder) / "tracks.zarr"
        report = import_tracks("table", path, place, columns=columns, dt=dt, unit=unit)
        for line in report.lines():
            log.debug("%s", line)
        if report.quarantined:
            log.warning(
                "rows that were left out: %s; see `trajflow data import table %s`",
                ", ".join(f"{name} {count}" for name, count in report.quarantined.items()),
                path,
            )
        yield open_store(place)
