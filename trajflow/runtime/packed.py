"""Arrays in the bytes of a file of numpy, unpacked within bounds."""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 26
"""Bytes of such a file."""
LISTED = 1 << 18
"""Bytes of its table of contents, which takes forty times as long to read as others."""
END, END_64 = b"PK\x05\x06", b"PK\x06\x07"


def unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file of `numpy.savez`, of any shape, by name.

    Raises:
        ValueError: It is none, or is larger or otherwise made than ours are.
    """
    end = content[-22:]
    if len(content) > MOST or end[:4] != END or END_64 in content[-42:-22]:
        raise ValueError("its arrays are too large, or no arrays")
    if int.from_bytes(end[12:16], "little") > LISTED:
        raise ValueError("it has more arrays than any export")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if any(one.compress_type or one.flag_bits & 1 for one in packed.infolist()):
                raise ValueError("its arrays are packed, which no export's are")
        with np.load(io.BytesIO(content), allow_pickle=False) as packed:
            return {name: packed[name] for name in packed.files}
    except Exception as error:  # zip files and numpy have kinds of errors of their own
        raise ValueError(f"its arrays cannot be read: {error}") from None
