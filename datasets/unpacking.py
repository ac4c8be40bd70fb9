"""Open a file that may be compressed, as a stream of bytes that never unfolds in memory."""

import bz2
import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from trajflow.datasets.archives import only_member, refuse_tar
from trajflow.datasets.inflation import Inflation
from trajflow.errors import DataError

MAX_MEMORY = 128 * 2**20
"""Bytes that a decompressor may ask for; `xz -9` needs half of it."""
BLOCK = 1 << 16
STEP = 1 << 13
"""Bytes asked for at once; decompressors take as many from the file before they are needed."""


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed as they are read if its name ends in .gz, .bz2, .xz, .zip.

    Raises:
        DataError: The file is missing, damaged, not what its name says, unfolds to absurdly more
            than it is, or is no UTF-8 table; also when that shows only later, inside the `with`
            block.
    """
    try:
        with _open(path) as stream:
            yield stream
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the path") from error
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    except pa.ArrowException as error:
        raise DataError(
            f"{path} is no table in UTF-8 text: {str(error)[:200]}; check its format and encoding"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreadable(path, error) from error


def plain_suffix(path: Path) -> str:
    """The suffix that tells the format, compression aside: ".csv" of "tracks.csv.gz"."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.suffix.lower()


def plain_stem(path: Path) -> str:
    """The name of a file without its suffixes: "tracks" of "tracks.csv.gz"."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.stem


def check_plain(path: Path) -> int:
    """The bytes of a regular file; a pipe or a device could block or have no end.

    Raises:
        DataError: It is none.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not path.is_dir():
        raise DataError(f"{path} is no plain file but a pipe or a device; save its content first")
    return found.st_size


class Xz(io.RawIOBase):
    """The content of an .xz file, whose header may not ask for more memory than is sane."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._file, self._rest = raw, b""
        self._next()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, room: Any) -> int:
        """Fill what is there for it; 0 at the end."""
        while True:
            if self._unpacker.eof and not self._begin():
                return 0
            packed = b""
            if self._unpacker.needs_input and not (packed := self._rest or self._file.read(BLOCK)):
                raise EOFError("it ends before its end")
            self._rest = b""
            found = self._unpacker.decompress(packed, len(room))
            if found:
                room[: len(found)] = found
                return len(found)

    def _begin(self) -> bool:
        """Go on with the next stream of the file, if there is one."""
        rest = self._unpacker.unused_data
        while not rest.strip(b"\0"):
            if not (rest := self._file.read(BLOCK)):
                return False
        self._next()
        self._rest = rest.lstrip(b"\0")
        return True

    def _next(self) -> None:
        self._unpacker = lzma.LZMADecompressor(memlimit=MAX_MEMORY)


class Bounded(io.RawIOBase):
    """A stream whose bytes are counted, and that ends in an error when they are too many."""

    def __init__(self, stream: Any, raw: IO[bytes], path: Path) -> None:
        self._stream, self._raw = stream, raw
        self._inflation = Inflation(path, raw.tell)

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the stream that is counted, and its file."""
        self._stream.close()
        self._raw.close()
        super().close()

    def readinto(self, room: Any) -> int:
        """Fill what is there for it; 0 at the end."""
        found = self._stream.read(min(len(room), STEP))
        self._inflation.add(len(found))
        room[: len(found)] = found
        return len(found)


_OPENERS: dict[str, Callable[[Path, IO[bytes]], Any]] = {
    ".gz": lambda path, raw: gzip.GzipFile(fileobj=raw),
    ".bz2": lambda path, raw: bz2.BZ2File(raw),
    ".xz": lambda path, raw: io.BufferedReader(Xz(raw)),
    ".zip": only_member,
}
_DAMAGE = (
    EOFError,
    MemoryError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
)
COMPRESSED = frozenset(_OPENERS)


def _open(path: Path) -> IO[bytes]:
    check_plain(path)
    stream: IO[bytes] = path.open("rb")
    try:
        if opener := _OPENERS.get(path.suffix.lower()):
            bounded = Bounded(opener(path, stream), stream, path)
            stream = cast(IO[bytes], io.BufferedReader(bounded, BLOCK))
        refuse_tar(path, stream)
    except BaseException:
        stream.close()
        raise
    return stream


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged or not a {path.suffix or 'plain'} file ({error}); get it again"
    )
