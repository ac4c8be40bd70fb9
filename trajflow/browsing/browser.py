"""The windows of a part one by one, each with what is forecast of it, and all of them in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trajflow.batch import Batch, Bools, Floats
from trajflow.browsing.judged import discs, scores, spread_out
from trajflow.browsing.ranking import RANKINGS, chunks, window_scores
from trajflow.browsing.rivals import Rival, straight_on
from trajflow.browsing.view import PLAIN, Asked, View
from trajflow.choosing import rules
from trajflow.datasets.store import Store
from trajflow.datasets.windows import Windows
from trajflow.errors import ConfigError, RunError, did_you_mean
from trajflow.surprise import Strangeness


class Browser:
    """The windows of one part of a store.

    Attributes:
        rival: Who forecasts them.
        windows: The windows.
    """

    def __init__(
        self,
        rival: Rival,
        store: Store,
        windows: Windows,
        part: str,
        other: Callable[[str], Rival],
    ) -> None:
        self.rival, self.store, self.windows, self.part = rival, store, windows, part
        self._other, self._ranked = other, dict[str, Floats]()
        tracks = windows.rows.tracks
        self._kinds = dict(zip(tracks.agent.tolist(), tracks.kind.tolist(), strict=True))
        self._types = tracks.types

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.windows)

    def describe(self) -> dict[str, Any]:
        """What is browsed, in values that travel."""
        firsts = np.unique(self.windows.scene, return_index=True)
        named = [(self.store.scenes[code], int(first)) for code, first in zip(*firsts, strict=True)]
        sets = self.rival.predictor(1).sets if self.rival.predictor else {}
        return {
            "name": self.rival.name,
            "part": self.part,
            "count": len(self),
            "scenes": tuple(sorted(named, key=lambda one: one[1])),
            "history": self.windows.rows.history,
            "horizon": self.windows.rows.horizon,
            "selections": tuple(rule for rule in rules() if rule != "learned" or sets),
            "unit": self.store.unit,
            "dt": self.store.dt,
        }

    def batch(self, index: int, past: Floats | None = None) -> Batch:
        """One window as a batch of one scene.

        Args:
            index: Which window.
            past: Another past, [A, T, D]; who is never seen in it is not forecast.

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
        self, index: int, how: Asked = PLAIN, past: Floats | None = None, by: Rival | None = None
    ) -> View:
        """A window and its forecast.

        Args:
            index: Which window, from 0.
            how: How it is forecast.
            past: Another past, [A, T, D].
            by: Who forecasts it; None: the run.

        Raises:
            ConfigError: There is no such window or rule.
        """
        rival, began = by or self.rival, time.perf_counter()
        batch = self.batch(index, past)
        if batch.targets == 0:
            raise ConfigError("nobody is seen in this past; leave one point at least")
        drawn = rival.draw(batch, how.samples, how.seed, how.steps, how.select)
        took = time.perf_counter() - began
        here, store = batch.target[0], self.store
        numbers = batch.agent[0]
        strange = self._strange(rival, batch, how.steps)
        told = {name: values[0] for name, values in scores(drawn, batch).items()}
        if strange is not None:
            told["risk"] = spread_out(here, strange.risk)
        return View(
            past=batch.past[0],
            future=batch.future[0],
            target=here,
            samples=drawn.samples[:, 0],
            labels=tuple(store.labels(numbers)),
            kinds=tuple(self._types[self._kinds[one]] for one in numbers.tolist()),
            scene=store.scenes[int(batch.scene[0])],
            start=int(batch.start[0]),
            index=index,
            count=len(self),
            dt=store.dt,
            unit=store.unit,
            regions={k: (c[0], r[0]) for k, (c, r) in discs(drawn, batch.target).items()},
            surprise=None if strange is None else spread_out(here, strange.score),
            reasons=None if strange is None else _at(here, strange.reasons),
            metrics=told,
            by=rival.name,
            weights=None if drawn.weights is None else drawn.weights[:, 0],
            seconds=took,
            edited=None if past is None else self._edited(index, past),
        )

    def other(self, name: str) -> Rival:
        """Someone else who can forecast the same windows.

        Args:
            name: "cv", or the folder of another run.

        Raises:
            RunError: There is no such run, or it sees other windows.
        """
        if name == "cv":
            return straight_on()
        rival = self._other(name)
        if rival.predictor is not None:
            found, rows = rival.predictor(1), self.windows.rows
            theirs = (found.history, found.horizon, found.unit)
            if theirs != (rows.history, rows.horizon, self.store.unit):
                raise RunError(
                    f"{rival.name} reads {found.history} steps and forecasts {found.horizon} in "
                    f"{found.unit}; these windows have {rows.history} and {rows.horizon} in "
                    f"{self.store.unit}"
                )
        return rival

    def rank(self, by: str) -> Iterator[tuple[int, int, Floats | None]]:
        """Score every window, chunk by chunk: how many are done, of how many, and at the end all.

        A window's score is the mean over its targets; its surprise is that of the strangest.

        Args:
            by: One of `RANKINGS`.

        Yields:
            Windows done, windows, and the scores [W] once all are known.

        Raises:
            ConfigError: There is no such score, or the run does not know what is strange to it.
        """
        if by not in RANKINGS:
            raise ConfigError(did_you_mean("ranking", by, RANKINGS))
        if by not in self._ranked:
            parts = []
            for rows in chunks(self.windows.target_counts):
                parts.append(window_scores(self.rival, self.windows.gather(rows), by))
                yield int(rows[-1]) + 1, len(self), None
            self._ranked[by] = np.concatenate(parts)
        yield len(self), len(self), self._ranked[by]

    def _strange(self, rival: Rival, batch: Batch, steps: int) -> Strangeness | None:
        """How strange the targets' pasts are, if the run can tell."""
        found = rival.predictor(steps) if rival.predictor else None
        return found.surprise_of(batch) if found and found.surprise else None

    def _edited(self, index: int, past: Floats) -> Bools:
        stored = self.windows.gather(np.array([index])).past[0]
        return np.asarray(~((stored == past) | (np.isnan(stored) & np.isnan(past))).all(-1))


def _at(target: Bools, words: Sequence[str]) -> tuple[str, ...]:
    found = iter(words)
    return tuple(next(found) if here else "" for here in target)
