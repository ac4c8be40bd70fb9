"""Splits the rows of a store into train, val and test by one rule, before windows are cut."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import Tracks
from trajflow.datasets.store import Store, count_steps
from trajflow.errors import ConfigError, did_you_mean
from trajflow.types import Bools, Ints

PARTS = ("train", "val", "test")
NONE = -1
"""Role of a row that is in no part."""
Kind = Literal["stored", "scene", "time", "agent"]
ValBy = Literal["auto", "scene", "agent", "time"]
ENOUGH_RECORDINGS, ENOUGH_AGENTS = 5, 20
"""Fewer recordings, or agents, of a training part are not dealt out for a val split."""
_STORED = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Split:
    """A rule that assigns every row of a store to train, val, test or nothing."""

    kind: Kind  # what decides: the store, whole recordings, time inside each recording, or agents
    fold: str | None  # leave-one-out fold whose recordings are the test split, with all their rows
    tests: tuple[str, ...]  # these recordings
    # Shares of train, val and test, where the store does not say
    fractions: tuple[float, float, float]
    seed: int  # seed of the order in which recordings are dealt out
    stored: tuple[int, ...]  # role of each stored split, by code
    # Role of each recording, by index, where whole recordings are dealt out
    dealt: tuple[int, ...] = ()
    agents: tuple[int, ...] = ()  # role of each agent, by number, where agents are dealt out
    validation: tuple[str, ...] = ()  # recordings whose training rows are the val split
    # What the val split of a stored split without one is made of; "" where it has one
    val_by: str = ""
    # First step of val, and of test, in recordings (by index) that are not loaded whole; in others
    # their rows say it. See `with_cuts`
    cuts: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def with_cuts(self, store: Store, scenes: Sequence[str]) -> "Split":
        """This rule for recordings of which only some steps are loaded at a time.

        Where the split is in time, the times of these recordings are read.
        """
        if self.kind != "time" and self.val_by != "time":
            return self
        cuts = dict(self.cuts)
        for name in scenes:
            steps, counts = count_steps(store.pieces([name], positions=False), self._timed)
            ends = _time_cuts(np.zeros(len(steps), np.int64), steps, counts, self._ends)
            cuts[store.scenes.index(name)] = tuple(ends[:, 0].tolist())
        return replace(self, cuts=cuts)

    def roles(self, tracks: Tracks) -> NDArray[np.int8]:
        """Index into PARTS of each row, or NONE, [N]; the same whatever else is loaded."""
        role = self._before_fold(tracks)
        if self.validation:
            held_out = np.isin(np.asarray(tracks.scenes), self.validation)[
                tracks.scene[tracks.track]
            ]
            role = np.where(held_out & (role == 0), 1, role)
        if self.fold is not None:
            judged = np.isin(np.asarray(tracks.scenes), self.tests)[tracks.scene[tracks.track]]
            role = np.where(judged, 2, np.where(role == 2, NONE, role))
        return role.astype(np.int8)

    def to_dict(self) -> dict[str, Any]:
        """The rule in values that JSON can hold; the same values choose the same rule."""
        return {
            "kind": self.kind,
            "fold": self.fold,
            "tests": list(self.tests),
            "fractions": list(self.fractions),
            "seed": self.seed,
            "validation": list(self.validation),
            "val_by": self.val_by,
        }

    @property
    def _ends(self) -> tuple[float, ...]:
        """Shares of a recording's rows after which val, and test, begin, where time decides."""
        train, val, _ = self.fractions
        whole = self.kind == "time" and self.fold is None
        return (train, train + val) if whole else (train / (train + val),)

    def _timed(self, tracks: Tracks) -> Bools:
        """Rows [N] that time gives a role."""
        if self.kind == "time":
            return np.ones(len(tracks.step), bool)
        return np.asarray(np.asarray(self.stored)[tracks.split] == 0)

    def _before_fold(self, tracks: Tracks) -> Ints:
        if self.kind == "scene":
            return np.asarray(self.dealt)[tracks.scene[tracks.track]]
        if self.kind == "agent":
            return np.asarray(self.agents)[tracks.agent[tracks.track]]
        if self.kind == "time":
            return self._by_time(tracks)
        role = np.asarray(self.stored)[tracks.split]
        if self.val_by == "time":
            role = np.where(role == 0, self._by_time(tracks), role)
        elif self.val_by == "agent":
            role = np.where(role == 0, np.asarray(self.agents)[tracks.agent[tracks.track]], role)
        return role

    def _by_time(self, tracks: Tracks) -> Ints:
        """0, 1 or 2 as a row comes before, between or after shares of its recording's rows, [N].

        Rows of one moment stay together; rows without a role by time count for nothing.
        """
        scene, step, timed = tracks.scene[tracks.track], tracks.step, self._timed(tracks)
        if all(int(code) in self.cuts for code in np.unique(tracks.scene)):
            cuts = np.full((len(self._ends), len(tracks.scenes)), np.iinfo(np.int64).max)
        else:
            order = np.flatnonzero(timed)
            order = order[np.lexsort((step[order], scene[order]))]
            ones = np.ones(len(order), np.int64)
            cuts = _time_cuts(scene[order], step[order], ones, self._ends, len(tracks.scenes))
        for code, steps in self.cuts.items():
            cuts[: len(steps), code] = steps
        return np.asarray(sum((step >= cut[scene]).astype(np.int64) for cut in cuts))


def choose(
    store: Store,
    kind: Kind = "stored",
    fold: str | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    validation: Sequence[str] = (),
    val_by: ValBy = "auto",
) -> Split:
    """The rule for a store.

    A store that says nothing of parts is split by whole recordings, or in time where it has too
    few of them. If a stored split has no val split, it is taken from train: whole recordings if
    there are five or more, else agents if there are twenty or more, else the end of each recording.
    Recordings of one place, and agents who walk on past a cut in time, are in two splits all the
    same: such a test is easier than an unseen place.

    Args:
        store: The store.
        kind: "stored", "scene", "time" or "agent"; a hash of recording, id and seed deals agents
            out, so the split of an agent does not depend on others.
        fold: Name of a leave-one-out fold.
        fractions: Shares of train, val and test where the store does not say.
        seed: Seed by which recordings and agents are dealt out.
        validation: Recordings whose training rows, whole, become the val split.
        val_by: What a stored split without a val split gives up for one: "scene" (recordings),
            "agent", "time", or "auto" as above.

    Raises:
        ConfigError: A name is unknown, or the shares or the recordings do not suffice.
    """
    if kind not in get_args(Kind):
        raise ConfigError(did_you_mean("split", kind, get_args(Kind)))
    if val_by not in get_args(ValBy):
        raise ConfigError(did_you_mean("val_by", val_by, get_args(ValBy)))
    if min(fractions) < 0 or fractions[0] <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"fractions of train, val and test must be 0 or more, sum to 1 and leave something "
            f"for train, got {tuple(fractions)}"
        )
    tests = _tests(store, fold)
    for name in validation:
        if name not in store.scenes:
            raise ConfigError(did_you_mean("recording", name, store.scenes))
    stored = tuple(_STORED.get(name.lower(), NONE) for name in store.splits)
    others = [name for name in store.scenes if name not in set(tests)]
    shares = fractions[:2] if fold is not None else fractions
    needed = sum(share > 0 for share in shares)
    if kind == "stored" and set(stored) == {NONE}:
        kind = "scene" if len(others) >= needed else "time"
    dealt: tuple[int, ...] = ()
    agents: tuple[int, ...] = ()
    source = ""
    if kind == "scene":
        role = _deal(others, shares, seed)
        dealt = tuple(role.get(name, 2) for name in store.scenes)
    elif kind == "agent":
        agents = _deal_agents(store, shares, seed)
    elif kind == "stored" and 1 not in stored and fractions[1] > 0 and not validation:
        learned = _learned(store, stored, tests) if val_by != "time" else {}
        source = val_by if val_by != "auto" else _enough(learned)
        if source == "scene":
            role = _deal(list(learned), fractions[:2], seed)
            validation = sorted(name for name in role if role[name] == 1)
        elif source == "agent":
            agents = _deal_agents(store, fractions[:2], seed)
    return Split(
        kind, fold, tests, fractions, seed, stored, dealt, agents, tuple(validation), source
    )


def draw_agents(agents: Ints, fraction: float, seed: int) -> Ints:
    """A share of the agents, [N], at least one; of one seed, a larger share contains a smaller.

    Raises:
        ConfigError: The share is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction of the agents must be above 0 and at most 1, got {fraction}")
    count = min(len(agents), max(1, round(fraction * len(agents))))
    return np.sort(np.random.default_rng(seed).permutation(agents)[:count])


def leakage(agents: Mapping[str, Ints]) -> dict[str, Ints]:
    """Numbers [N] of the agents who are targets in two splits, by both names ("train+test")."""
    pairs = combinations(agents, 2)
    return {f"{one}+{two}": np.intersect1d(agents[one], agents[two]) for one, two in pairs}


def selects(scenes: Sequence[str], labels: Sequence[str]) -> Bools:
    """Whether each agent is of the half that selects rather than the one that calibrates, [N].

    It follows from recording and id alone, so no agent changes sides when others come or go.
    """
    names = [f"{scene}\0{label}".encode() for scene, label in zip(scenes, labels, strict=True)]
    return np.array([blake2b(name, digest_size=1).digest()[0] % 2 == 0 for name in names], bool)


def scoring_groups(
    scenes: Sequence[str], folds: Mapping[str, Sequence[str]], present: Ints
) -> dict[str, list[int]]:
    """Each fold's recordings, and every recording of no fold on its own.

    Args:
        scenes: Names of all store.
        folds: Names of the recordings of each fold.
        present: Indexes of the recordings that have windows, [N]; no other is in a group.

    Returns:
        Indexes of recordings by the name of the group, none of them empty.
    """
    index = {name: code for code, name in enumerate(scenes)}
    result = {fold: [index[name] for name in names] for fold, names in folds.items()}
    grouped = {scene for members in result.values() for scene in members}
    held = sorted({int(scene) for scene in present})
    kept = {name: [s for s in members if s in held] for name, members in result.items()}
    kept |= {scenes[scene]: [scene] for scene in held if scene not in grouped}
    return {name: members for name, members in kept.items() if members}


def _tests(store: Store, fold: str | None) -> tuple[str, ...]:
    if fold is None:
        return ()
    folds = store.folds or {name: [name] for name in store.scenes}
    if fold not in folds:
        raise ConfigError(did_you_mean("fold", fold, list(folds)))
    return tuple(folds[fold])


def _deal(scenes: list[str], shares: Sequence[float], seed: int) -> dict[str, int]:
    """Role of each recording, in a seeded order: each part its share and at least one."""
    total = sum(shares)
    counts = [max(1, round(share / total * len(scenes))) if share else 0 for share in shares]
    counts[0] = len(scenes) - sum(counts[1:])
    if counts[0] < 1:
        raise ConfigError(
            f"split 'scene' deals whole recordings, but {len(scenes)} cannot be shared as "
            f"{tuple(shares)}; use split 'time', or a share of 0 for a part you do not need"
        )
    roles = np.repeat(np.arange(len(counts)), counts)
    order = np.random.default_rng(seed).permutation(len(scenes))
    return {sorted(scenes)[place]: int(role) for place, role in zip(order, roles, strict=True)}


def _deal_agents(store: Store, shares: Sequence[float], seed: int) -> tuple[int, ...]:
    """Role of each agent, by number: a hash of its recording, its id and the seed decides."""
    numbers = np.arange(store.trajectories)
    ends = np.cumsum(shares)[:-1] / sum(shares) * 2.0**64
    names = zip(store.scenes_of(numbers), store.labels(numbers), strict=True)
    texts = (f"{scene}\0{label}\0{seed}".encode() for scene, label in names)
    hashes = [int.from_bytes(blake2b(text, digest_size=8).digest(), "big") for text in texts]
    return tuple(np.searchsorted(ends, np.array(hashes, float), side="right").tolist())


def _learned(store: Store, stored: Sequence[int], tests: Sequence[str]) -> dict[str, int]:
    """How many agents of each recording have training rows; of recordings that have any."""
    codes = np.flatnonzero(np.asarray(stored) == 0)
    numbers = np.flatnonzero(store.agent_splits[:, codes].any(1))
    counts = Counter(store.scenes_of(numbers))
    return {name: counts[name] for name in store.scenes if counts[name] and name not in tests}


def _enough(learned: Mapping[str, int]) -> str:
    """What a training part of so many agents by recording can give up for a val split."""
    if len(learned) >= ENOUGH_RECORDINGS:
        return "scene"
    return "agent" if sum(learned.values()) >= ENOUGH_AGENTS else "time"


def _time_cuts(
    scene: Ints, step: Ints, count: Ints, shares: Sequence[float], scenes: int = 1
) -> Ints:
    """Step from which rows lie after each share of their recording's rows, [shares, scenes].

    Entries [N] are sorted by recording and step; each stands for `count` rows.
    """
    ends = np.cumsum(count)
    total = np.bincount(scene, count, scenes).astype(np.int64)
    before = np.cumsum(total) - total
    cuts = np.full((len(shares), scenes), np.iinfo(np.int64).max)
    for cut, share in zip(cuts, shares, strict=True):
        place = np.ceil(share * total - 1e-9).astype(np.int64)
        rest = place < total
        cut[rest] = step[np.searchsorted(ends, (before + place)[rest], side="right")]
    return cuts
