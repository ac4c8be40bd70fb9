"""Windows of each part of a store, all at once, or group by group where it exceeds the memory."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Ints
from trajflow.datasets.agents import draw_agents
from trajflow.datasets.splits import PARTS, Split
from trajflow.datasets.store import Store
from trajflow.datasets.tracks import Tracks
from trajflow.datasets.windows import Windows, cut
from trajflow.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Shape:
    """How windows are cut.

    Attributes:
        history: Past steps, T.
        horizon: Future steps, F.
        stride: Steps between two starts.
        neighbours: Most neighbours kept in a window; None for all.
        reach: Times T and F that batches bring around the present, where a part shall.
    """

    history: int
    horizon: int
    stride: int = 1
    neighbours: int | None = None
    reach: int = 1


@dataclass(frozen=True)
class Census:
    """What one part of one group holds, known without its positions.

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
    """What each part holds in each group, and a sha256 of all roles and the agents learned from."""

    parts: dict[str, list[Census]]
    hash: str

    def agents(self, part: str) -> Ints:
        """Numbers of the target agents of a part, each once, any shape."""
        return np.concatenate([census.agents for census in self.parts[part]])

    def summary(self, part: str) -> dict[str, int]:
        """Counts of a part: "windows" are targets, "moments" the windows they share."""
        census = self.parts[part]
        return {
            "rows": sum(c.rows for c in census),
            "recordings": sum(len(c.scenes) for c in census),
            "moments": sum(len(c.target_counts) for c in census),
            "windows": sum(int(c.target_counts.sum()) for c in census),
            "people": len(self.agents(part)),
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

    def windows(self, part: str, group: int = 0, people: Ints | None = None) -> Windows:
        """The windows of one part of one group.

        Args:
            part: Which part.
            group: Which group.
            people: Numbers of the agents that are targets, any shape; None for all of the part.
        """
        key = (part, b"" if people is None else people.tobytes())
        if key not in self._kept:
            agents = self.agents if people is None and part == "train" else people
            windows = self._cut(part, group, agents)
            if len(self.groups) > 1:
                return windows
            self._kept[key] = windows
        return self._kept[key]

    @cached_property
    def agents(self) -> Ints | None:
        """Numbers of the agents learned from, any shape; None for all."""
        if self.fraction == 1:
            return None
        found = [self._cut("train", group).agents for group in range(len(self.groups))]
        return draw_agents(np.concatenate(found), self.fraction, self.split.seed)

    @cached_property
    def survey(self) -> Survey:
        """What each part holds in each group, from one pass over the store."""
        parts: dict[str, list[Census]] = {part: [] for part in PARTS}
        digest = hashlib.sha256()
        agents = self.agents
        for group in range(len(self.groups)):
            digest.update(self._load(group)[1].tobytes())
            for part in PARTS:
                parts[part].append(self._count(part, group))
        digest.update(b"" if agents is None else agents.tobytes())
        return Survey(parts, digest.hexdigest())

    def holdings(self, part: str, people: Ints | None = None) -> list[Census]:
        """What a part that shall be used holds in each group.

        Args:
            part: Which part.
            people: Numbers of the agents that are targets, any shape; None for all of the part.

        Raises:
            DataError: The part has no windows.
            ConfigError: There is no such part.
        """
        if part not in PARTS:
            raise ConfigError(did_you_mean("part", part, PARTS))
        census = self.survey.parts[part]
        if not any(len(one.target_counts) for one in census):
            raise DataError(self._emptiness(part))
        if people is None:
            return census
        key = (part, people.tobytes())
        if key not in self._counted:
            groups = range(len(self.groups))
            self._counted[key] = [self._count(part, group, people) for group in groups]
        return self._counted[key]

    def _emptiness(self, part: str) -> str:
        shape, split = self.shape, self.split
        counts = {name: self.survey.summary(name) for name in PARTS}
        told = ", ".join(f"{n} {c['windows']} (of {c['rows']} rows)" for n, c in counts.items())
        fold = f", fold {split.fold!r}," if split.fold else ""
        out = "use fewer steps" if counts[part]["rows"] else "use another split or fold"
        if part == "test" and not split.fold and self.store.folds:
            out = f"choose a fold: {', '.join(self.store.folds)}"
        return (
            f"no windows of {shape.history} + {shape.horizon} steps in part {part!r} of "
            f"{self.store.path}: split {split.kind!r}{fold} leaves windows {told}; {out}"
        )

    def _count(self, part: str, group: int, people: Ints | None = None) -> Census:
        windows = self.windows(part, group, people)
        return Census(
            rows=len(windows.rows.row),
            agent_counts=windows.agent_counts,
            target_counts=windows.target_counts,
            scenes=np.unique(windows.scene),
            agents=windows.agents,
        )

    def _cut(self, part: str, group: int, agents: Ints | None = None) -> Windows:
        tracks, roles = self._load(group)
        shape = self.shape
        return cut(
            tracks,
            shape.history,
            shape.horizon,
            stride=shape.stride,
            rows=roles == PARTS.index(part),
            agents=agents,
            neighbours=shape.neighbours,
            reach=shape.reach if part in self.around else 1,  # what is judged brings no more future
        )

    def _load(self, group: int) -> tuple[Tracks, NDArray[np.int8]]:
        if self._held is None or self._held[0] != group:
            self._held = None
            tracks = self.store.tracks(self.groups[group])
            self._held = group, tracks, self.split.roles(tracks)
        return self._held[1:]
