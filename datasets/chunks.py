"""Read rows of a stored array, each chunk checked before zarr decodes it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from trajflow.datasets.schema import CHUNK, Spec
from trajflow.datasets.seal import Seal, damaged

_FRAME = b"\x28\xb5\x2f\xfd"

Hint = Callable[[str], str]


def check_array(seal: Seal, name: str, spec: Spec, rows: int) -> None:
    """See that an array is of the declared type and length and that all its chunks are sealed.

    This costs no memory, whatever length a file claims.

    Raises:
        DataError: With the file that is wrong.
    """
    file = f"{name}/zarr.json"
    raw = seal.read(file)
    try:
        node = json.loads(raw)
        keys = node["chunk_key_encoding"]
        found = {
            "shape": node["shape"],
            "chunks": node["chunk_grid"]["configuration"]["chunk_shape"],
            "dtype": node["data_type"],
            "codecs": [codec["name"] for codec in node["codecs"]],
            "keys": (keys["name"], keys.get("configuration", {}).get("separator", "/")),
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(seal.folder / file, f"describes no array ({error})") from error
    meant = {
        "shape": [rows],
        "chunks": [CHUNK],
        "dtype": np.dtype(spec.dtype).name,
        "codecs": ["bytes", "zstd"],
        "keys": ("default", "/"),
    }
    if found != meant:
        raise damaged(seal.folder / file, f"describes another array: {found} instead of {meant}")
    sealed = sum(other.startswith(f"{name}/c/") for other in seal.files)
    if sealed != -(-rows // CHUNK):
        raise damaged(seal.folder / file, f"claims {rows} rows, but {sealed} chunks were written")


def read_runs(
    seal: Seal, name: str, runs: Sequence[tuple[int, int]], hint: Hint | None = None
) -> NDArray[Any]:
    """Some rows of an array that was checked, one run of rows after the other, [N].

    Args:
        seal: The store.
        name: The array.
        runs: First row and row after the last of each run, in rising order.
        hint: Says what a file holds, for the message.

    Raises:
        DataError: A chunk is missing, changed or holds more than a chunk.
    """
    array = zarr.open_array(str(seal.folder / name), mode="r", zarr_format=3)
    rows = np.empty(sum(last - first for first, last in runs), array.dtype)
    filled, held = 0, -1
    for first, last in runs:
        for index in range(first // CHUNK, -(-last // CHUNK)):
            if index != held:
                chunk, held = _read_chunk(seal, name, array, index, hint), index
            part = chunk[max(first - index * CHUNK, 0) : last - index * CHUNK]
            rows[filled : filled + len(part)] = part
            filled += len(part)
    return rows


def _read_chunk(
    seal: Seal, name: str, array: "zarr.Array[Any]", index: int, hint: Hint | None
) -> NDArray[Any]:
    file = f"{name}/c/{index}"
    about = hint(file) if hint else ""
    if _unpacked_bytes(seal.read(file, about)) != CHUNK * array.dtype.itemsize:
        raise damaged(seal.folder / file, f"{about}does not unpack to a chunk")
    try:
        return np.asarray(array[index * CHUNK : (index + 1) * CHUNK])
    except (ValueError, RuntimeError, OSError) as error:
        raise damaged(seal.folder / file, f"{about}cannot be unpacked ({error})") from error


def _unpacked_bytes(chunk: bytes) -> int:
    """Size that a zstd frame declares, or -1; the decoder allocates it before it looks further."""
    if len(chunk) < 18 or chunk[:4] != _FRAME:
        return -1
    flags = chunk[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(chunk[start : start + width], "little")
    return size + 256 * (width == 2) if width else -1
