"""Writes folders that appear complete or not at all, and gives advice on errors of the disk."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from trajflow.errors import DataError
from trajflow.io import flush_folder
from trajflow.remote import exists, is_remote, located, upload

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a folder that is being written holds.
_OWN = {"content", "scratch", "replaced", "lock"}
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


class OutputFolder:
    """A folder that appears complete or not at all, written by one process at a time.

    It is written in `NAME.partial` beside its final path. That folder is locked; the lock ends with
    its process, and the next writer removes the remains of a killed one. A folder in an object
    store is written on this machine and uploaded at the end.
    """

    def __init__(self, path: Path, overwrite: bool, replaceable: Callable[[Path], bool]) -> None:
        """Check the path before any work is done.

        A folder that exists is replaced if `overwrite` is set and `replaceable` accepts it.
        """
        self.place = located(path)  # final place, perhaps in an object store; `path` is local
        if is_remote(self.place):
            self._temporary = tempfile.TemporaryDirectory(prefix="trajflow-")
            self.path = Path(os.path.realpath(self._temporary.name)) / self.place.name
        else:
            self.path = self.place = Path(os.path.realpath(self.place))
        self._overwrite, self._replaceable = overwrite, replaceable
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self.content = self._partial / "content"  # the folder while it is written
        self.scratch = self._partial / "scratch"  # temporary files, removed at the end
        self._old = self._partial / "replaced"
        self._lock = FileLock(self._partial / "lock", timeout=0)
        self._refuse()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Lock the path, and clean up after a killed writer.

        Raises:
            DataError: Another process is writing there, or the path exists by now.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            if self._old.exists() and not self.path.exists():
                self._old.rename(self.path)
            for remains in self._partial.iterdir():
                if remains.name != "lock":
                    shutil.rmtree(remains)
            self._refuse()
            self.content.mkdir()
            self.scratch.mkdir()
        except BaseException:
            self.close()
            raise

    def commit(self) -> None:
        """Rename the content to its final path; only now an old folder is removed.

        Raises:
            DataError: The path exists by now and may not be replaced.
        """
        self._refuse()
        if self.path.exists():
            self.path.rename(self._old)
        try:
            self.content.rename(self.path)
        except OSError:
            if self._old.exists():
                self._old.rename(self.path)
            raise
        flush_folder(self.path.parent)
        if is_remote(self.place):
            upload(self.path, self.place)

    def close(self) -> None:
        """Remove what was not committed.

        After an error, zarr's threads may still write a file, and its folders with it. The folder
        is therefore removed until it has stayed away for some time.
        """
        if not self._lock.is_locked:
            return
        away, needed = 0, 4 if self.content.exists() else 1
        for _ in range(40):
            shutil.rmtree(self._partial, ignore_errors=True)
            away = 0 if self._partial.exists() else away + 1
            if away == needed:
                break
            time.sleep(0.05)
        self._lock.release()
        if is_remote(self.place):
            self._temporary.cleanup()

    def _take_lock(self) -> None:
        for _ in range(9):
            if self._partial.exists() and not {p.name for p in self._partial.iterdir()} <= _OWN:
                raise DataError(f"{self._partial} is in the way; rename it or choose another path")
            self._partial.mkdir(exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                break
            except FileNotFoundError:
                continue  # the other process has just removed it
            except OSError:
                with suppress(OSError):
                    self._partial.rmdir()  # a full disk had room for the folder alone
                raise
            if (self._partial / "lock").exists():
                return
            self._lock.release()
        raise DataError(
            f"{self.path} is being written by another process, see {self._partial.name} beside "
            "it; wait for it or choose another path"
        )

    def _refuse(self) -> None:
        if not exists(self.place):
            return
        if not self._overwrite:
            raise DataError(
                f"{self.place} exists already; choose another path, or replace it with --overwrite"
            )
        if not self._replaceable(self.place):
            raise DataError(
                f"{self.place} is not a store of trajflow and will not be overwritten; "
                "choose another path or remove it yourself"
            )


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn errors of a full or read-only disk into a DataError with advice."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DataError(
                f"the disk of {out.parent} is full; nothing was written: free some space (an "
                "import needs about three times the size of the data beside the output) or choose "
                "another place"
            ) from error
        if error.errno in _CLOSED:
            raise DataError(
                f"{out.parent} cannot be written ({error}); nothing was written: choose another "
                "place"
            ) from error
        raise
