"""Arrays as a text, unpacked within bounds."""

import base64
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 3 << 24
"""Letters of such a text."""
LISTED = 1 << 18
"""Bytes of its table of contents, which takes forty times as long to read as others."""
END, END_64 = b"PK\x05\x06", b"PK\x06\x07"


def packed(arrays: Mapping[str, Any]) -> str:
    """Arrays of any shape by name as a text: a file of `numpy.savez` in base 64."""
    made = io.BytesIO()
    np.savez(made, **arrays)
    return base64.b64encode(made.getvalue()).decode()


def unpacked(text: str) -> dict[str, NDArray[Any]]:
    """The arrays of any shape of `packed`, by name.

    Raises:
        ValueError: They are none, or are more or otherwise made than ours are.
    """
    if len(text) > MOST:
        raise ValueError("its arrays are too large")
    content = base64.b64decode(text, validate=True)
    end = content[-22:]
    if end[:4] != END or END_64 in content[-42:-22]:
        raise ValueError("its arrays are no arrays")
    if int.from_bytes(end[12:16], "little") > LISTED:
        raise ValueError("it has more arrays than any export")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(one.compress_type or one.flag_bits & 1 for one in archive.infolist()):
                raise ValueError("its arrays are packed, which no export's are")
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except Exception as error:  # zip files and numpy have kinds of errors of their own
        raise ValueError(f"its arrays cannot be read: {error}") from None
