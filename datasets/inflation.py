"""The guard against files that unfold to absurdly more than they are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trajflow.errors import DataError

SMALL = 16 * 2**20
"""Bytes that any file may unfold to."""
MAX_RATIO = 200
"""Tables of tracks are packed 3 to 20 times; more than this is a bomb."""


@dataclass
class Inflation:
    """Counts what comes out of a file.

    Attributes:
        path: The file.
        taken: Says how many of its bytes were read so far.
        most: Bytes that may come out for each byte that was taken.
        unfolded: Bytes that came out of it so far.
    """

    path: Path
    taken: Callable[[], int]
    most: int = MAX_RATIO
    unfolded: int = 0

    def add(self, count: int) -> None:
        """Take notice of more bytes.

        Raises:
            DataError: They are too many for such a file.
        """
        self.unfolded += count
        if self.unfolded > SMALL and self.unfolded > self.most * (taken := self.taken()):
            raise DataError(
                f"the first {taken} bytes of {self.path} unfold to more than {self.unfolded}: "
                f"over {self.most} to 1 is no table of tracks; unpack it yourself if it is one"
            )
