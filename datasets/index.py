"""Which rows of a store belong to which trajectory, scene and type, and what agents are called."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Ints
from trajflow.datasets.chunks import check_array, read_runs
from trajflow.datasets.header import Header
from trajflow.datasets.schema import trajectory_columns
from trajflow.datasets.seal import Seal, damaged

MAX_TEXT = 2**20
"""Bytes of a label."""


@dataclass(frozen=True)
class Index:
    """The trajectories of a store, K of them in stored order.

    Attributes:
        rowsize: Rows of each trajectory, [K].
        scene: Code of each trajectory's scene, never decreasing, [K].
        kind: Code of each trajectory's type, [K].
        identity: The source's integer id of each trajectory, [K]; not used where text is stored.
        text: UTF-8 labels, joined, or None where labels are integers.
        text_ends: Byte after each label, [K].
    """

    rowsize: Ints
    scene: Ints
    kind: Ints
    identity: Ints
    text: bytes | None
    text_ends: Ints

    @classmethod
    def of(cls, seal: Seal, header: Header) -> "Index":
        """Read and check the index of a store.

        Raises:
            DataError: A file is damaged or its content contradicts the attributes.
        """
        has_text = "label_size/zarr.json" in seal.files
        specs = trajectory_columns(has_text)
        text_spec = specs.pop("label_bytes", None)
        found: dict[str, NDArray[Any]] = {}
        for name, spec in specs.items():
            check_array(seal, name, spec, header.trajectories)
            found[name] = read_runs(seal, name, spec, [(0, header.trajectories)])
        _check(seal.folder, header, found)
        text, ends = None, np.zeros(0, np.int64)
        if text_spec is not None:
            ends = np.cumsum(found["label_size"])
            check_array(seal, "label_bytes", text_spec, int(ends[-1]))
            text = read_runs(seal, "label_bytes", text_spec, [(0, int(ends[-1]))]).tobytes()
            _check_text(seal.folder, text, ends)
        return cls(
            found["rowsize"],
            found["scene"],
            found["agent_type"],
            found["trajectory_id"],
            text,
            ends,
        )

    @cached_property
    def ends(self) -> Ints:
        """Row after the last of each trajectory, [K]."""
        return np.cumsum(self.rowsize)

    def labels(self, agents: Ints) -> list[str]:
        """The source's own ids of agents, given by number."""
        if self.text is None:
            return [str(label) for label in self.identity[agents]]
        ends = self.text_ends[agents]
        starts = np.where(agents > 0, self.text_ends[agents - 1], 0)
        return [self.text[a:b].decode() for a, b in zip(starts, ends, strict=True)]

    def runs(self, chosen: Ints) -> list[tuple[int, int]]:
        """Blocks of rows [first, last) that hold chosen trajectories, given in stored order."""
        ends = self.ends
        groups = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
        return [
            (int(ends[group[0]] - self.rowsize[group[0]]), int(ends[group[-1]]))
            for group in groups
            if len(group)
        ]

    def scene_codes(self, first: int, last: int) -> tuple[int, int]:
        """Codes of the first and last scene among rows [first, last)."""
        rows = (first, min(last, int(self.ends[-1])) - 1)
        tracks = np.searchsorted(self.ends, rows, side="right")
        return int(self.scene[tracks[0]]), int(self.scene[tracks[1]])


def _are_sizes(values: Ints) -> bool:
    return bool(values.min() >= 0 and values.max() <= MAX_TEXT and values.sum() > 0)


def _check_text(folder: Path, text: bytes, ends: Ints) -> None:
    """See that labels are text, each by itself; [K] ends."""
    try:
        text.decode()
    except UnicodeDecodeError:
        raise damaged(folder / "label_bytes", "is no text") from None
    inside = ends[ends < len(text)]
    if (np.frombuffer(text, np.uint8)[inside] >> 6 == 0b10).any():
        raise damaged(folder / "label_size", "cuts a letter in two")


def _check(folder: Path, header: Header, found: dict[str, NDArray[Any]]) -> None:
    sizes = found["rowsize"]
    claims = {
        "rowsize": sizes.min() > 0 and sizes.max() <= header.rows == sizes.sum(),
        "episode_ends": np.array_equal(found["episode_ends"], np.cumsum(found["rowsize"])),
        "scene": np.array_equal(np.unique(found["scene"]), np.arange(len(header.scenes)))
        and bool((np.diff(found["scene"]) >= 0).all()),
        "agent_type": found["agent_type"].min() >= 0
        and found["agent_type"].max() < len(header.types),
        "label_size": "label_size" not in found or _are_sizes(found["label_size"]),
    }
    for name, holds in claims.items():
        if not holds:
            raise damaged(folder / name, "contradicts the store's attributes")
