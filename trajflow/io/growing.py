"""A file of lines that grows: each line is added whole, and damage to old ones is seen."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trajflow.errors import RunError
from trajflow.io.manifest import Manifest, seal
from trajflow.io.writing import Guard, storing, unguarded

LINE = 1 << 20
"""Most bytes of a line."""


def add_line(path: Path, line: bytes, guard: Guard = unguarded) -> None:
    """Add a line, whole or not at all.

    Args:
        path: The file.
        line: The line.
        guard: Raises an error where the folder has become another.

    Raises:
        StorageError: It could not be written.
    """
    with storing(path), _appending(path, guard) as file:
        before, rest = file.tell(), line + b"\n"
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise


@contextmanager
def _appending(path: Path, guard: Guard) -> Iterator[IO[bytes]]:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        guard()  # of the folder that is open by now: no other can take its place after this
        handle = os.open(path.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666, dir_fd=folder)
        with open(handle, "ab", buffering=0) as file:
            yield file
    finally:
        os.close(folder)


def seal_lines(path: Path, guard: Guard = unguarded) -> None:
    """List the lines so far in the manifest; half a line that a killed writer left is cut off."""
    if not path.is_file():
        return
    with storing(path), path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LINE))
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    seal(path, guard)


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
