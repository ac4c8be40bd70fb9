"""From a store to batches: training, validation, calibration and test by one split rule.

Which windows are in a batch and the order of batches follow from (seed, epoch) alone, and their
number from the windows and the size alone, so a resumed training knows where it was.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from trajflow.datasets.splits import (
    ENOUGH_AGENTS,
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
from trajflow.datasets.stream import Stream
from trajflow.datasets.survey import Shape
from trajflow.datasets.windows import Windows, check_shape
from trajflow.errors import ConfigError, DataError
from trajflow.types import Batch, Bools, Ints

POOL = 32
"""Batches' worth of shuffled windows that are sorted by crowd: more pads less and mixes less.

Measured on ETH/UCY (fold zara1, 256 targets a batch): random order has 0.95 of the gradient's
variance but takes 1.30 times the time, because scenes are padded to 3.4 times their agents instead
of 1.08; at equal cost it is 1.23 times as noisy. Pools of 4 and 8 batches are no different.
"""
HALVED = 60
"""Validation people, not trained on, below whom none are kept back for a calibration."""


class TrackData:
    """The splits of a store, cut into windows and put into batches.

    A split says whose future is forecast. A window shows the pasts of all agents of the recording,
    whatever their split, and futures of its own split only.

    A store without splits and with too few recordings is split in time. Where that leaves train,
    val or test without a window, and agents are enough, it is split by agents instead.

    Nothing is read before the first window is needed. A store of more than `max_rows` observations
    is read in groups, one in memory at a time: some recordings, or some steps of a recording that
    is larger. Windows and people of a split stay what they are, only who meets whom in a batch
    changes.

    Attributes:
        store: The store.
        shape: How windows are cut.
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
        """Choose the splits.

        Args:
            store: Where tracks come from.
            history: Past steps, T.
            horizon: Future steps, F.
            stride: Steps between the starts of two windows of a recording.
            split: Where splits come from: "stored" (chosen here if the store has none), "scene"
                (whole recordings), "time" or "agent".
            val_by: What a stored split without a val split gives up for one: "scene", "agent",
                "time" or "auto"; see `choose`.
            fold: Leave-one-out fold: its recordings are the test split.
            fractions: Shares of train, val and test where the store does not say.
            fraction: Share of the training agents that are learned from; the others are
                neighbors whose future is not seen.
            seed: Seed of the splits and of the agents learned from.
            validation: Recordings whose training rows, whole, become the val split.
            neighbors: Most neighbors kept in a window, the nearest; None for all.
            max_rows: Most observations in memory. With `watch`, the earlier tracks of a recording
                are in memory too, however many these are.
            reach: Batches bring this many times T and F steps around the present.
            order: Seed of the order of training batches.
            around: Splits whose batches reach so far.
            halved: Whether half of the validation people are kept back for a calibration; see
                `calibration`. False for a run whose weights all of them have chosen.

        Raises:
            ConfigError: A setting is unknown, out of bounds or does not fit the store.
        """
        check_shape(history, horizon, stride, neighbors)
        draw_agents(np.zeros(1, np.int64), fraction, seed)
        self.store, self.order, self._halved = store, order, halved
        self.shape = Shape(history, horizon, stride, neighbors, reach)
        settings = (fold, fractions, seed, validation, val_by)
        self._rules = [choose(store, split, *settings)]
        enough = store.trajectories >= ENOUGH_AGENTS
        if split == "stored" and self._rules[0].kind == "time" and enough:
            self._rules.append(choose(store, "agent", *settings))
        self._reading = fraction, max_rows, tuple(around)

    @property
    def split(self) -> Split:
        """The rule that gives every row its split."""
        return self._stream.split

    @cached_property
    def _stream(self) -> Stream:
        """The windows by the first rule, or by the second if that fills more splits."""
        streams = [Stream(self.store, rule, self.shape, *self._reading) for rule in self._rules]
        if len(streams) == 1 or len(streams[0].filled) == len(PARTS):
            return streams[0]
        return streams[streams[0].filled < streams[1].filled]

    @property
    def split_reason(self) -> str:
        """Why the split is by agents where a split in time was expected; "" otherwise."""
        if self.split is self._rules[0]:
            return ""
        return (
            f"a split in time would leave a split without windows of {self.shape.history} + "
            f"{self.shape.horizon} steps"
        )

    def watch(self, memory: int, scale: float = 1.0, max_age: int | None = None) -> None:
        """Add earlier tracks of others who were where a target is now to batches.

        Windows of the training split show rows of this split and of the training agents only; those
        of other splits show all rows of the recording before their present.

        Args:
            memory: Most earlier tracks of each target; 0 for none.
            scale: Typical displacement per step of the model.
            max_age: Steps after which an observation is forgotten; None: never.
        """
        self._stream.watch(memory, scale, max_age)

    def remembered(self, batch: Batch, split: str, changed: bool) -> Batch:
        """A batch of `windows` with earlier tracks, after `watch`.

        The positions in it may have been `changed`.
        """
        return self._stream.remembered(batch, split, changed=changed)

    def divide(self, neighbors: int | None) -> None:
        """Divide scenes of more than 1000 agents in batches into parts of some targets each.

        A target keeps its nearest `neighbors`; None keeps scenes whole.
        """
        self._stream.neighbors = neighbors

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
        """The windows of a split, group by group; drop one before the next.

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
        self,
        split: str,
        size: int,
        epoch: int = 0,
        shuffle: bool | None = None,
        skip: int = 0,
        by_time: bool = False,
    ) -> Iterator[Batch]:
        """The batches of a split, in an order that follows from the seed and the epoch alone.

        Args:
            split: "train", "val" or "test".
            size: Targets in a batch, about.
            epoch: Which order.
            shuffle: Whether windows are mixed; None: only those of "train".
            skip: Batches to leave out at the front; costs nothing.
            by_time: Whether the windows of a recording come in the order of time, each recording
                after the other; then neither `epoch` nor `skip` is used.

        Raises:
            DataError: The split is empty.
            ConfigError: There is no such split, or the size is no positive number.
        """
        census = self._stream.holdings(split)
        if by_time:
            yield from self._by_time(split, size)
            return
        mixed = split == "train" if shuffle is None else shuffle
        for group in self._group_order(len(census), epoch, mixed):
            count = count_batches(census[group].target_counts, size)
            if skip < count:
                windows = self._stream.windows(split, group)
                for batch in batches(windows, size, self.order, epoch, mixed, skip):
                    yield self._stream.completed(batch, split, group)
                del windows
            skip = max(0, skip - count)

    def _by_time(self, split: str, size: int) -> Iterator[Batch]:
        for group, census in enumerate(self._stream.holdings(split)):
            if len(census.target_counts):
                windows = self._stream.windows(split, group)
                order = np.lexsort((windows.start, windows.scene))
                number = np.cumsum(census.target_counts[order]) // size
                for rows in np.split(order, np.flatnonzero(np.diff(number)) + 1):
                    yield self._stream.completed(windows.gather(rows), split, group)
                del windows

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
        """Counts of the people of `calibration`, as plain values.

        "people" are used, "left_out" were trained on; "independent" says whether none of the people
        took part in selection.
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
                    yield self._stream.completed(batch, split, group)
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
            "split_reason": self.split_reason,
            "fraction": self._stream.fraction,
            "learned_from": None if learned is None else len(learned),
            "parts": {split: survey.summary(split) for split in PARTS},
            "leakage": {pair: len(agents) for pair, agents in self.leakage().items()},
            "selection": {"people": len(self._selecting)},
            "calibration": self.calibrators(),
            "hash": survey.hash,
        }


def batches(
    windows: Windows,
    size: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    skip: int = 0,
) -> Iterator[Batch]:
    """All windows once, in batches of about `size` targets, without the first `skip` batches.

    A batch has more or fewer by at most one window, so that there are as many batches in every
    epoch; a window of `size` targets or more is a batch of its own. Windows are mixed by seed and
    epoch, or come from the smallest crowd to the largest.
    """
    order = (seed, epoch) if shuffle else None
    for rows in plan(windows.agent_counts, windows.target_counts, size, order)[skip:]:
        yield windows.gather(rows)


def count_batches(targets: Ints, size: int) -> int:
    """How many batches windows make, from the targets of each window alone, [W]."""
    return _shares(targets[targets < size], size) + int((targets >= size).sum())


def plan(agents: Ints, targets: Ints, size: int, order: Sequence[int] | None = None) -> list[Ints]:
    """Which windows are in which batch, from the agents and targets of each window, [W].

    The order follows from the numbers in `order`, the seed and the epoch; None does not mix.

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
    """Whether each of consecutive numbers is one of `count` spread evenly over `total`, [W]."""
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
