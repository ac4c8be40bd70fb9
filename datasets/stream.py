"""Reads the splits of a store group by group, with one group in memory at a time."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import Tracks
from trajflow.datasets.splits import PARTS, Split, draw_agents
from trajflow.datasets.store import Group, Store
from trajflow.datasets.survey import (
    Census,
    Layout,
    Shape,
    Survey,
    read_survey,
    survey_file,
    write_survey,
)
from trajflow.datasets.windows import Windows, cut, divide
from trajflow.errors import ConfigError, DataError, did_you_mean
from trajflow.place import Place, moments
from trajflow.types import Batch, Bools, Ints

Roles = NDArray[np.int8]


class Recall:
    """Adds to batches what others did earlier at the place where each target is now."""

    def __init__(self, place: Place, scenes: Sequence[str], count: int, repeated: bool) -> None:
        """Show each target at most `count` tracks; `repeated` keeps results for the next epoch."""
        self.place, self.count, self._scenes, self._repeated = place, count, scenes, repeated
        self._rows_of: dict[tuple[int, int], Ints] = {}

    def push(self, tracks: Tracks, seen: Bools) -> None:
        """Add those rows of tracks that may be remembered, [N]; earlier steps come first."""
        rows = np.flatnonzero(seen)
        scene, agent = (one[tracks.track[rows]] for one in (tracks.scene, tracks.agent))
        for some in moments(scene, tracks.step[rows]):
            step, name = int(tracks.step[rows[some[0]]]), tracks.scenes[scene[some[0]]]
            self.place.push(name, step, agent[some].tolist(), tracks.position[rows[some]])

    def __call__(self, batch: Batch, reach: int = 1, changed: bool = False) -> Batch:
        """The batch with its memory, over `reach` times T and F steps of each track.

        Where agents are is not as it is in the store if it was `changed`.
        """
        history, horizon = batch.past.shape[2], batch.future.shape[2]
        scene, agent = np.nonzero(batch.target)
        now = (batch.start + history - 1)[scene]
        who = list(zip(batch.agent[scene, agent].tolist(), now.tolist(), strict=True))
        rows_of = self._rows_of if self._repeated and not changed else {}
        new = [k for k, one in enumerate(who) if one not in rows_of]
        names = [self._scenes[batch.scene[scene[k]]] for k in new]
        past = batch.past[scene[new], agent[new]]
        agents = [who[k][0] for k in new]
        nearest_rows = self.place.nearest(names, past, now[new], agents, self.count, horizon)
        rows_of.update(zip((who[k] for k in new), nearest_rows, strict=True))
        rows = np.array([rows_of[one] for one in who], np.int64).reshape(-1, self.count)
        paths = self.place.paths(rows, now, reach * history, reach * horizon)
        memory = np.full((*batch.target.shape, *paths.shape[1:]), np.nan)
        memory[scene, agent] = paths
        return replace(batch, memory=memory)


class Stream:
    """The windows of each split of a store, group by group.

    A group is some whole recordings, or the windows of a larger recording whose presents lie in
    some steps of it; then the steps before and after are loaded too, as far as windows show them.
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
        self.max_rows, self.around = max_rows, around
        self.memory = 0  # most earlier tracks that each target is shown
        self.neighbors: int | None = None  # that a target needs in a crowded scene; None: all
        self._held: tuple[int, Tracks, Roles] | None = None
        self._kept: dict[tuple[str, bytes], Windows] = {}
        self._counted: dict[tuple[str, bytes], list[Census]] = {}
        self._lookup: tuple[float, int | None] = 1.0, None
        self._recalls: dict[tuple[bool, str], Recall] = {}

    @property
    def groups(self) -> list[Group]:
        """What is in memory at the same time; one group if all of the store is."""
        return self._layout.groups

    @cached_property
    def survey(self) -> Survey:
        """What each split holds in each group, from one pass over the store or from a file."""
        if self._stored is not None:
            return self._stored
        parts: dict[str, list[Census]] = {split: [] for split in PARTS}
        shared: dict[str, list[Ints]] = {split: [] for split in PARTS}
        digest, agents = hashlib.sha256(), self.agents
        for number in range(len(self.groups)):
            self._hash_roles(digest, number)
            for split in PARTS:
                census, moments = self._examine(split, number)
                parts[split].append(census)
                shared[split].append(moments)
        for several in shared.values():
            digest.update(np.concatenate(several, 1).tobytes())
        digest.update(b"" if agents is None else agents.tobytes())
        survey = Survey(self._layout, parts, agents, digest.hexdigest())
        write_survey(self._file, survey, self.store)
        return survey

    @property
    def filled(self) -> set[str]:
        """The splits that have windows."""
        return {split for split in PARTS if self.survey.summary(split)["windows"]}

    @cached_property
    def agents(self) -> Ints | None:
        """Numbers of the agents learned from, any shape; None for all."""
        if self.fraction == 1:
            return None
        if self._stored is not None:
            return self._stored.learned
        agents = [self._cut("train", number).agents for number in range(len(self.groups))]
        return draw_agents(np.unique(np.concatenate(agents)), self.fraction, self.split.seed)

    def windows(self, split: str, number: int = 0, people: Ints | None = None) -> Windows:
        """The windows of a split in a group; `people` are the target agents [N], None for all."""
        key = (split, b"" if people is None else people.tobytes())
        if key not in self._kept:
            agents = self.agents if people is None and split == "train" else people
            windows = self._cut(split, number, agents)
            if len(self.groups) > 1:
                return windows
            self._kept[key] = windows
        return self._kept[key]

    def holdings(self, split: str, people: Ints | None = None) -> list[Census]:
        """What a split holds in each group; `people` are the target agents [N], None for all.

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
            self._counted[key] = [
                self._examine(split, number, people)[0]
                if np.isin(one.agents, people).any()
                else Census.empty()
                for number, one in enumerate(census)
            ]
        return self._counted[key]

    def watch(self, memory: int, scale: float, max_age: int | None) -> None:
        """Choose how many earlier tracks each target is shown, and how they are looked up."""
        if (memory, scale, max_age) != (self.memory, *self._lookup):
            self.memory, self._lookup, self._recalls = memory, (scale, max_age), {}

    def completed(self, batch: Batch, split: str, number: int) -> Batch:
        """The batch of a split and group with its memory, and with crowded scenes in parts."""
        if self.memory:
            batch = self.remembered(batch, split, number)
        division = divide(batch, self.neighbors)
        return batch if division is None else division.batch

    def remembered(self, batch: Batch, split: str, number: int = 0, changed: bool = False) -> Batch:
        """The batch of a split and group with its memory; see `Recall` for `changed`."""
        # All groups of one recording look into the same place.
        key = (split == "train", self.groups[number].scenes[0])
        if key not in self._recalls:
            self._recalls = {} if len(self.groups) > 1 else self._recalls
            self._recalls[key] = self._recall(split == "train", number)
        reach = self.shape.reach if split in self.around else 1
        return self._recalls[key](batch, reach, changed)

    def _recall(self, training: bool, number: int) -> Recall:
        store, group = self.store, self.groups[number]
        rows = sum(store.scene_rows[name] for name in group.scenes)
        scale, max_age = self._lookup
        place = Place(scale, store.dims, rows, max_age)
        recall = Recall(place, store.scenes, self.memory, repeated=group.steps is None)
        for other, part in enumerate(self.groups):
            if part.scenes == group.scenes:
                tracks, roles = self._load(other) if part.steps is None else self._read(part)
                recall.push(tracks, self._visible(tracks, roles, training))
        return recall

    def _visible(self, tracks: Tracks, roles: Roles, training: bool) -> Bools:
        """Rows that windows may remember, [N]: in training those of the agents learned from."""
        seen = np.ones(len(tracks.step), bool)
        if training:
            seen = roles == PARTS.index("train")
            if self.agents is not None:
                seen &= np.isin(tracks.agent, self.agents)[tracks.track]
        return seen

    @cached_property
    def _file(self) -> Path | None:
        settings = {
            "split": self.split.to_dict(),
            "shape": asdict(self.shape),
            "fraction": self.fraction,
            "max_rows": min(self.max_rows, self.store.rows),
        }
        return survey_file(self.store, settings)

    @cached_property
    def _stored(self) -> Survey | None:
        return read_survey(self._file, self.store)

    @cached_property
    def _layout(self) -> Layout:
        store = self.store
        if self._stored is not None:
            return self._stored.layout
        if store.rows <= self.max_rows:
            return Layout([Group(list(store.scenes))], {}, {})
        before, after = self._overlap
        groups = list(store.groups(self.max_rows, before, after))
        large = list(dict.fromkeys(g.scenes[0] for g in groups if g.steps is not None))
        rule = self.split.with_cuts(store, large)
        pieces = {name: store.pieces([name], positions=False) for name in large}
        bounds = {store.scenes.index(n): _bounds(rule, tracks) for n, tracks in pieces.items()}
        return Layout(groups, dict(rule.cuts), bounds)

    @property
    def _overlap(self) -> tuple[int, int]:
        """Steps before and after its present that a window shows."""
        return self.shape.reach * self.shape.history - 1, self.shape.reach * self.shape.horizon

    @cached_property
    def _rule(self) -> Split:
        return replace(self.split, cuts=self._layout.cuts)

    def _hash_roles(self, digest: "hashlib._Hash", number: int) -> None:
        """Add the roles of a group's rows in stored order, all of a recording with its first."""
        group = self.groups[number]
        if group.steps is None:
            digest.update(self._load(number)[1].tobytes())
        elif number == 0 or self.groups[number - 1].scenes != group.scenes:
            for piece in self.store.pieces(group.scenes, positions=False):
                digest.update(self._rule.roles(piece).tobytes())

    def _examine(self, split: str, number: int, people: Ints | None = None) -> tuple[Census, Ints]:
        """What a split of a group holds, and its windows that show others, [2, W]."""
        windows = self.windows(split, number, people)
        tracks, roles = self._load(number)
        own, steps = roles == PARTS.index(split), self.groups[number].steps
        if steps is not None:
            own &= (tracks.step >= steps[0]) & (tracks.step < steps[1])
        counts = windows.agent_counts, windows.target_counts
        census = Census(int(own.sum()), *counts, np.unique(windows.scene), windows.agents)
        return census, _shared_moments(windows)

    def _cut(self, split: str, number: int, agents: Ints | None = None) -> Windows:
        tracks, roles = self._load(number)
        shape, steps = self.shape, self.groups[number].steps
        own = roles == PARTS.index(split)
        if steps is None:
            first, last = _bounds_of_scenes(tracks, own)
        else:
            ends = self._layout.bounds[int(tracks.scene[0])][PARTS.index(split)]
            first, last = (np.full(len(tracks.scenes), end) for end in ends)
        scene = tracks.scene[tracks.track]
        before = tracks.step + shape.reach * shape.history >= first[scene]
        return cut(
            tracks,
            shape.history,
            shape.horizon,
            stride=shape.stride,
            # Windows show no rows of other splits but shortly before their own.
            rows=before & (tracks.step <= last[scene]),
            own=own,
            agents=agents,
            neighbors=shape.neighbors,
            # What is judged brings no more future.
            reach=shape.reach if split in self.around else 1,
            presents=steps,
            opening=None if steps is None else int(first[0]),
        )

    def _load(self, number: int) -> tuple[Tracks, Roles]:
        if self._held is None or self._held[0] != number:
            self._held = None
            before, after = self._overlap
            self._held = number, *self._read(self.groups[number], before, after)
        return self._held[1:]

    def _read(self, group: Group, before: int = 0, after: int = 0) -> tuple[Tracks, Roles]:
        if group.steps is None:
            tracks = self.store.tracks(group.scenes)
        else:
            steps = group.steps[0] - before, group.steps[1] + after
            tracks = self.store.tracks(group.scenes, steps)
        return tracks, self._rule.roles(tracks)

    def _emptiness(self, split: str) -> str:
        shape, rule = self.shape, self.split
        counts = {name: self.survey.summary(name) for name in PARTS}
        text = ", ".join(f"{n} {c['windows']} (of {c['rows']} rows)" for n, c in counts.items())
        fold = f", fold {rule.fold!r}," if rule.fold else ""
        out = "use another split or fold"
        if counts[split]["rows"]:
            out = "use fewer steps: --set data.history=N --set data.horizon=N"
            if rule.kind == "time":
                out = f"divide agents instead of time: --set data.split=agent; or {out}"
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


def _bounds(rule: Split, pieces: Iterable[Tracks]) -> Ints:
    """First and last step of each split in the rows of a recording, [3, 2]."""
    most = np.iinfo(np.int64).max
    bounds = np.tile([most, -most], (len(PARTS), 1))
    for piece in pieces:
        roles = rule.roles(piece)
        for code, ends in enumerate(bounds):
            step = piece.step[roles == code]
            ends[:] = min(ends[0], step.min(initial=most)), max(ends[1], step.max(initial=-most))
    return bounds


def _bounds_of_scenes(tracks: Tracks, own: Bools) -> tuple[Ints, Ints]:
    """First and last own step of each recording, [S] each."""
    scene = tracks.scene[tracks.track]
    first = np.full(len(tracks.scenes), np.iinfo(np.int64).max)
    last = np.full(len(tracks.scenes), np.iinfo(np.int64).min)
    np.minimum.at(first, scene[own], tracks.step[own])
    np.maximum.at(last, scene[own], tracks.step[own])
    return first, last


def _shared_moments(windows: Windows) -> Ints:
    """Scene and start of windows whose past shows rows of another split, [2, W]; few have any."""
    rows = windows.rows
    other = rows.row[~rows.own]
    if not len(other) or not len(windows):
        return np.zeros((2, 0), np.int64)
    tracks = rows.tracks
    step = tracks.step[other]
    low = min(int(step.min()), int(windows.start.min()))
    span = max(int(step.max()), int(windows.start.max())) - low + rows.history + 1
    crossed = np.unique(tracks.scene[tracks.track[other]] * span + step - low)
    begin = windows.scene * span + windows.start - low
    shared = np.searchsorted(crossed, begin + rows.history) > np.searchsorted(crossed, begin)
    return np.stack([windows.scene, windows.start])[:, shared]
