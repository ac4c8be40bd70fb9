"""Where tracks stop and a forecast begins: pasts without a future, and what may follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trajflow.datasets.schema import Tracks
from trajflow.datasets.store import Store
from trajflow.datasets.windows import crowd_parts, type_names
from trajflow.errors import ConfigError
from trajflow.inference.noise import name_keys
from trajflow.ood.detector import OODScores
from trajflow.regions import Region
from trajflow.types import Batch, Bools, Floats, Ints

SINCE_1970 = 6.3e8
"""Seconds above which a time counts from 1970, as 1990 does."""

ROWS = 1_000_000
"""About how many observations a shard has."""

if TYPE_CHECKING:
    import pandas as pd

    from trajflow.inference.base import Predictor
    from trajflow.inference.choosing import Selection


@dataclass(frozen=True)
class Futures:
    """The forecasts of N agents, each at one moment of its recording.

    Attributes:
        scene: Name of each agent's recording, N strings.
        agent: The source's own id of each agent, N strings.
        step: The present step of each, [N]; the first forecast step is the next one.
        samples: Futures, [S, N, F, D].
        dt: Seconds per step.
        region: Discs around the mean of each agent's samples, if requested.
        weights: How likely each of an agent's samples is, [S, N]; None: they are plain draws.
        ood: OOD scores of the N pasts, if requested.
        clock: Seconds of each agent's recording at its step 0, [N]; None: 0.
        origin: The moment of second 0, seconds since 1970, where tracks had dates; else None.
        time_unit: Seconds per unit of the times that the tracks had.
    """

    scene: list[str]
    agent: list[str]
    step: Ints
    samples: Floats
    dt: float
    region: Region | None = None
    weights: Floats | None = None
    ood: OODScores | None = None
    clock: Floats | None = None
    origin: float | None = None
    time_unit: float = 1.0

    def seconds(self, step: Ints) -> Floats:
        """Times of steps on the clock of the tracks that were read, [N]; the N agents in order."""
        return np.asarray(step * self.dt + (0.0 if self.clock is None else self.clock), np.float64)

    def to_frame(self) -> pd.DataFrame:
        """A row per agent, present, sample and step ahead.

        Columns: scene, agent, issued_at, lead, sample, step, time, x, y[, z]. A row is named by
        its scene, agent, issued_at (the present), lead (steps ahead, from 1) and sample; step and
        time are those of the forecast position. Times are those of the tracks: seconds, whole
        milliseconds, microseconds or nanoseconds since 1970, or dates in UTC.

        With regions also centre_x, centre_y[, centre_z] and radius, alike for every sample;
        chosen samples also have a weight, alike for every step. If requested, there are
        ood_score, ood_reason and expected_error, alike for all rows of an agent.
        """
        import pandas as pd

        samples, agents, horizon, dims = self.samples.shape
        who, sample, ahead = np.indices((agents, samples, horizon)).reshape(3, -1)
        step = self.step[who] + ahead + 1
        columns: dict[str, Any] = {
            "scene": np.asarray(self.scene, object)[who],
            "agent": np.asarray(self.agent, object)[who],
            "issued_at": self._times(self.seconds(self.step)[who]),
            "lead": ahead + 1,
            "sample": sample,
            "step": step,
            "time": self._times(self.seconds(self.step)[who] + (ahead + 1) * self.dt),
        }
        flat = self.samples.swapaxes(0, 1).reshape(-1, dims)
        columns |= {axis: flat[:, k] for k, axis in enumerate("xyz"[:dims])}
        if self.region is not None:
            centre = self.region.centre[who, ahead]
            columns |= {f"centre_{axis}": centre[:, k] for k, axis in enumerate("xyz"[:dims])}
            columns["radius"] = self.region.radius[who, ahead]
        if self.weights is not None:
            columns["weight"] = self.weights[sample, who]
        if self.ood is not None:
            columns["ood_score"] = self.ood.ood_score[who]
            columns["ood_reason"] = np.asarray(self.ood.reasons, object)[who]
            columns["expected_error"] = self.ood.expected_error[who]
        return pd.DataFrame(columns)

    def _times(self, seconds: Floats) -> Any:
        """Times as the tracks had them, [N]."""
        if self.origin is None and self.time_unit < 1 and (seconds > SINCE_1970).all():
            return np.rint(seconds / self.time_unit).astype(np.int64)
        if self.origin is None:
            return np.round(seconds / self.time_unit, 9)
        import pandas as pd

        micro = np.rint((self.origin + seconds) * 1e6).astype(np.int64)
        return pd.to_datetime(micro, unit="us", utc=True)


@dataclass(frozen=True)
class Shard:
    """A part of the forecasts of a store.

    Attributes:
        number: Its place among all shards.
        scenes: Names of its recordings.
        steps: First present, and the step after the last, of a part of a large recording; None:
            all.
    """

    number: int
    scenes: tuple[str, ...]
    steps: tuple[int, int] | None = None


def shards_of(store: Store, rows: int | None = None) -> list[Shard]:
    """All shards of a store, in the order of their forecasts.

    They follow from the store alone, so that any number of processes forecasts the same.

    Args:
        store: The tracks.
        rows: About how many observations a shard has; None: `ROWS`. A longer recording has
            several shards.
    """
    groups = enumerate(store.groups(rows or ROWS))
    return [Shard(number, tuple(group.scenes), group.steps) for number, group in groups]


def forecast_ends(
    forecaster: Predictor,
    store: Store,
    *,
    samples: int = 20,
    seed: int = 0,
    every: int | None = None,
    scenes: Sequence[str] | None = None,
    own: Callable[[Tracks], Bools] | None = None,
    selection: Selection | None = None,
    ood: Callable[[Batch], OODScores] | None = None,
    shards: Sequence[Shard] | None = None,
) -> Iterator[Futures]:
    """Draw what follows the last step of every agent, some recordings at a time.

    Args:
        forecaster: What draws.
        store: Recordings to go on from.
        samples: Futures of each agent, S.
        seed: Equal seeds give equal futures.
        every: Forecast all who are there at every so many steps, counted back from a recording's
            last, and not each agent at its own last.
        scenes: Names of the recordings that are forecast; None: all.
        own: Which rows may be presents, [N] of the N rows of some tracks; None: all.
        selection: How samples are chosen of more draws; None: plain draws.
        ood: Scores the pasts of a batch, as `Predictor.ood` does; None: they are not scored.
        shards: Which parts of the store, one in memory at a time; None: all.
    """
    clocks = [store.header.clock(name) for name in store.scenes]
    large = _LargeRecording(store, every, own)
    for shard in shards_of(store) if shards is None else shards:
        names = [name for name in shard.scenes if scenes is None or name in scenes]
        if not names:
            continue
        if shard.steps is None:
            tracks, step = store.tracks(names), every
            presents = None if own is None else own(tracks)
        else:
            first, last = shard.steps
            tracks = store.tracks(names, (first - forecaster.history + 1, last))
            # The presents are already chosen by what all of the recording says.
            presents = large.presents(tracks) & (tracks.step >= first)
            step = None if every is None else 1
        for batch in outlooks(
            tracks,
            forecaster.history,
            forecaster.horizon,
            every=step,
            own=presents,
            neighbors=forecaster.format.neighbors,
        ):
            scene, agent = np.nonzero(batch.target)
            recordings = [store.scenes[code] for code in batch.scene[scene]]
            agents = store.labels(batch.agent[scene, agent])
            name = np.zeros(batch.target.shape, np.int64)
            name[scene, agent] = name_keys(recordings, agents)
            batch = replace(batch, name=name)
            drawn, weights = _drawn(forecaster, batch, samples, selection, seed)
            yield Futures(
                scene=recordings,
                agent=agents,
                step=batch.start[scene] + forecaster.history - 1,
                samples=drawn[:, scene, agent],
                dt=store.dt,
                weights=None if weights is None else weights[:, scene, agent],
                ood=None if ood is None else ood(batch),
                clock=np.array([clocks[code] for code in batch.scene[scene]]),
                origin=store.header.origin,
                time_unit=store.header.time_unit,
            )
        del tracks, presents  # before the next shard is read


class _LargeRecording:
    """Which rows of a recording are presents, where only some of its steps are in memory."""

    def __init__(
        self, store: Store, every: int | None, own: Callable[[Tracks], Bools] | None
    ) -> None:
        self._store, self._every, self._own = store, every, own
        self._scene = -1
        self._end, self._ends = 0, np.zeros(0, np.int64)

    def presents(self, tracks: Tracks) -> Bools:
        """Rows [N] of some steps of a recording that are presents; see `forecast_ends`."""
        if int(tracks.scene[0]) != self._scene:
            self._scene = int(tracks.scene[0])
            self._read()
        own = self._own_rows(tracks)
        if self._every is None:
            return np.asarray(own & (tracks.step == self._ends[tracks.agent[tracks.track]]))
        return np.asarray(own & ((self._end - tracks.step) % self._every == 0))

    def _read(self) -> None:
        """Find the last step of the recording, and the last own one of each of its agents."""
        self._end = np.iinfo(np.int64).min
        self._ends = np.full(self._store.trajectories, self._end)
        for piece in self._store.pieces([self._store.scenes[self._scene]], positions=False):
            own = self._own_rows(piece)
            np.maximum.at(self._ends, piece.agent[piece.track[own]], piece.step[own])
            self._end = max(self._end, int(piece.step.max()))

    def _own_rows(self, tracks: Tracks) -> Bools:
        return np.ones(len(tracks.step), bool) if self._own is None else self._own(tracks)


def _drawn(
    forecaster: Predictor, batch: Batch, samples: int, selection: Selection | None, seed: int
) -> tuple[Floats, Floats | None]:
    if selection is None:
        return forecaster.forecast(batch, samples, seed), None
    return forecaster.choose(batch, samples, selection.draws, selection.rule, seed)


def outlooks(
    tracks: Tracks,
    history: int,
    horizon: int,
    *,
    every: int | None = None,
    own: Bools | None = None,
    size: int = 256,
    neighbors: int | None = None,
) -> Iterator[Batch]:
    """The pasts that end at the last step of each agent, or at every so many steps.

    An agent is a target however few of its past steps were seen; others who are there at its
    present stand around it. The futures are empty: nothing after the present is looked at.

    Args:
        tracks: Recordings to forecast from.
        history: Past steps, T.
        horizon: Future steps, F.
        every: Steps between two presents of a recording, counted back from its last; all who are
            there are targets. None: each agent's own last step.
        own: Rows that may be presents of a target, [N]; None: all.
        size: About how many agents a batch has.
        neighbors: Nearest others that a target needs around it: a moment of more than `size`
            agents becomes several scenes, each with some targets side by side and the neighbors of
            these. None: a moment is never divided.

    Raises:
        ConfigError: `every` is not a positive number of steps.
    """
    if every is not None and every < 1:
        raise ConfigError(f"every must be at least 1 step, got {every}")
    own = np.ones(len(tracks.step), bool) if own is None else own
    targets = _last_of_each(tracks, own) if every is None else _every(tracks, every) & own
    if not targets.any():
        return
    span = np.ptp(tracks.step) + 1
    moment = tracks.scene[tracks.track] * span + tracks.step - tracks.step.min()
    there = np.flatnonzero(np.isin(moment, moment[targets]))
    there = there[np.argsort(moment[there], kind="stable")]
    begins = np.flatnonzero(np.diff(moment[there], prepend=-1))
    scenes = (
        block
        for rows in np.split(there, begins[1:])
        for block in _blocks(tracks.position[rows], rows, targets[rows], size, neighbors)
    )
    for group in _groups(scenes, size):
        yield _batch(tracks, group, history, horizon)


def _last_of_each(tracks: Tracks, own: Bools) -> Bools:
    """Whether a row is the last of its trajectory among the rows `own`, [N]."""
    rows = np.flatnonzero(own)
    last = np.zeros(len(own), bool)
    last[rows[np.diff(tracks.track[rows], append=-1) != 0]] = True
    return last


def _every(tracks: Tracks, every: int) -> Bools:
    """Whether a row lies a multiple of so many steps before its recording's last, [N]."""
    scene = tracks.scene[tracks.track]
    last = np.full(len(tracks.scenes), np.iinfo(np.int64).min)
    np.maximum.at(last, scene, tracks.step)
    return np.asarray((last[scene] - tracks.step) % every == 0)


Scene = tuple[Ints, Bools]
"""Rows of agents at one moment, and which of them are targets."""


def _blocks(
    place: Floats, rows: Ints, target: Bools, size: int, neighbors: int | None
) -> Iterator[Scene]:
    """The agents of a moment at places [A, D] as scenes of about `size` targets."""
    if neighbors is None or len(rows) <= size:
        yield rows, target
        return
    for part, others in crowd_parts(place, np.flatnonzero(target), size, neighbors):
        some = np.union1d(part, others)
        yield rows[some], np.isin(some, part)


def _groups(scenes: Iterable[Scene], size: int) -> Iterator[list[Scene]]:
    group: list[Scene] = []
    held = 0
    for scene in scenes:
        if group and held + len(scene[0]) > size:
            yield group
            group, held = [], 0
        group.append(scene)
        held += len(scene[0])
    if group:
        yield group


def _batch(tracks: Tracks, scenes: list[Scene], history: int, horizon: int) -> Batch:
    """One batch of B scenes."""
    most = max(len(rows) for rows, _ in scenes)
    rows = np.full((len(scenes), most), -1)
    target = np.zeros(rows.shape, bool)
    for place, (members, own) in enumerate(scenes):
        rows[place, : len(members)], target[place, : len(own)] = members, own
    there = rows >= 0
    past = _pasts(tracks, rows, history)
    past[~there] = np.nan
    return Batch(
        past=past,
        future=np.full((*rows.shape, horizon, past.shape[-1]), np.nan),
        target=target,
        scene=tracks.scene[tracks.track[rows[:, 0]]],
        start=tracks.step[rows[:, 0]] - (history - 1),
        agent=np.where(there, tracks.agent[tracks.track[rows]], -1),
        types=type_names(tracks, np.where(there, tracks.track[rows], -1)),
    )


def _pasts(tracks: Tracks, rows: Ints, history: int) -> Floats:
    """Positions over the T steps that end at rows [B, A] of the tracks, [B, A, T, D]."""
    past = np.full((*rows.shape, history, tracks.position.shape[1]), np.nan)
    for back in range(history):
        result = np.maximum(rows - back, 0)
        ago = tracks.step[rows] - tracks.step[result]
        own = tracks.track[result] == tracks.track[rows]
        slot = history - 1 - ago
        seen = own & (slot >= 0) & (rows - back >= 0)
        scene, agent = np.nonzero(seen)
        past[scene, agent, slot[seen]] = tracks.position[result[seen]]
    return past
