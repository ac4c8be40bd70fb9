"""A folder appears whole or not at all: written beside its place, renamed when complete."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from trajflow.datasets.claims import Claim, leftovers
from trajflow.disk import flush_folder
from trajflow.errors import DataError


class Placing:
    """One folder on its way to its final place; no two processes write one place at once."""

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
        self._overwrite, self._ours = overwrite, ours
        self._claim = Claim(self.path, "partial")
        self.partial = self._claim.folder
        self._refuse()

    def open(self) -> Path:
        """Make the partial folder, after removing what killed writers left behind.

        Raises:
            DataError: Another process is writing there, or something has come there meanwhile.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._claim.take()
        try:
            self._restore()
        except BaseException:
            self._claim.release()
            raise
        return self.partial

    def commit(self) -> None:
        """Rename the partial folder to its place; an old one leaves only now."""
        self._refuse()
        old = self.path.with_name(f"{self.path.name}.replaced-{os.getpid()}")
        if self.path.exists():
            self.path.rename(old)
        try:
            self.partial.rename(self.path)
        except OSError:
            if old.exists():
                old.rename(self.path)
            raise
        flush_folder(self.path.parent)
        self._claim.let_go()
        shutil.rmtree(old, ignore_errors=True)

    def discard(self) -> None:
        """Leave no trace; an interrupted write may still be adding files for a moment."""
        for _ in range(20):
            shutil.rmtree(self.partial, ignore_errors=True)
            if not self.partial.exists():
                break
            time.sleep(0.05)
        self._claim.let_go()

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

    def _restore(self) -> None:
        """Bring back what a writer, killed between two renames, had moved out of the way."""
        for left in leftovers(self.path, "replaced"):
            if self.path.exists():
                shutil.rmtree(left)
            else:
                left.rename(self.path)
                self._refuse()
