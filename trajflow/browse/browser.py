"""The windows of a split, each with its forecast, ranked by a score; runs and stores stay open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trajflow.browse.corrupted import CorruptedBrowser
from trajflow.browse.scores import RANKINGS, WindowForecaster, chunks, make_view, window_scores
from trajflow.browse.view import SamplingOptions, SplitSummary, View
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.windows import Windows
from trajflow.errors import ConfigError, RunError, did_you_mean
from trajflow.evaluation.scores import EvaluationOptions
from trajflow.evaluation.thresholds import with_thresholds
from trajflow.inference.choosing import rules
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.ood.report import OODTerms
from trajflow.runs import RunFolder, run_settings, track_data
from trajflow.types import Batch, Bools, Floats

PREVIEWED = 24
"""Windows among which the busiest one is the preview of a run."""
MAX_OPEN = 4
"""Browsers and stores that stay open; twice as many predictors do."""
T = TypeVar("T")


class Browser:
    """The windows of one split of a store; made by `Session.browser`.

    Attributes:
        forecaster: Who forecasts them.
        windows: The windows.
        ranked: Scores of all windows by name, [W], as far as `rank` has computed them.
    """

    def __init__(
        self,
        forecaster: WindowForecaster,
        tracks: TrackData,
        split: str,
        other: Callable[[str], WindowForecaster],
    ) -> None:
        self.forecaster, self.store = forecaster, tracks.store
        self.windows: Windows = tracks.windows(split)
        self._data, self._split, self._other = tracks, split, other
        self.ranked: dict[str, Floats] = {}
        rows = self.windows.rows.tracks
        self._type_codes = dict(zip(rows.agent.tolist(), rows.kind.tolist(), strict=True))
        self._types = rows.types

    def __len__(self) -> int:
        """Windows of the split."""
        return len(self.windows)

    @cached_property
    def miss(self) -> float | None:
        """Distance beyond which the best endpoint is a miss, as `trajflow evaluate` chooses it."""
        predictor = self.forecaster.predictor
        speed = predictor(1).displacement_scale if predictor else None
        return with_thresholds(EvaluationOptions(), self._data, speed)[0].miss

    def summary(self) -> SplitSummary:
        """What is browsed."""
        predictor = self.forecaster.predictor
        learned = bool(predictor and predictor(1).sets)
        return SplitSummary(
            count=len(self),
            selections=tuple(rule for rule in rules() if rule != "learned" or learned),
            scene=np.asarray(self.windows.scene),
            store_scenes=tuple(self.store.scenes),
            seconds=np.asarray(
                (self.windows.start + self.windows.rows.history - 1) * self.store.dt, np.float64
            ),
            targets=np.asarray(self.windows.target_counts),
            detects=bool(predictor and predictor(1).detector),
        )

    def batch(self, index: int, past: Floats | None = None) -> Batch:
        """One window as a batch of one scene.

        Another past, [A, T, D], may stand for the stored one; an agent without any observed step
        is then not forecast.

        Raises:
            ConfigError: There is no such window, or the past has another shape.
        """
        if not 0 <= index < len(self):
            raise ConfigError(f"window {index} of {len(self)}; the last is {len(self) - 1}")
        batch = self.windows.gather(np.array([index]))
        if past is None:
            return batch
        if past.shape != batch.past.shape[1:]:
            raise ConfigError(
                f"the past of window {index} must be {list(batch.past.shape[1:])}, "
                f"got {list(past.shape)}"
            )
        changed = replace(batch, past=past[None])
        return replace(changed, target=batch.target & changed.seen.any(-1))

    def view(
        self,
        index: int,
        options: SamplingOptions = SamplingOptions(),  # noqa: B008
        past: Floats | None = None,
        forecaster: WindowForecaster | None = None,
    ) -> View:
        """A window and its forecast, by the run or by another forecaster.

        Another past, [A, T, D], may stand for the stored one.

        Raises:
            ConfigError: There is no such window or selection rule, or the past is empty.
        """
        forecaster, began = forecaster or self.forecaster, time.perf_counter()
        batch = self.batch(index, past)
        if batch.targets == 0:
            raise ConfigError("no agent is observed in this past; leave at least one point")
        run = forecaster.predictor(options.steps) if forecaster.predictor else None
        memory = run.format.memory if run else 0
        if run and memory and options.watched:
            self._data.watch(memory, run.displacement_scale)
            batch = self._data.remembered(batch, self._split, changed=past is not None)
        forecast = forecaster.forecast(batch, options)
        seconds = time.perf_counter() - began
        types = tuple(self._types[self._type_codes[agent]] for agent in batch.agent[0].tolist())
        return make_view(
            batch,
            forecast,
            forecaster.ood(batch, options.steps),
            self.store,
            self.miss,
            agent_types=types,
            index=index,
            count=len(self),
            forecaster=forecaster.name,
            seconds=seconds,
            edited=None if past is None else self._edited(index, past),
            without_memory=memory > 0 and not options.watched,
            earlier=None if batch.memory is None else batch.memory[0, ..., : self.store.dims],
        )

    def preview(self) -> View:
        """The window with most targets among a few that are spread over the split."""
        some = np.unique(np.linspace(0, len(self) - 1, PREVIEWED).astype(int)).tolist()
        return self.view(max(some, key=lambda index: self.batch(index).targets))

    def other(self, name: str) -> WindowForecaster:
        """Another forecaster of the same windows: "cv", or the folder of another run.

        Raises:
            RunError: There is no such run, or it needs other windows.
        """
        if name == "cv":
            return WindowForecaster()
        forecaster = self._other(name)
        if forecaster.predictor is not None:
            run, rows = forecaster.predictor(1), self.windows.rows
            theirs = (run.history, run.horizon, run.unit)
            if theirs != (rows.history, rows.horizon, self.store.unit):
                raise RunError(
                    f"{forecaster.name} reads {run.history} steps and forecasts {run.horizon} in "
                    f"{run.unit}; these windows have {rows.history} and {rows.horizon} in "
                    f"{self.store.unit}"
                )
        return forecaster

    def rank(
        self, by: str, forecaster: WindowForecaster | None = None
    ) -> Iterator[tuple[int, int, Floats | None]]:
        """Score every window by one of `RANKINGS`, chunk by chunk.

        A window's score is the mean over its targets; its OOD score is the highest of them. All
        scores of the run's forecasts are computed at once and kept in `ranked`; those of another
        forecaster are not kept.

        Yields:
            Windows scored, windows, and the scores [W] once all are known.

        Raises:
            ConfigError: There is no such score, or the run has no OOD detector.
        """
        if by not in RANKINGS:
            raise ConfigError(did_you_mean("ranking", by, RANKINGS))
        ranked = self.ranked if forecaster is None else {}
        if by not in ranked:
            parts = []
            for rows in chunks(self.windows.target_counts):
                batch = self.windows.gather(rows)
                parts.append(window_scores(forecaster or self.forecaster, batch, by, self.miss))
                yield int(rows[-1]) + 1, len(self), None
            ranked |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        yield len(self), len(self), ranked[by]

    def _edited(self, index: int, past: Floats) -> Bools:
        stored = self.windows.gather(np.array([index])).past[0]
        return np.asarray(~((stored == past) | (np.isnan(stored) & np.isnan(past))).all(-1))


class Session:
    """Opens runs and stores once, and keeps them open while their files stay unchanged.

    Example:
        >>> from trajflow.browse.browser import Session
        >>> view = Session().browser(run, data, "test").view(0)  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._opened: dict[str, dict[object, Any]] = {}

    def browser(self, run: Path, data: Path, split: str) -> Browser:
        """The windows of a split, forecast by a run.

        Raises:
            RunError: There is no such run, or it does not fit the store.
            DataError: There is no such store, or the split is empty.
            ConfigError: There is no such split.
        """
        key = (run, data, split, _modified(run))
        return self._kept("browser", key, lambda: self._open(run, data, split))

    def predictor(self, run: Path, steps: int = 1) -> TorchPredictor:
        """The predictor of a run with a number of network evaluations per sample.

        Raises:
            RunError: There is no such run.
        """
        path = RunFolder.open(run).path
        key = (path, steps, _modified(path))
        return self._kept(
            "predictor", key, lambda: TorchPredictor.load(path, steps=steps), 2 * MAX_OPEN
        )

    def store(self, data: Path) -> Store:
        """A store of tracks.

        Raises:
            DataError: There is no such store, or it is damaged.
        """
        return self._kept("store", (data, _modified(data)), lambda: open_store(data))

    def corrupted(self, run: Path, data: Path, protocol: Mapping[str, Any]) -> CorruptedBrowser:
        """The windows behind an OOD report; only those of the last report are kept."""
        terms, against = OODTerms.of(protocol), protocol.get("against")

        def reproduce() -> CorruptedBrowser:
            other = self.store(Path(against)) if against else None
            predictor, config = self.predictor(run, terms.steps), RunFolder.open(run).config
            return CorruptedBrowser(predictor, self.store(data), config, terms, other)

        return self._kept("report", (run, data, terms, against, _modified(run)), reproduce, 1)

    def _kept(self, kind: str, key: object, make: Callable[[], T], most: int = MAX_OPEN) -> T:
        """What is open under a key, opened if needed; the least recently used ones are closed."""
        opened = self._opened.setdefault(kind, {})
        value: T = opened.pop(key) if key in opened else make()
        opened[key] = value
        while len(opened) > most:
            del opened[next(iter(opened))]
        return value

    def _open(self, run: Path, data: Path, split: str) -> Browser:
        predictor, store = self.predictor(run), self.store(data)
        check_fit(predictor, store, data)
        tracks = track_data(store, run_settings(store, RunFolder.open(run)))
        return Browser(self._forecaster(str(run)), tracks, split, self._forecaster)

    def _forecaster(self, name: str) -> WindowForecaster:
        path = RunFolder.open(name).path
        return WindowForecaster(path.resolve().name, lambda steps: self.predictor(path, steps))


def _modified(folder: Path) -> float:
    """When the files of a run or store were last written; 0 if there are none."""
    written = 0.0
    for name in ("weights.safetensors", "ood.safetensors", "calibration.json", "zarr.json"):
        with suppress(OSError):
            written = max(written, (folder / name).stat().st_mtime)
    return written
