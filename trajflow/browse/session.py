"""Stores, trained runs and browsed windows that are open in one process."""

from pathlib import Path

from trajflow.browse.browser import Browser
from trajflow.browse.corrupted import CorruptedBrowser
from trajflow.browse.scores import WindowForecaster
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.ood.report import OODTerms
from trajflow.runs import RunFolder, run_settings, track_data

MAX_OPEN = 4
"""Browsers that stay open; the least recently used one is closed."""


class Session:
    """Opens runs and stores once, and keeps them open while their files stay unchanged.

    Example:
        >>> from trajflow.browse.session import Session
        >>> view = Session().browser(run, data, "test").view(0)  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._browsers: dict[tuple[Path, Path, str, float], Browser] = {}
        self._predictors: dict[tuple[Path, int, float], TorchPredictor] = {}
        self._stores: dict[tuple[Path, float], Store] = {}
        self._corrupted: tuple[object, CorruptedBrowser] | None = None

    def browser(self, run: Path, data: Path, split: str) -> Browser:
        """The windows of a split, forecast by a run.

        Raises:
            RunError: There is no such run, or it does not fit the store.
            DataError: There is no such store, or the split is empty.
            ConfigError: There is no such split.
        """
        key = (run, data, split, _modified(run))
        browser = self._browsers.pop(key, None) or self._open(run, data, split)
        self._browsers[key] = browser
        while len(self._browsers) > MAX_OPEN:
            del self._browsers[next(iter(self._browsers))]
        return browser

    def predictor(self, run: Path, steps: int = 1) -> TorchPredictor:
        """The predictor of a run with a number of network evaluations per sample.

        Raises:
            RunError: There is no such run.
        """
        folder = RunFolder.open(run)
        key = (folder.path, steps, _modified(folder.path))
        if key not in self._predictors:
            if len(self._predictors) > 2 * MAX_OPEN:
                self._predictors.clear()
            self._predictors[key] = TorchPredictor.load(folder.path, steps=steps)
        return self._predictors[key]

    def store(self, data: Path) -> Store:
        """A store of tracks.

        Raises:
            DataError: There is no such store, or it is damaged.
        """
        key = (data, _modified(data))
        if key not in self._stores:
            if len(self._stores) > MAX_OPEN:
                self._stores.clear()
            self._stores[key] = open_store(data)
        return self._stores[key]

    def corrupted(
        self, run: Path, data: Path, terms: OODTerms, against: Path | None
    ) -> CorruptedBrowser:
        """The windows behind an OOD report; only those of the last report are kept."""
        key = (run, data, terms, against, _modified(run))
        if self._corrupted is None or self._corrupted[0] != key:
            other = None if against is None else self.store(against)
            predictor, config = self.predictor(run, terms.steps), RunFolder.open(run).config
            browser = CorruptedBrowser(predictor, self.store(data), config, terms, other)
            self._corrupted = key, browser
        return self._corrupted[1]

    def tracks(self, run: Path, data: Path) -> TrackData:
        """The splits of a store for a run, as `trajflow evaluate` cuts them."""
        store = self.store(data)
        return track_data(store, run_settings(store, RunFolder.open(run)))

    def _open(self, run: Path, data: Path, split: str) -> Browser:
        check_fit(self.predictor(run), self.store(data), data)
        return Browser(self._forecaster(str(run)), self.tracks(run, data), split, self._forecaster)

    def _forecaster(self, name: str) -> WindowForecaster:
        path = RunFolder.open(name).path
        return WindowForecaster.of_run(
            path.resolve().name, lambda steps: self.predictor(path, steps)
        )


def _modified(folder: Path) -> float:
    """When the files of a run or store were last written; 0 if there are none."""
    names = ("weights.safetensors", "ood.safetensors", "calibration.json", "zarr.json")
    return max(_mtime(folder / name) for name in names)


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
