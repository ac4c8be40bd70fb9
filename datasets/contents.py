"""What a store holds besides its rows: names, codes, sizes and extents, gathered block by block."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Floats, Ints
from trajflow.datasets.schema import MAX_SPLITS
from trajflow.datasets.tracks import TrackBlock
from trajflow.errors import DataError


class Contents:
    """Everything about the trajectories so far that is not one value per row."""

    def __init__(self, dims: int) -> None:
        self.rowsize: list[Ints] = []
        self._scenes: dict[str, int] = {}
        self._types: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._labels: list[int | str] = []
        self._scene: list[Ints] = []
        self._type: list[Ints] = []
        self._open: set[str] = set()
        self._span = (np.inf, -np.inf)
        self._duration = 0.0
        self._split_rows = np.zeros(MAX_SPLITS, np.int64)
        self._low, self._high = np.full(dims, np.inf), np.full(dims, -np.inf)

    def add(self, block: TrackBlock) -> NDArray[np.int8]:
        """Take note of a checked block.

        Returns:
            Code of the split of each row, [N].

        Raises:
            DataError: The scene or an agent of it was complete already, or a name is no text.
        """
        labels = [_label(label) for label in block.labels]
        self._refuse(block, labels)
        self._enter(block.scene)
        self._open.update(str(label) for label in labels)
        self._labels.extend(labels)
        self.rowsize.append(np.array(block.rowsize, np.int64))
        self._scene.append(np.full(len(labels), self._scenes[block.scene]))
        self._type.append(_codes(np.asarray(block.types), self._types))
        self._extend(np.asarray(block.time), np.asarray(block.position))
        names = np.atleast_1d(np.asarray(block.split))
        splits = np.broadcast_to(_codes(names, self._splits), (len(block.time),))
        self._split_rows += np.bincount(splits, minlength=MAX_SPLITS)
        return splits.astype(np.int8)

    def columns(self) -> dict[str, Ints | NDArray[np.uint8]]:
        """The arrays with one entry per trajectory, by name, [K] each."""
        rowsize = np.concatenate(self.rowsize)
        columns: dict[str, Ints | NDArray[np.uint8]] = {
            "rowsize": rowsize,
            "episode_ends": np.cumsum(rowsize),
            "scene": np.concatenate(self._scene),
            "agent_type": np.concatenate(self._type),
        }
        if all(isinstance(label, int) for label in self._labels):
            columns["trajectory_id"] = np.array(self._labels, np.int64)
        else:
            texts = [str(label).encode() for label in self._labels]
            columns["trajectory_id"] = np.arange(len(texts))
            columns["label_size"] = np.array([len(text) for text in texts], np.int64)
            columns["label_bytes"] = np.frombuffer(b"".join(texts), np.uint8)
        return columns

    def summary(self) -> dict[str, Any]:
        """The part of the header that follows from the tracks."""
        rows = self._split_rows[: len(self._splits)]
        kinds = np.bincount(np.concatenate(self._type))
        return {
            "rows": int(rows.sum()),
            "trajectories": len(self._labels),
            "scenes": list(self._scenes),
            "splits": list(self._splits),
            "types": list(self._types),
            "split_rows": rows.tolist(),
            "type_counts": kinds.tolist(),
            "bounds": np.stack((self._low, self._high), 1).tolist(),
            "duration": self._duration + self._span[1] - self._span[0],
        }

    def _refuse(self, block: TrackBlock, labels: list[int | str]) -> None:
        last = next(reversed(self._scenes), None)
        if block.scene in self._scenes and block.scene != last:
            raise DataError(
                f"scene {block.scene!r} comes again after scene {last!r}; "
                "append all blocks of a scene one after the other"
            )
        fresh: set[str] = set()
        for label in map(str, labels):
            if label in fresh or (block.scene == last and label in self._open):
                raise DataError(
                    f"scene {block.scene!r}, agent {label!r} comes twice; "
                    "join its rows into one trajectory or give the parts different labels"
                )
            fresh.add(label)
        splits = set(np.unique(block.split).tolist())
        for name in (block.scene, *set(block.types), *splits):
            _text(name)
        if len(splits | set(self._splits)) > MAX_SPLITS:
            raise DataError(f"scene {block.scene!r} brings more than {MAX_SPLITS} names of splits")

    def _enter(self, scene: str) -> None:
        if scene in self._scenes:
            return
        if self._scenes:
            self._duration += self._span[1] - self._span[0]
        self._scenes[scene] = len(self._scenes)
        self._open, self._span = set(), (np.inf, -np.inf)

    def _extend(self, time: Floats, position: Floats) -> None:
        self._span = (
            min(self._span[0], float(time.min())),
            max(self._span[1], float(time.max())),
        )
        self._low = np.minimum(self._low, position.min(0))
        self._high = np.maximum(self._high, position.max(0))


def _label(label: object) -> int | str:
    if isinstance(label, int | np.integer) and -(2**63) <= int(label) < 2**63:
        return int(label)
    return _text(label)


def _text(name: object) -> str:
    text = str(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"name {text!r} cannot be written as UTF-8; rename it") from None
    return text


def _codes(names: NDArray[np.str_], known: dict[str, int]) -> Ints:
    found, inverse = np.unique(names, return_inverse=True)
    order = np.argsort([int((inverse == i).argmax()) for i in range(len(found))])
    for i in order:
        known.setdefault(str(found[i]), len(known))
    return np.array([known[str(name)] for name in found], np.int64)[inverse]
