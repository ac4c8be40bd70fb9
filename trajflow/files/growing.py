"""A file of lines that grows: each line is added whole, and damage to old ones is seen."""

import os
from collections.abc import Iterator
from pathlib import Path

from trajflow.errors import RunError
from trajflow.files.manifest import Manifest, seal
from trajflow.files.writing import storing

LINE = 1 << 20
"""Most bytes of a line."""


def add_line(path: Path, line: bytes) -> None:
    """Add a line, whole or not at all.

    Raises:
        StorageError: It could not be written.
    """
    with storing(path), path.open("ab", buffering=0) as file:
        before, rest = file.tell(), line + b"\n"
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise


def seal_lines(path: Path) -> None:
    """List the lines so far in the manifest; half a line that a killed writer left is cut off."""
    if not path.is_file():
        return
    with storing(path), path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LINE))
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    seal(path)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of the file; one that is still being written is left for later.

    Raises:
        RunError: Lines that were listed are damaged or missing, or one is too long.
    """
    if not check_lines(path):
        return
    with path.open("rb") as file:
        while (line := file.readline(LINE)).endswith(b"\n"):
            yield line
        if len(line) == LINE:
            raise RunError(f"{path} is damaged: a line is too long")


def check_lines(path: Path) -> bool:
    """Whether there is a file; the lines that were listed are as they were.

    Raises:
        RunError: They are not.
    """
    listed = Manifest.read(path.parent).files.get(path.name, ())
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            whole = all(e.size <= size and e.fits(file.read(e.size)) for e in listed)
    except FileNotFoundError:
        if listed:
            raise RunError(f"{path} is missing; restore it from a copy") from None
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if not whole:
        raise RunError(f"{path} is damaged: it is not what was written; restore it from a copy")
    return True
