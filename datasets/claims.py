"""A folder beside a place that belongs to one process while it lives, so that no two write there.

The folder is locked: a lock ends with its owner, also across containers that share a disk but no
process numbers. What a killed process left is unlocked, and is removed by the next one.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trajflow.errors import DataError


class Claim:
    """The right of this process to write at a place, shown by a folder beside it.

    Attributes:
        folder: `NAME.WHAT-PROCESS`, made by `take`.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.folder = path.with_name(f"{path.name}.{what}-{os.getpid()}")
        self._path, self._what = path, what
        self._lock = -1

    def take(self) -> Path:
        """Make the folder, after removing what killed processes left behind.

        Raises:
            DataError: Another process, or this one, is writing there.
        """
        for left in leftovers(self._path, self._what):
            if left != self.folder:
                remove_abandoned(left)
        self._make()
        for other in leftovers(self._path, self._what):
            if other != self.folder:
                self.release()
                raise self._refused(other)
        return self.folder

    def release(self) -> None:
        """Remove the folder and give the place free."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.let_go()

    def let_go(self) -> None:
        """Give the place free; the folder stays, or has been moved."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _make(self) -> None:
        for _ in range(9):
            try:
                self.folder.mkdir()
            except FileExistsError:
                raise self._refused(self.folder) from None
            self._lock = os.open(self.folder, os.O_RDONLY)
            with suppress(OSError):  # a disk without locks
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.folder.exists():
                return
            self.let_go()  # another one took it for abandoned before it was locked
        raise self._refused(self.folder)

    def _refused(self, other: Path) -> DataError:
        return DataError(
            f"{self._path} is being written already, see {other.name} beside it; "
            "wait for it or choose another path"
        )


def leftovers(path: Path, what: str) -> list[Path]:
    """Folders beside a path that a writer has, or that an interrupted one left."""
    prefix = f"{path.name}.{what}-"
    if not path.parent.is_dir():
        return []
    beside = (path.with_name(name) for name in os.listdir(path.parent) if name.startswith(prefix))
    return sorted(p for p in beside if p.name.removeprefix(prefix).isdigit() and p.is_dir())


def remove_abandoned(folder: Path) -> None:
    """Remove a folder whose owner is gone; one with an owner stays."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


@contextmanager
def working_folder(beside: Path) -> Iterator[Path]:
    """A folder for temporary files beside a path, gone afterwards whatever happens.

    What a killed process left there is removed.

    Raises:
        DataError: Another process is working for the same path.
    """
    beside = Path(os.path.realpath(beside))
    beside.parent.mkdir(parents=True, exist_ok=True)
    claim = Claim(beside, "spill")
    folder = claim.take()
    try:
        yield folder
    finally:
        claim.release()
