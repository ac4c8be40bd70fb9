"""A trained run and the data it is asked about, once they fit each other."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trajflow.errors import RunError

if TYPE_CHECKING:
    from trajflow.datasets.store import Store
    from trajflow.predictor import Predictor


def load_predictor(run: Path, store: "Store", device: str, steps: int) -> "Predictor":
    """The predictor of a run.

    Raises:
        RunError: There is none, or the store has other steps, units or coordinates.
    """
    from trajflow.predictor import Predictor
    from trajflow.runs import RunFolder
    from trajflow.training.setup import device_of

    folder = RunFolder.open(run)
    predictor = Predictor.load(folder.path, str(device_of(device)), steps)
    made = f"{predictor.dims} coordinates in {predictor.unit}, every {predictor.dt:g} s"
    given = f"{store.dims} coordinates in {store.unit}, every {store.dt:g} s"
    apart = abs(store.dt - predictor.dt) > 1e-6 * predictor.dt
    if apart or (store.dims, store.unit) != (predictor.dims, predictor.unit):
        raise RunError(
            f"{run} was trained on {made}; {store.path} has {given}. "
            "Import the tracks with the --dt and --unit of the run, or train on them"
        )
    return predictor


@contextmanager
def opened(path: Path, columns: Mapping[str, str], dt: float | None) -> Iterator["Store"]:
    """A store, or a table of tracks read into one that is gone afterwards."""
    from trajflow.datasets.importing import import_tracks
    from trajflow.datasets.store import open_store

    if path.is_dir() or not path.exists():
        yield open_store(path)
        return
    with TemporaryDirectory() as folder:
        place = Path(folder) / "tracks.zarr"
        import_tracks("table", path, place, columns=columns, dt=dt)
        yield open_store(place)
