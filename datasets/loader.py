"""From a store to batches: the split rule, the windows and their order.

Which windows meet in a batch, and in which order batches come, is a function of (seed, epoch)
alone. How many batches there are is a function of the windows and the size alone, so a training
that stopped at any step knows where it was.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import Tracks
from trajflow.datasets.splits import (
    PARTS,
    Kind,
    Split,
    ValBy,
    choose,
    draw_agents,
    leakage,
    scoring_groups,
    selects,
)
from trajflow.datasets.store import Store
from trajflow.datasets.windows import Windows, check_shape, cut
from trajflow.errors import ConfigError, DataError, did_you_mean
from trajflow.place import Place, moments
from trajflow.types import Batch, Bools, Ints

POOL = 32
"""Batches' worth of shuffled windows that are sorted by crowd: more pads less and mixes less.

Measured on ETH/UCY (fold zara1, 256 targets a batch, 200 batches of each order, at weights after
400 steps): in random order the variance of the gradient is 0.95 +- 0.04 of that of this order,
because a batch holds 6.6 recordings instead of 2.4, and a step takes 1.30 times the processor
time, because scenes are padded to 3.4 times their agents instead of 1.08. At equal cost random
order is thus 1.23 times as noisy. Pools of 4 and 8 batches have 0.97 and 0.98 of the noise at
equal cost, which is no difference at this precision.
"""
HALVED = 60
"""Validation people, not trained on, below whom none are kept back for a calibration."""


class TrackData:
    """The parts of a store, cut into windows and put into batches.

    A split is whose future is forecast. What a window shows of the past is everybody of the
    recording, of whatever split; a future is only shown of the split's own rows.

    Nothing is read before a split is asked for. A store of more than `max_rows` observations is
    read by groups of whole recordings, one in memory at a time; windows, people and the number of
    batches of a split stay what they are, only who meets whom in a batch changes.

    Attributes:
        store: The store.
        split: The rule that gives every row its split.
    """

    def __init__(
        self,
        store: Store,
        *,
        history: int,
        horizon: int,
        stride: int = 1,
        split: Kind = "stored",
        val_by: ValBy = "auto",
        fold: str | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        fraction: float = 1.0,
        seed: int = 0,
        validation: Sequence[str] = (),
        neighbors: int | None = None,
        max_rows: int = 20_000_000,
        reach: int = 1,
        order: int = 0,
        around: Collection[str] = ("train",),
        halved: bool = True,
    ) -> None:
        """Choose the parts.

        Args:
            store: Where tracks come from.
            history: Past steps, T.
            horizon: Future steps, F.
            stride: Steps between the starts of two windows of a recording.
            split: Where parts come from: "stored", "scene" (whole recordings), "time" or "agent".
            val_by: What a stored split without a val split gives up for one: "scene", "agent",
                "time" or "auto"; see `choose`.
            fold: Leave-one-out fold: its recordings are the test split.
            fractions: Shares of train, val and test where the store does not say.
            fraction: Share of the training agents that are learned from; the others are
                neighbors whose future is not seen.
            seed: Seed of the parts and of the agents learned from.
            validation: Recordings whose training rows, whole, become the val split.
            neighbors: Most neighbors kept in a window, the nearest; None for all.
            max_rows: Observations held in memory at once.
            reach: Batches bring this many times T and F steps around the present.
            order: Seed of the order of training batches.
            around: Parts whose batches reach so far; a forecaster need not see what is judged.
            halved: Whether half of the validation people are kept back for a calibration; see
                `calibration`. False for a run whose weights all of them have chosen.

        Raises:
            ConfigError: A setting is unknown, out of bounds or does not fit the store.
        """
        check_shape(history, horizon, stride, neighbors)
        draw_agents(np.zeros(1, np.int64), fraction, seed)
        self.store, self.order, self._halved = store, order, halved
        self.split = choose(store, split, fold, fractions, seed, validation, val_by)
        self.shape = Shape(history, horizon, stride, neighbors, reach)
        self._stream = Stream(store, self.split, self.shape, fraction, max_rows, tuple(around))

    def watch(self, memory: int, scale: float = 1.0, max_age: int | None = None) -> None:
        """Let batches bring what others did earlier who were where a target is now.

        Windows of the training split are shown rows of this split alone, of the agents that are
        learned from; those of the others all that was seen before their present in the same
        recording, as a camera that hangs there would have.

        Args:
            memory: Most earlier tracks of each target; 0: none, as before the first call.
            scale: Typical displacement per step of the model that will look.
            max_age: Steps after which an observation is no longer looked at; None: never.
        """
        self._stream.watch(memory, scale, max_age)

    @property
    def memory(self) -> int:
        """Most earlier tracks that batches bring for each target; 0 before `watch`."""
        return self._stream.memory

    def windows(self, split: str) -> Windows:
        """All windows of "train", "val" or "test".

        Raises:
            DataError: The split is empty.
            ConfigError: There is no such split, or the store is too large to be held at once.
        """
        if (groups := len(self._stream.groups)) > 1:
            raise ConfigError(
                f"{self.store.path} has {self.store.rows} rows and is read in {groups} groups; "
                "take `stream`, or raise max_rows"
            )
        self._stream.holdings(split)
        return self._stream.windows(split)

    def stream(self, split: str) -> Iterator[Windows]:
        """The windows of a split, group of recordings by group; drop one before the next.

        Raises:
            DataError: The split is empty.
            ConfigError: There is no such split.
        """
        for group, census in enumerate(self._stream.holdings(split)):
            if len(census.target_counts):
                yield self._stream.windows(split, group)

    def steps(self, size: int) -> int:
        """Batches of about `size` targets in a training epoch, the same in every epoch.

        Raises:
            DataError: There is nothing to learn from, or nothing to validate on.
        """
        self._stream.holdings("val")
        return sum(
            count_batches(census.target_counts, size) for census in self._stream.holdings("train")
        )

    def batches(
        self, split: str, size: int, epoch: int = 0, shuffle: bool | None = None, skip: int = 0
    ) -> Iterator[Batch]:
        """The batches of a split, in an order that follows from the seed and the epoch alone.

        Args:
            split: "train", "val" or "test".
            size: Targets in a batch, about.
            epoch: Which order.
            shuffle: Whether windows are mixed; None: only those of "train".
            skip: Batches to leave out at the front; costs nothing.

        Raises:
            DataError: The split is empty.
            ConfigError: There is no such split, or the size is no positive number.
        """
        census = self._stream.holdings(split)
        mixed = split == "train" if shuffle is None else shuffle
        for group in self._group_order(len(census), epoch, mixed):
            count = count_batches(census[group].target_counts, size)
            if skip < count:
                windows = self._stream.windows(split, group)
                for batch in batches(windows, size, self.order, epoch, mixed, skip):
                    yield self._stream.remembered(batch, split, group)
                del windows
            skip = max(0, skip - count)

    def _group_order(self, count: int, epoch: int, mixed: bool) -> list[int]:
        groups = list(range(count))
        if mixed:
            np.random.default_rng([self.order, epoch]).shuffle(groups)
        return groups

    def most_targets(self, split: str, size: int) -> list[int]:
        """Most targets of a window, of each batch that `batches` gives for a split and a size."""
        census, mixed = self._stream.holdings(split), split == "train"
        order = (self.order, 0) if mixed else None
        return [
            int(census[group].target_counts[rows].max())
            for group in self._group_order(len(census), 0, mixed)
            for rows in plan(census[group].agent_counts, census[group].target_counts, size, order)
        ]

    def training(self, size: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The training batches of an epoch from the `skip`-th on."""
        return self.batches("train", size, epoch, skip=skip)

    def validation(self, size: int, limit: int, split: str | None = None) -> Iterator[Batch]:
        """Batches of about `limit` targets, windows drawn evenly from a split; the same each time.

        Args:
            size: Targets in a batch, about.
            limit: Targets of all batches, about; no limit if the split has no more.
            split: Where windows come from. None: the val split without the people kept back for a
                calibration; a training selects weights, temperature and learned samples by these.
        """
        if split is not None:
            yield from self._evenly(size, limit, split, None)
        else:
            self._stream.holdings("val")
            yield from self._evenly(size, limit, "val", self._selecting)

    def calibration(self, size: int, limit: int, split: str = "val") -> Iterator[Batch]:
        """Batches of people who had no part in training or selection, otherwise as `validation`.

        People who are also targets of the training split are left out, as a split in time has them.
        Of the others of the val split a half, by a hash of recording and id, is kept back from
        selection. Where they are fewer than 60 all of them select, and are given here too; see
        `calibrators`.

        Raises:
            DataError: Nobody is left.
        """
        self._stream.holdings(split)
        people = self._calibrating(split)
        if not len(people):
            raise DataError(
                f"nobody in split {split!r} of {self.store.path} is left to calibrate on: all its "
                f"{len(self._stream.survey.agents(split))} people were trained on at other times "
                "or chose the weights; use another split (data.split=scene) or more recordings"
            )
        yield from self._evenly(size, limit, split, people)

    def calibrators(self, split: str = "val") -> dict[str, Any]:
        """Who `calibration` gives, in values that JSON can hold.

        Returns:
            "people": how many they are; "left_out": how many are not, because they were trained on;
            "independent": whether none of them took part in selection.
        """
        people = self._calibrating(split)
        left = np.intersect1d(
            self._stream.survey.agents(split), self._stream.survey.agents("train")
        )
        return {
            "people": len(people),
            "left_out": len(left),
            "independent": not bool(np.isin(people, self._selecting).any()),
        }

    @cached_property
    def _selecting(self) -> Ints:
        """Numbers of the validation people who select, sorted, any shape."""
        survey = self._stream.survey
        people = np.unique(survey.agents("val"))
        free = np.setdiff1d(people, survey.agents("train"))
        if not self._halved or len(free) < HALVED:
            return people
        kept = free[~selects(self.store.scenes_of(free), self.store.labels(free))]
        return np.setdiff1d(people, kept)

    def _calibrating(self, split: str) -> Ints:
        """Numbers of the people of a split that may calibrate, sorted, any shape."""
        survey = self._stream.survey
        free = np.setdiff1d(survey.agents(split), survey.agents("train"))
        rest = np.setdiff1d(free, self._selecting)
        return rest if split != "val" or len(rest) else free

    def _evenly(self, size: int, limit: int, split: str, people: Ints | None) -> Iterator[Batch]:
        if people is not None and len(people) == self._stream.survey.summary(split)["people"]:
            people = None
        census = self._stream.holdings(split, people)
        total = sum(int(c.target_counts.sum()) for c in census)
        before = 0
        for group, counts in enumerate(census):
            number = before + np.arange(len(counts.target_counts))
            chosen = np.flatnonzero(evenly(number, min(limit, total), total))
            before += len(number)
            if len(chosen):
                windows = self._stream.windows(split, group, people)
                shares = counts.agent_counts[chosen], counts.target_counts[chosen]
                for rows in plan(*shares, size):
                    batch = windows.gather(chosen[rows])
                    yield self._stream.remembered(batch, split, group)
                del windows

    def groups(self, split: str) -> dict[str, list[int]]:
        """Recordings that are scored together: each fold's, and any other on its own.

        Returns:
            Indexes of recordings with windows in the split, by the name of the group.
        """
        present = np.concatenate([census.scenes for census in self._stream.holdings(split)])
        folds: Mapping[str, Sequence[str]] = {}
        if split == "test":
            fold = self.split.fold
            folds = (self.store.folds or {}) if fold is None else {fold: self.split.tests}
        return scoring_groups(self.store.scenes, folds, present)

    def leakage(self) -> dict[str, Ints]:
        """Numbers of the agents who are targets in two parts, [N], by both names ("train+test")."""
        return leakage({split: self._stream.survey.agents(split) for split in PARTS})

    def describe(self) -> dict[str, Any]:
        """The rule, what it made of the store, and hashes of both, in values that JSON can hold."""
        survey, learned = self._stream.survey, self._stream.agents
        return {
            "store": self.store.fingerprint(),
            **asdict(self.shape),
            "split": self.split.to_dict(),
            "fraction": self._stream.fraction,
            "learned_from": None if learned is None else len(learned),
            "parts": {split: survey.summary(split) for split in PARTS},
            "leakage": {pair: len(agents) for pair, agents in self.leakage().items()},
            "selection": {"people": len(self._selecting)},
            "calibration": self.calibrators(),
            "hash": survey.hash,
        }


@dataclass(frozen=True)
class Shape:
    """How windows are cut.

    Attributes:
        history: Past steps, T.
        horizon: Future steps, F.
        stride: Steps between two starts.
        neighbors: Most neighbors kept in a window; None for all.
        reach: Times T and F that batches bring around the present, where a split shall.
    """

    history: int
    horizon: int
    stride: int = 1
    neighbors: int | None = None
    reach: int = 1


@dataclass(frozen=True)
class Census:
    """What one split of one group holds, known without its positions.

    Attributes:
        rows: Observations.
        agent_counts: Agents of each window, [W].
        target_counts: Targets of each window, [W].
        scenes: Indexes of the recordings with windows, any shape.
        agents: Numbers of the target agents, any shape.
    """

    rows: int
    agent_counts: Ints
    target_counts: Ints
    scenes: Ints
    agents: Ints


@dataclass(frozen=True)
class Survey:
    """What each split holds in each group, and a sha256 of its windows.

    It covers all roles, the people learned from, and which windows show others than their split.
    """

    parts: dict[str, list[Census]]
    hash: str

    def agents(self, split: str) -> Ints:
        """Numbers of the target agents of a split, each once, any shape."""
        return np.concatenate([census.agents for census in self.parts[split]])

    def summary(self, split: str) -> dict[str, int]:
        """Counts of a split: "windows" are targets, "moments" the windows they share."""
        census = self.parts[split]
        return {
            "rows": sum(c.rows for c in census),
            "recordings": sum(len(c.scenes) for c in census),
            "moments": sum(len(c.target_counts) for c in census),
            "windows": sum(int(c.target_counts.sum()) for c in census),
            "people": len(self.agents(split)),
        }


class Stream:
    """Cuts the parts of a store, group of recordings by group, one group in memory at a time.

    Attributes:
        groups: Names of the recordings of each group; one group if the store fits in memory.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        shape: Shape,
        fraction: float,
        max_rows: int,
        around: Collection[str] = ("train",),
    ) -> None:
        self.store, self.split, self.shape, self.fraction = store, split, shape, fraction
        self.around = around
        fits = store.rows <= max_rows
        self.groups = [list(store.scenes)] if fits else list(store.parts(max_rows))
        self._held: tuple[int, Tracks, NDArray[np.int8]] | None = None
        self._kept: dict[tuple[str, bytes], Windows] = {}
        self._counted: dict[tuple[str, bytes], list[Census]] = {}
        self.memory = 0
        self._lookup: tuple[float, int | None] = 1.0, None
        self._recalls: dict[tuple[bool, int], Recall] = {}

    def watch(self, memory: int, scale: float, max_age: int | None) -> None:
        """Choose how many earlier tracks each target is shown, and how they are looked up."""
        if (memory, scale, max_age) != (self.memory, *self._lookup):
            self.memory, self._lookup, self._recalls = memory, (scale, max_age), {}

    def remembered(self, batch: Batch, split: str, group: int) -> Batch:
        """The batch of a split and group with its memory, if batches shall bring any."""
        if not self.memory:
            return batch
        key = (split == "train", group)
        if key not in self._recalls:
            self._recalls = {} if len(self.groups) > 1 else self._recalls
            self._recalls[key] = self._recall(*key)
        reach = self.shape.reach if split in self.around else 1
        return self._recalls[key](batch, reach)

    def _recall(self, training: bool, group: int) -> "Recall":
        tracks, roles = self._load(group)
        seen = np.ones(len(tracks.step), bool)
        if training:
            seen = roles == PARTS.index("train")
            if self.agents is not None:
                seen &= np.isin(tracks.agent, self.agents)[tracks.track]
        return Recall(tracks, seen, self.memory, *self._lookup)

    def windows(self, split: str, group: int = 0, people: Ints | None = None) -> Windows:
        """The windows of one split of one group.

        Args:
            split: Which split.
            group: Which group.
            people: Numbers of the agents that are targets, any shape; None for all of the split.
        """
        key = (split, b"" if people is None else people.tobytes())
        if key not in self._kept:
            agents = self.agents if people is None and split == "train" else people
            windows = self._cut(split, group, agents)
            if len(self.groups) > 1:
                return windows
            self._kept[key] = windows
        return self._kept[key]

    @cached_property
    def agents(self) -> Ints | None:
        """Numbers of the agents learned from, any shape; None for all."""
        if self.fraction == 1:
            return None
        result = [self._cut("train", group).agents for group in range(len(self.groups))]
        return draw_agents(np.concatenate(result), self.fraction, self.split.seed)

    @cached_property
    def survey(self) -> Survey:
        """What each split holds in each group, from one pass over the store."""
        parts: dict[str, list[Census]] = {split: [] for split in PARTS}
        digest = hashlib.sha256()
        agents = self.agents
        for group in range(len(self.groups)):
            digest.update(self._load(group)[1].tobytes())
            for split in PARTS:
                parts[split].append(self._count(split, group))
                digest.update(_shared_moments(self.windows(split, group)))
        digest.update(b"" if agents is None else agents.tobytes())
        return Survey(parts, digest.hexdigest())

    def holdings(self, split: str, people: Ints | None = None) -> list[Census]:
        """What a split that shall be used holds in each group.

        Args:
            split: Which split.
            people: Numbers of the agents that are targets, any shape; None for all of the split.

        Raises:
            DataError: The split has no windows.
            ConfigError: There is no such split.
        """
        if split not in PARTS:
            raise ConfigError(did_you_mean("split", split, PARTS))
        census = self.survey.parts[split]
        if not any(len(one.target_counts) for one in census):
            raise DataError(self._emptiness(split))
        if people is None:
            return census
        key = (split, people.tobytes())
        if key not in self._counted:
            groups = range(len(self.groups))
            self._counted[key] = [self._count(split, group, people) for group in groups]
        return self._counted[key]

    def _emptiness(self, split: str) -> str:
        shape, rule = self.shape, self.split
        counts = {name: self.survey.summary(name) for name in PARTS}
        text = ", ".join(f"{n} {c['windows']} (of {c['rows']} rows)" for n, c in counts.items())
        fold = f", fold {rule.fold!r}," if rule.fold else ""
        out = "use another split or fold"
        if counts[split]["rows"]:
            out = "use fewer steps: --set data.history=N --set data.horizon=N"
        elif rule.kind == "agent" and not rule.fold:
            out = (
                f"its {self.store.trajectories} agents are few and a hash deals them out: set "
                "another data.seed, larger data.fractions or data.split=time"
            )
        if split == "test" and not rule.fold and self.store.folds:
            out = f"choose a fold: {', '.join(self.store.folds)}"
        return (
            f"no windows of {shape.history} + {shape.horizon} steps in split {split!r} of "
            f"{self.store.path}: split {rule.kind!r}{fold} leaves windows {text}; {out}"
        )

    def _count(self, split: str, group: int, people: Ints | None = None) -> Census:
        windows = self.windows(split, group, people)
        return Census(
            rows=int(windows.rows.own.sum()),
            agent_counts=windows.agent_counts,
            target_counts=windows.target_counts,
            scenes=np.unique(windows.scene),
            agents=windows.agents,
        )

    def _cut(self, split: str, group: int, agents: Ints | None = None) -> Windows:
        tracks, roles = self._load(group)
        shape, own = self.shape, roles == PARTS.index(split)
        return cut(
            tracks,
            shape.history,
            shape.horizon,
            stride=shape.stride,
            rows=_around(tracks, own, shape.reach * shape.history),
            own=own,
            agents=agents,
            neighbors=shape.neighbors,
            # What is judged brings no more future.
            reach=shape.reach if split in self.around else 1,
        )

    def _load(self, group: int) -> tuple[Tracks, NDArray[np.int8]]:
        if self._held is None or self._held[0] != group:
            self._held = None
            tracks = self.store.tracks(self.groups[group])
            self._held = group, tracks, self.split.roles(tracks)
        return self._held[1:]


class Recall:
    """Brings batches of some recordings what others did earlier who were where a target is now."""

    def __init__(
        self, tracks: Tracks, seen: Bools, count: int, scale: float, max_age: int | None = None
    ) -> None:
        """Watch recordings.

        Args:
            tracks: The recordings.
            seen: Rows that may be remembered, [N].
            count: Most tracks K that each target is shown.
            scale: Typical displacement per step.
            max_age: Steps after which a row is no longer looked at; None: never.
        """
        self.count, self._scenes = count, tracks.scenes
        rows = np.flatnonzero(seen)
        self.place = Place(scale, tracks.position.shape[1], max(1, len(rows)), max_age)
        self._rows_of: dict[tuple[int, int], Ints] = {}
        scene, agent = (one[tracks.track[rows]] for one in (tracks.scene, tracks.agent))
        for some in moments(scene, tracks.step[rows]):
            step, name = int(tracks.step[rows[some[0]]]), tracks.scenes[scene[some[0]]]
            self.place.push(name, step, agent[some].tolist(), tracks.position[rows[some]])

    def __call__(self, batch: Batch, reach: int = 1) -> Batch:
        """The batch with its memory, over `reach` times T and F steps of each track."""
        history, horizon = batch.past.shape[2], batch.future.shape[2]
        scene, agent = np.nonzero(batch.target)
        now = (batch.start + history - 1)[scene]
        who = list(zip(batch.agent[scene, agent].tolist(), now.tolist(), strict=True))
        new = [k for k, one in enumerate(who) if one not in self._rows_of]
        names = [self._scenes[batch.scene[scene[k]]] for k in new]
        past = batch.past[scene[new], agent[new]]
        agents = [who[k][0] for k in new]
        nearest_rows = self.place.nearest(names, past, now[new], agents, self.count, horizon)
        self._rows_of.update(zip((who[k] for k in new), nearest_rows, strict=True))
        rows = np.array([self._rows_of[one] for one in who], np.int64).reshape(-1, self.count)
        paths = self.place.recalled(rows, now, reach * history, reach * horizon)
        memory = np.full((*batch.target.shape, *paths.shape[1:]), np.nan)
        memory[scene, agent] = paths
        return replace(batch, memory=memory)


def _around(tracks: Tracks, own: Bools, before: int) -> Bools:
    """Rows that windows of own rows may show: from so many steps before the first of them, [N]."""
    scene = tracks.scene[tracks.track]
    first = np.full(len(tracks.scenes), np.iinfo(np.int64).max)
    last = np.full(len(tracks.scenes), np.iinfo(np.int64).min)
    np.minimum.at(first, scene[own], tracks.step[own])
    np.maximum.at(last, scene[own], tracks.step[own])
    return np.asarray((tracks.step + before >= first[scene]) & (tracks.step <= last[scene]))


def _shared_moments(windows: Windows) -> bytes:
    """Scene and start of each window whose past shows rows of another split; empty for most."""
    rows = windows.rows
    other = rows.row[~rows.own]
    if not len(other) or not len(windows):
        return b""
    tracks = rows.tracks
    step = tracks.step[other]
    low = min(int(step.min()), int(windows.start.min()))
    span = max(int(step.max()), int(windows.start.max())) - low + rows.history + 1
    moments = np.unique(tracks.scene[tracks.track[other]] * span + step - low)
    begin = windows.scene * span + windows.start - low
    shared = np.searchsorted(moments, begin + rows.history) > np.searchsorted(moments, begin)
    return np.stack([windows.scene, windows.start])[:, shared].tobytes()


def batches(
    windows: Windows,
    size: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    skip: int = 0,
) -> Iterator[Batch]:
    """All windows once, in batches of about `size` targets.

    A batch has more or fewer by at most one window, so that there are as many batches in every
    epoch; a window of `size` targets or more is a batch of its own.

    Args:
        windows: What to batch.
        size: Targets in a batch.
        seed: Seed of the order.
        epoch: Which order of this seed.
        shuffle: Whether windows are mixed; if not, they come from the smallest crowd to the
            largest, those of like crowds in stored order.
        skip: Batches to leave out at the front, without gathering them.

    Raises:
        ConfigError: The size is no positive number.
    """
    order = (seed, epoch) if shuffle else None
    for rows in plan(windows.agent_counts, windows.target_counts, size, order)[skip:]:
        yield windows.gather(rows)


def count_batches(targets: Ints, size: int) -> int:
    """How many batches windows make, from the targets of each window alone, [W]."""
    return _shares(targets[targets < size], size) + int((targets >= size).sum())


def plan(agents: Ints, targets: Ints, size: int, order: Sequence[int] | None = None) -> list[Ints]:
    """Which windows are in which batch.

    Args:
        agents: Agents of each window, [W].
        targets: Targets of each window, [W].
        size: Targets in a batch.
        order: Seed, epoch and any further numbers that the order depends on; None: not mixed.

    Raises:
        ConfigError: The size is no positive number.
    """
    if size < 1:
        raise ConfigError(f"a batch needs at least 1 target, got size {size}")
    rows = _arrange(agents, targets, size, order)
    alone = targets[rows] >= size
    small = rows[~alone]
    weight, count = targets[small], _shares(targets[small], size)
    share = (2 * np.cumsum(weight) - weight) * count // (2 * max(1, int(weight.sum())))
    result = np.split(small, np.flatnonzero(np.diff(share)) + 1) if count else []
    result += np.split(rows[alone], np.arange(1, int(alone.sum()))) if alone.any() else []
    if order is None:
        return result
    mixed = np.random.default_rng([*order, 1]).permutation(len(result))
    return [result[number] for number in mixed]


def evenly(number: Ints, count: int, total: int) -> Bools:
    """Whether each of consecutive numbers is one of `count` spread evenly over `total`, [W].

    The first is; a number is chosen or not whatever other numbers are asked with it.
    """
    return np.asarray(-(-(number + 1) * count // total) > -(-number * count // total))


def _arrange(agents: Ints, targets: Ints, size: int, order: Sequence[int] | None) -> Ints:
    """All windows in a row, like crowds side by side, [W]."""
    if order is None:
        return np.argsort(agents, kind="stable")
    rows = np.random.default_rng([*order, 0]).permutation(len(agents))
    pool = np.cumsum(targets[rows]) // (POOL * size)
    # every other pool falls, so that the batch that straddles two pools is of one crowd
    crowd = np.where(pool % 2 == 1, -agents[rows], agents[rows])
    return rows[np.lexsort((crowd, pool))]


def _shares(targets: Ints, size: int) -> int:
    """Batches over which windows smaller than `size` are spread evenly, none of them empty."""
    if not len(targets):
        return 0
    total, largest = int(targets.sum()), int(targets.max())
    return max(1, min(-(-total // size), total // largest))
