"""Open a file that may be compressed, as a stream of bytes that never unfolds in memory."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from trajflow.errors import DataError

_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zip": lambda path: _only_member(path),
}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)
COMPRESSED = frozenset(_OPENERS)


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed as they are read if its name ends in .gz, .bz2, .xz, .zip.

    Raises:
        DataError: The file is missing, damaged, not what its name says, or no UTF-8 table; also
            when that shows only later, inside the `with` block.
    """
    try:
        with _open(path) as stream:
            yield stream
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the path") from error
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    except pa.ArrowInvalid as error:
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


def _open(path: Path) -> IO[bytes]:
    opener = _OPENERS.get(path.suffix.lower())
    return path.open("rb") if opener is None else cast(IO[bytes], opener(path))


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged or not a {path.suffix or 'plain'} file ({error}); get it again"
    )


def _only_member(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        files = [f for f in archive.infolist() if not f.is_dir() and "__MACOSX" not in f.filename]
        if len(files) != 1 or files[0].flag_bits & 1:
            names = ", ".join(f.filename for f in files[:5])
            raise DataError(
                f"{path} must hold one unencrypted file, it holds {len(files)}: {names}; "
                "unpack it and import what it holds"
            )
        return archive.open(files[0])
