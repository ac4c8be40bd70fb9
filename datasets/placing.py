"""A folder appears whole or not at all: written beside its place, renamed when complete."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trajflow.datasets.seal import flush_folder
from trajflow.errors import DataError


class Placing:
    """One folder on its way to its final place.

    The partial folder is locked while its writer lives, so a writer that was killed is told from
    one that works, also across containers that share a disk but no process numbers.
    """

    def __init__(self, path: Path, overwrite: bool, ours: Callable[[Path], bool]) -> None:
        """Look at the place, before any work is done.

        Args:
            path: Where the folder shall be.
            overwrite: Whether a folder already there may be replaced.
            ours: Whether a folder is of the kind that may be replaced.

        Raises:
            DataError: Something is at the place that may not be replaced.
        """
        self.path = Path(os.path.realpath(path))
        self.partial = self._beside("partial")
        self._overwrite, self._ours = overwrite, ours
        self._lock = -1
        self._refuse()

    def open(self) -> Path:
        """Make the partial folder, after removing what killed writers left behind."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._clean()
        try:
            self.partial.mkdir()
        except FileExistsError:
            raise DataError(f"{self.path} is being written already; wait for it") from None
        self._lock = os.open(self.partial, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self.partial

    def commit(self) -> None:
        """Rename the partial folder to its place; an old one leaves only now."""
        self._refuse()
        old = self._beside("replaced")
        if self.path.exists():
            self.path.rename(old)
        try:
            self.partial.rename(self.path)
        except OSError:
            if old.exists():
                old.rename(self.path)
            raise
        flush_folder(self.path.parent)
        os.close(self._lock)
        shutil.rmtree(old, ignore_errors=True)

    def discard(self) -> None:
        """Leave no trace; an interrupted write may still be adding files for a moment."""
        for _ in range(20):
            shutil.rmtree(self.partial, ignore_errors=True)
            if not self.partial.exists():
                break
            time.sleep(0.05)
        os.close(self._lock)

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{what}-{os.getpid()}")

    def _refuse(self) -> None:
        if not os.path.lexists(self.path):
            return
        if not self._overwrite:
            raise DataError(
                f"{self.path} exists already; choose another path or allow it to be overwritten"
            )
        if not self._ours(self.path):
            raise DataError(
                f"{self.path} is not a store of trajflow and will not be overwritten; "
                "choose another path or remove it yourself"
            )

    def _clean(self) -> None:
        for left in leftovers(self.path, "replaced"):
            if self.path.exists():
                shutil.rmtree(left)
            else:
                left.rename(self.path)
                self._refuse()
        for left in leftovers(self.path, "partial"):
            if _abandoned(left):
                shutil.rmtree(left)


def leftovers(path: Path, what: str) -> list[Path]:
    """Folders beside a path that an interrupted writer left: its `partial` or `replaced` ones."""
    prefix = f"{path.name}.{what}-"
    if not path.parent.is_dir():
        return []
    beside = (path.with_name(name) for name in os.listdir(path.parent) if name.startswith(prefix))
    return sorted(p for p in beside if p.name.removeprefix(prefix).isdigit() and p.is_dir())


def _abandoned(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
