"""Files of strangers, read within limits of size, kind and nesting."""

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from trajflow.errors import RunError

JSON = 1 << 24
"""Most bytes of a file of settings or results."""
ENDLESS = re.compile(r"[0-9]{300}")
"""Such a whole number is larger than any other can be; whatever it is compared with would fail."""


def read_whole(path: Path, most: int) -> bytes:
    """The content of an ordinary file of at most so many bytes.

    It is held in memory, not mapped: a file that shrinks later cannot hurt.

    Raises:
        OSError: It cannot be read.
        RunError: It is larger, or a pipe or a device.
    """
    # A pipe without a writer would block here for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise RunError(f"{path} is no ordinary file; give a copy of its content")
        if state.st_size > most:
            raise RunError(f"{path} has {state.st_size:,} bytes; at most {most:,} are read here")
        return file.read(state.st_size)


def parse_json(content: bytes | str, name: object) -> Any:
    """The JSON value in some bytes.

    Args:
        content: What to read.
        name: What errors call it.

    Raises:
        RunError: It is not JSON, names a key twice, is nested too deeply or holds a number that is
            none of a computer.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        if ENDLESS.search(text):
            raise ValueError("a number is too long")
        return json.loads(text, object_pairs_hook=_once, parse_float=_finite)
    except RecursionError:
        raise RunError(f"{name} is damaged: it is nested too deeply") from None
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is larger than any number")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice")
    return values
