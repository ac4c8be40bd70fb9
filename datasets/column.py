"""A zarr array that only grows: values are held until whole chunks can be written."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray
from zarr.codecs import ZstdCodec

from trajflow.datasets.schema import CHUNK, Spec

HOLD = 4 * CHUNK


class Column:
    """One stored array under construction, of one dimension.

    Only whole chunks are written before `close`, so no chunk is ever read back or rewritten, and
    chunks that happen to equal the fill value are written too: a missing file is damage. They are
    written one by one: zarr would go on writing others after one has failed.
    """

    def __init__(self, group: zarr.Group, name: str, spec: Spec) -> None:
        self._dtype = np.dtype(spec.dtype)
        self._held: list[NDArray[np.generic]] = []
        self._waiting = 0
        self._digest = hashlib.sha256()
        self._array = group.create_array(
            name,
            shape=(0,),
            chunks=(CHUNK,),
            dtype=self._dtype,
            compressors=ZstdCodec(level=3, checksum=True),
            fill_value=_fill(self._dtype),
            dimension_names=(spec.dimension,),
            attributes=dict(spec.attrs),
            config={"write_empty_chunks": True},
        )

    @property
    def rows(self) -> int:
        """How many values were appended so far."""
        return int(self._array.shape[0]) + self._waiting

    @property
    def sha256(self) -> str:
        """Digest of all values so far, whatever the chunks they came in."""
        return self._digest.hexdigest()

    def append(self, values: ArrayLike) -> None:
        """Add values at the end, [N]."""
        added = np.array(values, self._dtype)
        self._digest.update(added.data)
        self._held.append(added)
        self._waiting += len(added)
        if self._waiting >= HOLD:
            self._write(self._waiting - self._waiting % CHUNK)

    def close(self) -> None:
        """Write what is still held."""
        self._write(self._waiting)

    def describe(self, attrs: Mapping[str, Any]) -> None:
        """Add attributes that are known only at the end."""
        self._array.attrs.update(dict(attrs))

    def _write(self, count: int) -> None:
        if not count:
            return
        held = np.concatenate(self._held)
        first = self._array.shape[0]
        self._array.resize((first + count,))
        for begin in range(0, count, CHUNK):
            end = min(begin + CHUNK, count)
            self._array[first + begin : first + end] = held[begin:end]
        self._held = [held[count:].copy()]
        self._waiting -= count


def _fill(dtype: np.dtype[np.generic]) -> float | int:
    if dtype.kind == "f":
        return float("nan")
    return -1 if dtype.kind == "i" else 0
