"""Archives that strangers packed: the one file of a .zip, and a clear word about a tar.

Nothing is ever unpacked to the disk, so names inside an archive lead nowhere.
"""

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trajflow.errors import DataError

MAX_DIRECTORY = 1 << 20
"""Bytes of an archive's table of contents."""
_END, _END_SIZE, _COMMENT = b"PK\x05\x06", 22, 1 << 16
_LARGE, _LARGE_SIZE = b"PK\x06\x06", 56 + 20
_TAR, _TAR_PLACE = b"ustar", 257
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def only_member(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """The content of the only file in a .zip.

    Raises:
        DataError: It holds several, or is packed in an unusual way.
    """
    _check_directory(path, raw)
    with _zip_errors():
        archive = zipfile.ZipFile(raw)
    # Not `is_dir`, which fails on a name of no letter.
    inside = (f for f in archive.infolist() if not f.filename.endswith("/"))
    files = [f for f in inside if "__MACOSX" not in f.filename]
    if len(files) != 1 or files[0].flag_bits & 1 or files[0].compress_type not in _METHODS:
        told = ", ".join(f.filename[:80] for f in files[:5])
        raise DataError(
            f"{path} must hold one file, not encrypted and by deflate, it holds {len(files)}: "
            f"{told}; unpack it and import what it holds"
        )
    with _zip_errors():
        return Member(archive.open(files[0]), files[0].file_size)


class Member(io.BytesIO):
    """The content of a file in an archive, which must have the size that is written there."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        super().__init__()
        self._stream, self._left = stream, size

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes; none at the end."""
        with _zip_errors():
            found = self._stream.read(-1 if size is None else size)
        self._left -= len(found)
        if self._left and not found:
            raise zipfile.BadZipFile("a file in it has not the size that is written there")
        return found


@contextmanager
def _zip_errors() -> Iterator[None]:
    """Turn what lies inside a .zip can lead to into the error for a damaged one."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, struct.error, OverflowError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def refuse_tar(path: Path, stream: IO[bytes]) -> None:
    """Say of a tar archive that it is one; `stream` stays where it is.

    Raises:
        DataError: It is one.
    """
    peek = getattr(stream, "peek", None)
    head = peek(_TAR_PLACE + len(_TAR)) if peek else b""
    if head[_TAR_PLACE:].startswith(_TAR):
        raise DataError(f"{path} is a tar archive; unpack it and import what it holds")


def _check_directory(path: Path, raw: IO[bytes]) -> None:
    """Refuse a table of contents that would take long to read, before it is read."""
    size = raw.seek(0, 2)
    raw.seek(max(0, size - _END_SIZE - _COMMENT))
    tail = raw.read()
    end = tail.rfind(_END)
    claimed = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    large = tail[max(0, end - _LARGE_SIZE) : max(0, end)]
    if large.startswith(_LARGE):  # zipfile believes this one
        claimed = max(claimed, int.from_bytes(large[40:48], "little"))
    if claimed > MAX_DIRECTORY:
        raise DataError(
            f"{path} has a table of contents of {claimed} bytes, too long for one table of tracks; "
            "unpack it and import what it holds"
        )
