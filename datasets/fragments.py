"""What is left of the arrays of a damaged store: values where they are proven, gaps elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Bools
from trajflow.datasets.chunks import MAX_PACKED, unpack
from trajflow.datasets.schema import CHUNK, Spec
from trajflow.datasets.seal import Seal, damaged, read_plain
from trajflow.errors import DataError

_CHECKSUM = 4
"""The flag of a zstd frame that ends with a checksum of its content."""


@dataclass(frozen=True)
class Fragment:
    """Values of an array, and whether each of them is known.

    Attributes:
        values: The values, zero where they are not known, [N].
        known: Whether they are, [N].
    """

    values: NDArray[Any]
    known: Bools


@dataclass
class Fragments:
    """Reads chunks one by one and remembers which could not be.

    Attributes:
        folder: The store.
        seal: What its files must be; None where the seal itself is lost, and every chunk is held
            to the checksum inside it.
        faults: What is wrong with each file, by its path inside the store.
    """

    folder: Path
    seal: Seal | None
    faults: dict[str, str] = field(default_factory=dict)
    _held: dict[str, tuple[int, NDArray[Any] | None]] = field(default_factory=dict)

    def read(self, name: str, spec: Spec, first: int, last: int) -> Fragment:
        """Rows of an array, [N], from `first` to before `last`."""
        values, known = np.zeros(last - first, spec.dtype), np.zeros(last - first, np.bool_)
        for index, here, there in _pieces(first, last):
            chunk = self._chunk(name, spec, index)
            if chunk is not None:
                values[here], known[here] = chunk[there], True
        return Fragment(values, known)

    def _chunk(self, name: str, spec: Spec, index: int) -> NDArray[Any] | None:
        held = self._held.get(name)
        if held is None or held[0] != index:
            self._held[name] = index, self._unpacked(f"{name}/c/{index}", spec)
        return self._held[name][1]

    def _unpacked(self, file: str, spec: Spec) -> NDArray[Any] | None:
        try:
            raw = self._proven(file)
            return unpack(raw, spec)
        except (DataError, ValueError, RuntimeError) as error:
            told = str(error).removeprefix(f"damaged store: {self.folder / file} ")
            self.faults.setdefault(file, told.partition(";")[0])
            return None

    def _proven(self, file: str) -> bytes:
        if self.seal is not None:
            return self.seal.read(file, most=MAX_PACKED)
        raw = read_plain(self.folder / file, "", MAX_PACKED)
        if len(raw) < 5 or not raw[4] & _CHECKSUM:
            raise damaged(self.folder / file, "has no checksum")
        return raw


def _pieces(first: int, last: int) -> Iterator[tuple[int, slice, slice]]:
    """Which chunk holds which of some rows, and where in it."""
    for index in range(first // CHUNK, -(-last // CHUNK)):
        low, high = max(first, index * CHUNK), min(last, (index + 1) * CHUNK)
        yield (
            index,
            slice(low - first, high - first),
            slice(low - index * CHUNK, high - index * CHUNK),
        )
