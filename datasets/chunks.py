"""Read rows of a stored array, each chunk checked before zarr decodes it."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from trajflow.datasets.schema import CHUNK, Spec
from trajflow.datasets.seal import Seal, damaged
from trajflow.errors import DataError

_FRAME = b"\x28\xb5\x2f\xfd"


def check_array(seal: Seal, name: str, spec: Spec, rows: int) -> None:
    """See that an array is of the declared type and length and has all its chunks.

    This costs no memory, whatever length a file claims: a chunk that is not sealed is missing.

    Raises:
        DataError: With the file that is wrong.
    """
    file = f"{name}/zarr.json"
    found: dict[str, Any] = {}
    try:
        node = json.loads(seal.read(file))
        found = {
            "shape": node["shape"],
            "chunks": node["chunk_grid"]["configuration"]["chunk_shape"],
            "dtype": zarr.open_array(str(seal.folder / name), mode="r").dtype,
            "codecs": [codec["name"] for codec in node["codecs"]],
        }
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(seal.folder / file, f"describes no array ({error})") from error
    dtype, codecs = np.dtype(spec.dtype), ["bytes", ZstdCodec().to_dict()["name"]]
    meant = {"shape": [rows], "chunks": [CHUNK], "dtype": dtype, "codecs": codecs}
    if found != meant:
        raise damaged(seal.folder / file, f"describes another array: {found} instead of {meant}")
    for index in range(-(-rows // CHUNK)):
        if f"{name}/c/{index}" not in seal.files:
            raise damaged(seal.folder / name / "c" / str(index), "is missing")


def read_rows(
    seal: Seal, name: str, first: int, last: int, hint: Callable[[int, int], str] | None = None
) -> NDArray[Any]:
    """Rows first to last (not included) of an array that was checked, [last - first].

    Args:
        seal: The store.
        name: The array.
        first: First row.
        last: Row after the last.
        hint: Says what the rows [first, last) of a chunk hold, for the message.

    Raises:
        DataError: A chunk is missing, changed or holds more than a chunk.
    """
    array = zarr.open_array(str(seal.folder / name), mode="r")
    size = CHUNK * array.dtype.itemsize
    for index in range(first // CHUNK, -(-last // CHUNK)):
        file = f"{name}/c/{index}"
        about = hint(index * CHUNK, (index + 1) * CHUNK) if hint else ""
        if _declared_bytes(seal.read(file, about)) != size:
            raise damaged(seal.folder / file, f"{about}does not unpack to a chunk")
    try:
        return np.asarray(array[first:last])
    except (ValueError, RuntimeError, OSError) as error:
        raise damaged(seal.folder / name, f"cannot be unpacked ({error})") from error


def _declared_bytes(chunk: bytes) -> int:
    """Unpacked size in a zstd frame's header, -1 where it has none; numcodecs allocates it."""
    if len(chunk) < 18 or chunk[:4] != _FRAME:
        return -1
    flags = chunk[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(chunk[start : start + width], "little")
    return size + 256 * (width == 2) if width else -1
