"""Read rows of a stored array: each chunk is proven, then unpacked into just the room it may take.

zarr writes these chunks and could read them, but it would trust the metadata and open the file once
more after it was proven.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numcodecs.zstd import decompress
from numpy.typing import NDArray

from trajflow.datasets.schema import CHUNK, Spec
from trajflow.datasets.seal import Seal, damaged
from trajflow.foreign import parse_json

MAX_PACKED = 2 * CHUNK * 8
"""Bytes of a chunk's file; what cannot be packed takes a little more than it does unpacked."""
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
        node = parse_json(raw)
        keys = node["chunk_key_encoding"]
        found = {
            "shape": node["shape"],
            "chunks": node["chunk_grid"]["configuration"]["chunk_shape"],
            "dtype": node["data_type"],
            "codecs": [codec["name"] for codec in node["codecs"]],
            "order": node["codecs"][0].get("configuration", {}).get("endian", "little"),
            "keys": (keys["name"], keys.get("configuration", {}).get("separator", "/")),
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged(seal.folder / file, f"describes no array ({error})") from error
    meant = {
        "shape": [rows],
        "chunks": [CHUNK],
        "dtype": np.dtype(spec.dtype).name,
        "codecs": ["bytes", "zstd"],
        "order": "little",
        "keys": ("default", "/"),
    }
    if found != meant:
        raise damaged(seal.folder / file, f"describes another array: {found} instead of {meant}")
    sealed = sum(other.startswith(f"{name}/c/") for other in seal.files)
    if sealed != -(-rows // CHUNK):
        raise damaged(seal.folder / file, f"claims {rows} rows, but {sealed} chunks were written")


def read_runs(
    seal: Seal, name: str, spec: Spec, runs: Sequence[tuple[int, int]], hint: Hint | None = None
) -> NDArray[Any]:
    """Some rows of an array that was checked, one run of rows after the other, [N].

    Args:
        seal: The store.
        name: The array.
        spec: What it was checked to be.
        runs: First row and row after the last of each run, in rising order.
        hint: Says what a file holds, for the message.

    Raises:
        DataError: A chunk is missing, changed or holds no chunk.
    """
    rows = np.empty(sum(last - first for first, last in runs), spec.dtype)
    filled, held = 0, -1
    for first, last in runs:
        for index in range(first // CHUNK, -(-last // CHUNK)):
            if index != held:
                chunk, held = read_chunk(seal, name, spec, index, hint), index
            part = chunk[max(first - index * CHUNK, 0) : last - index * CHUNK]
            rows[filled : filled + len(part)] = part
            filled += len(part)
    return rows


def read_chunk(
    seal: Seal, name: str, spec: Spec, index: int, hint: Hint | None = None
) -> NDArray[Any]:
    """All values of one chunk of an array that was checked, [N].

    Raises:
        DataError: It is missing, changed or no chunk.
    """
    file = f"{name}/c/{index}"
    about = hint(file) if hint else ""
    raw = seal.read(file, about, MAX_PACKED)
    try:
        return unpack(raw, spec)
    except (ValueError, RuntimeError) as error:
        raise damaged(seal.folder / file, f"{about}{error}") from error


def unpack(raw: bytes, spec: Spec) -> NDArray[Any]:
    """The values of a chunk, [N], from its file's bytes; takes no more room than they.

    Raises:
        ValueError: The bytes do not say that they unpack to a chunk.
        RuntimeError: They say so, but do not.
    """
    values = np.empty(CHUNK, spec.dtype)
    if _unpacked_bytes(raw) != values.nbytes:
        raise ValueError("does not unpack to a chunk")
    try:
        decompress(raw, values)
    except (ValueError, RuntimeError) as error:
        raise RuntimeError(f"cannot be unpacked ({error})") from error
    return values


def _unpacked_bytes(chunk: bytes) -> int:
    """Size that a zstd frame declares, or -1; a decoder would allocate it before it looks on."""
    if len(chunk) < 18 or chunk[:4] != _FRAME:
        return -1
    flags = chunk[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(chunk[start : start + width], "little")
    return size + 256 * (width == 2) if width else -1
