"""What is open in one process: stores, trained runs and the windows that are browsed."""

from pathlib import Path

from trajflow.browsing.browser import Browser
from trajflow.browsing.rivals import Rival, of_run
from trajflow.browsing.shifted import ShiftedBrowser
from trajflow.config import Config
from trajflow.datasets.data import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.errors import RunError
from trajflow.ood.question import Question
from trajflow.predictor import Predictor
from trajflow.runs import RunFolder

MOST = 4
"""Browsers that stay open; the one that was asked for longest ago makes room."""


class Shelf:
    """Opens what is asked for once, and keeps it as long as the files stay the same."""

    def __init__(self) -> None:
        self._browsers: dict[tuple[Path, Path, str, float], Browser] = {}
        self._predictors: dict[tuple[Path, int, float], Predictor] = {}
        self._stores: dict[tuple[Path, float], Store] = {}
        self._shifted: tuple[object, ShiftedBrowser] | None = None

    def browser(self, run: Path, data: Path, part: str) -> Browser:
        """The windows of a part, forecast by a run.

        Raises:
            RunError: There is no such run, or it knows nothing about such tracks.
            DataError: There is no such store, or the part is empty.
            ConfigError: There is no such part.
        """
        key = (run, data, part, _changed(run))
        found = self._browsers.pop(key, None) or self._open(run, data, part)
        self._browsers[key] = found
        while len(self._browsers) > MOST:
            del self._browsers[next(iter(self._browsers))]
        return found

    def predictor(self, run: Path, steps: int = 1) -> Predictor:
        """The predictor of a run, with as many network evaluations per draw.

        Raises:
            RunError: There is none.
        """
        folder = RunFolder.open(run)
        key = (folder.path, steps, _changed(folder.path))
        if key not in self._predictors:
            if len(self._predictors) > 2 * MOST:
                self._predictors.clear()
            self._predictors[key] = Predictor.load(folder.path, steps=steps)
        return self._predictors[key]

    def store(self, data: Path) -> Store:
        """A store of tracks.

        Raises:
            DataError: There is none, or it is damaged.
        """
        key = (data, _changed(data))
        if key not in self._stores:
            if len(self._stores) > MOST:
                self._stores.clear()
            self._stores[key] = open_store(data)
        return self._stores[key]

    def shifted(
        self, run: Path, data: Path, question: Question, against: Path | None
    ) -> ShiftedBrowser:
        """The windows of an out-of-distribution report; those of the last one asked for stay."""
        key = (run, data, question, against, _changed(run / "weights.safetensors"))
        if self._shifted is None or self._shifted[0] != key:
            other = None if against is None else self.store(against)
            predictor = self.predictor(run, question.steps)
            config = RunFolder.open(run).config
            browser = ShiftedBrowser(predictor, self.store(data), config, question, other)
            self._shifted = key, browser
        return self._shifted[1]

    def tracks(self, run: Path, data: Path) -> TrackData:
        """The parts of a store as a run's settings cut them."""
        config: Config = RunFolder.open(run).config
        return TrackData(self.store(data), **config.data.model_dump(), order=config.train.seed)

    def _open(self, run: Path, data: Path, part: str) -> Browser:
        store, predictor = self.store(data), self.predictor(run)
        apart = abs(store.dt - predictor.dt) > 1e-6 * predictor.dt
        if apart or (store.dims, store.unit) != (predictor.dims, predictor.unit):
            raise RunError(
                f"the run was trained on {predictor.dims} coordinates in {predictor.unit}, every "
                f"{predictor.dt:g} s; {data} has {store.dims} in {store.unit}, every "
                f"{store.dt:g} s. Import them as the run's were, or train on them"
            )
        windows = self.tracks(run, data).windows(part)
        return Browser(self._rival(str(run)), store, windows, part, self._rival)

    def _rival(self, name: str) -> Rival:
        """A run by its folder."""
        place = RunFolder.open(name).path
        return of_run(place.resolve().name, lambda steps: self.predictor(place, steps))


def _changed(folder: Path) -> float:
    """When the files of a folder were last written; 0 if there are none."""
    names = ("weights.safetensors", "surprise.safetensors", "calibration.json", "zarr.json")
    return max(_written(folder / name) for name in names)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
