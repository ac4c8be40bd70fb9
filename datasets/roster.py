"""Numbers for the scenes, agents, types and parts that rows name, in order of appearance."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajflow.batch import Ints

NO_TYPE, NO_SPLIT = "agent", "all"
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


class Codes:
    """Numbers for names, in order of appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._known: dict[str, int] = {}

    def of(self, column: "Sequence[str] | pd.Series[str]") -> Ints:
        """The number of each name, [N]."""
        codes, found = pd.factorize(np.asarray(column, object))
        return self._numbers(found.tolist())[codes]

    def _numbers(self, found: Sequence[str]) -> Ints:
        for name in found:
            if name not in self._known:
                self._known[name] = len(self.names)
                self.names.append(name)
        return np.array([self._known[name] for name in found], np.int64)


class Roster:
    """Every scene and every trajectory, a (scene, agent) pair, met so far.

    Attributes:
        scenes, types, splits: Names behind the codes.
        label: The source's id of each trajectory's agent, [K].
        scene: Code of each trajectory's scene, [K].
        kind: Code of the type that each trajectory's first row has, [K].
        rows: Rows of each trajectory, [K].
    """

    def __init__(self) -> None:
        self.scenes, self.types, self.splits = Codes(), Codes(), Codes()
        self.label: list[str] = []
        self.scene: list[int] = []
        self.kind: list[int] = []
        self._rows = np.zeros(1024, np.int64)
        self._tracks: dict[tuple[int, str], int] = {}

    @property
    def rows(self) -> Ints:
        """Rows of each trajectory, [K]."""
        return self._rows[: len(self.label)]

    def enter(self, chunk: pd.DataFrame) -> tuple[Ints, Ints]:
        """Take note of rows that all have a scene and an agent.

        Returns:
            Trajectory and part of each row, both [N].
        """
        scene = self.scenes.of(chunk["scene"])
        kind = self.types.of(_filled(chunk, "type", NO_TYPE))
        split = self.splits.of(_filled(chunk, "split", NO_SPLIT))
        agent, labels = pd.factorize(np.asarray(chunk["agent"], object))
        pair, _ = pd.factorize(scene * (len(labels) + 1) + agent)
        _, first = np.unique(pair, return_index=True)
        numbers = [
            self._number(int(scene[row]), str(labels[agent[row]]), int(kind[row])) for row in first
        ]
        track = np.array(numbers, np.int64)[pair]
        self._count(track)
        return track, split

    def has(self, scene: int, label: str) -> bool:
        """Whether an agent of this label was met in a scene, given by its code."""
        return (scene, label) in self._tracks

    def by_scene(self) -> list[tuple[str, Ints]]:
        """Scenes in natural order of their names, each with its trajectories in ascending order."""
        scene = np.array(self.scene, np.int64)
        order = np.argsort(scene, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(scene[order])) + 1)
        named = [(self.scenes.names[int(scene[g[0]])], g) for g in groups if len(g)]
        return sorted(named, key=lambda pair: natural(pair[0]))

    def _number(self, scene: int, label: str, kind: int) -> int:
        known = self._tracks.setdefault((scene, label), len(self.label))
        if known == len(self.label):
            self.label.append(label)
            self.scene.append(scene)
            self.kind.append(kind)
        return known

    def _count(self, track: Ints) -> None:
        if len(self.label) > len(self._rows):
            self._rows = np.concatenate((self._rows, np.zeros(2 * len(self.label), np.int64)))
        found, counts = np.unique(track, return_counts=True)
        self._rows[found] += counts


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts "video2" before "video10"."""
    pieces = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return tuple((0, int(p), "") if p.isdigit() and p.isascii() else (1, 0, p) for p in pieces)


def label_of(text: str) -> int | str:
    """A label as the number it is the usual way of writing; any other text as it is."""
    return int(text) if _INTEGER.fullmatch(text) else text


def _filled(chunk: pd.DataFrame, name: str, missing: str) -> "pd.Series[str] | Sequence[str]":
    if name not in chunk:
        return [missing] * len(chunk)
    return chunk[name].where(chunk[name] != "", missing)
