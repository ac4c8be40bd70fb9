"""A file appears whole or not at all, and what cannot be written is said in one line."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trajflow.errors import StorageError
from trajflow.io.disk import flush_folder

Guard = Callable[[], None]
PARTIAL = ".partial"
ADVICE = {
    errno.ENOSPC: "free some space and do it again",
    errno.EDQUOT: "make room within the quota and do it again",
    errno.EFBIG: "raise the limit on the size of files and do it again",
    errno.EIO: "the disk may be failing; look after your copies",
}
ELSEWHERE = "choose a place that can be written to"


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Inside, what the disk refuses becomes an error about this path.

    Raises:
        StorageError: The disk is full or read-only, a permission or a quota is missing, ...
    """
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, ELSEWHERE)
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason.lower()}; what was there before is unchanged, {advice}"
        ) from None


def unguarded() -> None:
    """No guard over a folder."""


def write_whole(path: Path, content: bytes, guard: Guard = unguarded) -> None:
    """Write beside, flush to the disk, read again, rename: a reader sees the old file or the new.

    Args:
        path: The file.
        content: Its content.
        guard: Called just before the file appears; raises an error where the folder has become
            another. The rename fails if it becomes another after that.

    Raises:
        StorageError: It could not be written; the old file is as it was.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    with storing(path):
        try:
            _write(beside, content)
            _check(beside, content)
            guard()
            beside.replace(path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        flush_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _check(path: Path, content: bytes) -> None:
    if path.read_bytes() != content:
        raise OSError(errno.EIO, "the disk gives back other bytes than were written")
