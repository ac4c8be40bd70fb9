"""Where the rows of each trajectory of a store are, and in which groups they are loaded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.checksums import Checksums, check_array, read_runs
from trajflow.datasets.schema import Header, Tracks, trajectory_columns
from trajflow.types import Bools, Ints

MAX_LABEL = 2**20  # Bytes of a label


@dataclass(frozen=True)
class Index:
    """The trajectories of a store, K of them in stored order."""

    rowsize: Ints  # rows of each trajectory, [K]
    ends: Ints  # row after the last of each trajectory, [K]
    scene: Ints  # code of each trajectory's scene, never decreasing, [K]
    kind: Ints  # code of each trajectory's type, [K]
    identity: Ints  # the source's integer id of each trajectory, [K]; not used where text is stored
    text: bytes | None  # UTF-8 labels, joined, or None where labels are integers
    text_ends: Ints  # byte after each label, [K]

    @classmethod
    def read_from(cls, checksums: Checksums, header: Header) -> "Index":
        """Read and check the index of a store."""
        specs = trajectory_columns("label_size/zarr.json" in checksums.files)
        text_spec = specs.pop("label_bytes", None)
        result: dict[str, NDArray[Any]] = {}
        for name, spec in specs.items():
            check_array(checksums, name, spec, header.trajectories)
            result[name] = read_runs(checksums, name, spec, [(0, header.trajectories)])
        _check_index(checksums, header, result)
        text, text_ends = None, np.zeros(0, np.int64)
        if text_spec is not None:
            text_ends = np.cumsum(result["label_size"])
            size = int(text_ends[-1])
            check_array(checksums, "label_bytes", text_spec, size)
            text = read_runs(checksums, "label_bytes", text_spec, [(0, size)]).tobytes()
            _check_text(checksums, text, text_ends)
        return cls(
            rowsize=result["rowsize"],
            ends=result["episode_ends"],
            scene=result["scene"],
            kind=result["agent_type"],
            identity=result["trajectory_id"],
            text=text,
            text_ends=text_ends,
        )

    def labels(self, agents: Ints) -> list[str]:
        """The labels of agents, given by their numbers [N]."""
        if self.text is None:
            return [str(label) for label in self.identity[agents]]
        ends = self.text_ends[agents]
        starts = np.where(agents > 0, self.text_ends[agents - 1], 0)
        return [self.text[a:b].decode() for a, b in zip(starts, ends, strict=True)]

    def runs(self, chosen: Ints) -> list[tuple[int, int]]:
        """Runs of rows [first, last) of the chosen trajectories, [N], given in stored order."""
        groups = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
        return [
            (int(self.ends[group[0]] - self.rowsize[group[0]]), int(self.ends[group[-1]]))
            for group in groups
            if len(group)
        ]

    def agents(self, runs: Iterable[tuple[int, int]]) -> Ints:
        """Number of the agent of each row of runs [first, last), [N]."""
        parts = [np.zeros(0, np.int64)]
        for first, last in runs:
            low, high = np.searchsorted(self.ends, (first, last - 1), side="right")
            agents = np.arange(low, high + 1)
            begins = np.maximum(self.ends[agents] - self.rowsize[agents], first)
            parts.append(np.repeat(agents, np.minimum(self.ends[agents], last) - begins))
        return np.concatenate(parts)


def _check_text(checksums: Checksums, text: bytes, ends: Ints) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise checksums.damaged("label_bytes", "is no text") from None
    inside = ends[ends < len(text)]
    if (np.frombuffer(text, np.uint8)[inside] >> 6 == 0b10).any():
        raise checksums.damaged("label_size", "cuts a letter in two")


def _check_index(checksums: Checksums, header: Header, index: dict[str, NDArray[Any]]) -> None:
    sizes, scene, kind = index["rowsize"], index["scene"], index["agent_type"]
    label = index.get("label_size", np.ones(1))
    claims = {
        "rowsize": sizes.min() > 0 and sizes.max() <= header.rows == sizes.sum(),
        "episode_ends": np.array_equal(index["episode_ends"], np.cumsum(sizes)),
        "scene": np.array_equal(np.unique(scene), np.arange(len(header.scenes)))
        and bool((np.diff(scene) >= 0).all()),
        "agent_type": kind.min() >= 0 and kind.max() < len(header.types),
        "label_size": label.min() >= 0 and label.max() <= MAX_LABEL and label.sum() > 0,
    }
    for name, holds in claims.items():
        if not holds:
            raise checksums.damaged(name, "contradicts the store's attributes")


@dataclass(frozen=True)
class Group:
    """Tracks that are loaded together."""

    scenes: list[str]  # names of the recordings
    # First step, and the step after the last, of the part of a recording that is larger than a
    # group; None: all steps
    steps: tuple[int, int] | None = None


def count_steps(
    pieces: Iterable[Tracks], chosen: Callable[[Tracks], Bools] | None = None
) -> tuple[Ints, Ints]:
    """The distinct steps of the chosen rows of one recording, and how many are at each, [S]."""
    steps = counts = np.zeros(0, np.int64)
    for piece in pieces:
        added = piece.step if chosen is None else piece.step[chosen(piece)]
        steps, which = np.unique(np.concatenate([steps, added]), return_inverse=True)
        weights = np.concatenate([counts, np.ones(len(added))])
        counts = np.bincount(which, weights, len(steps)).astype(np.int64)
    return steps, counts


def divide_steps(
    steps: Ints, counts: Ints, max_rows: int, before: int = 0, after: int = 0
) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of steps [first, last) for `Store.groups`.

    A range has at most `max_rows` rows together with the steps `before` and `after` it; `counts`
    are the rows at each of the recording's distinct steps, [S].
    """
    ends = np.cumsum(counts)
    first, end = int(steps[0]), int(steps[-1]) + 1
    while first < end:
        skipped = np.searchsorted(steps, first - before)
        limit = max_rows + int(ends[skipped - 1] if skipped else 0)
        fitting = int(np.searchsorted(ends, limit, side="right"))
        last = end if fitting == len(steps) else int(steps[fitting]) - after
        last = min(end, max(last, first + max(1, before + after)))
        yield first, last
        first = last
