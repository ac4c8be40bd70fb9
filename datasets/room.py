"""What a disk that is full, read-only or closed to us means to the user."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trajflow.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def room_for(out: Path) -> Iterator[None]:
    """Turn what the disk of a place says no to into an error that says what to do.

    Raises:
        DataError: The disk is full or cannot be written.
    """
    try:
        yield
    except OSError as error:
        if (told := refusal(error, out)) is None:
            raise
        raise told from error


def refusal(error: BaseException | None, out: Path) -> DataError | None:
    """What an error of the system means, or None if it is of another kind."""
    code = error.errno if isinstance(error, OSError) else None
    if code in _FULL:
        return DataError(
            f"the disk of {out.parent} is full; nothing was written: make room (an import needs "
            "about three times the size of the data beside the output) or choose another place"
        )
    if code in _CLOSED:
        return DataError(
            f"{out.parent} cannot be written ({error}); nothing was written: choose another place"
        )
    return None
