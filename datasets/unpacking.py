"""Opens untrusted files: plain or compressed text, and Parquet in a separate process.

The size of unpacked data is counted while it is produced, so a small file cannot fill the disk or
the memory. Compressed text is unpacked under a fixed name; names inside an archive are not used.

The size of Parquet data cannot be predicted: a few bytes may repeat a text of a megabyte in a
million rows, and a damaged file may crash the process that decodes it. So this file is also a
program, `python unpacking.py FILE ROWS` with a list of columns on stdin: it decodes them with
bounded memory and writes an Arrow stream to stdout and an error in one line to stderr. The program
does not import the package, hence the imports inside functions.
"""

import bz2
import gzip
import json
import lzma
import os
import re
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

import pyarrow as pa

SMALL = 16 * 2**20  # Bytes that any file may unpack to
MAX_RATIO = 200  # Tables of tracks compress 3 to 20 times; a higher ratio suggests a bomb
MAX_PARQUET_RATIO = 50  # Positions hardly compress and the whole file counts, so this is tighter
MAX_MEMORY = 128 * 2**20  # Bytes that a decompressor may allocate; `xz -9` needs half of it
MAX_DIRECTORY = 1 << 20  # Bytes of the table of contents of a .zip
DECODER_MEMORY = 384 * 2**20  # Bytes that decoding Parquet may allocate
MAX_FIELDS = 10_000
MAX_LINE = 1 << 17  # Bytes of a line of text
BLOCK = 1 << 16
WRONG, TOO_LARGE = 3, 4  # Exit codes of the program


def plain_suffix(path: Path) -> str:
    """The suffix of the format without compression: ".csv" of "tracks.csv.gz"."""
    return _inner(path).suffix.lower()


def plain_stem(path: Path) -> str:
    """The name of a file without its suffixes: "tracks" of "tracks.csv.gz"."""
    return _inner(path).stem


def is_packed(path: Path) -> bool:
    """Whether the name of a file ends in .gz, .bz2, .xz, .zst or .zip."""
    return path.suffix.lower() in _BLOCKS


def _inner(path: Path) -> Path:
    return path.with_suffix("") if is_packed(path) else path


def check_regular(path: Path) -> int:
    """The size of a regular file; a pipe or a device could block or be endless."""
    try:
        result = path.stat()
        if stat.S_ISREG(result.st_mode):
            path.open("rb").close()
            return result.st_size
    except OSError as error:
        raise _error(f"cannot read {path}: {error.strerror}; check the path") from error
    raise _error(f"{path} is a folder, pipe or device; save its content to a file first")


def stage(path: Path, place: Path, most: int | None = None) -> None:
    """Make `place` a plain file with the content of `path`: a link to it, or the unpacked bytes.

    With `most`, unpacking stops after this many bytes.

    Raises:
        DataError: The file is missing, damaged, of another kind than its name, an archive of
            several files, or unpacks to an implausible size.
    """
    check_regular(path)
    if is_packed(path):
        try:
            _unpack(path, place, most)
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _unreadable(path, error) from error
    else:
        place.symlink_to(path.absolute())
    with place.open("rb") as stream:
        if stream.read(262)[257:] == b"ustar":
            raise _error(f"{path} is a tar archive; unpack it and import its content")


def stage_text(path: Path, place: Path) -> None:
    """`stage` a text and check the length of its last line."""
    stage(path, place)
    check_last_line(path, place)


def check_last_line(path: Path, place: Path) -> None:
    """Refuse a last line that is too long: DuckDB would hold it in memory several times."""
    with place.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) > MAX_LINE:
            stream.seek(-MAX_LINE - 1, os.SEEK_END)
            if not re.search(rb"[\r\n]", stream.read()):
                raise _error(
                    f"{path} is no table: its last line is longer than {MAX_LINE} bytes; is a "
                    "quote left open there?"
                )


def _unpack(path: Path, place: Path, most: int | None) -> None:
    unpacked = 0
    with path.open("rb") as raw, place.open("wb") as out:
        for block in _BLOCKS[path.suffix.lower()](path, raw):
            unpacked += len(block)
            if unpacked > SMALL and unpacked > MAX_RATIO * raw.tell():
                raise _implausible_size(path, raw.tell(), unpacked, MAX_RATIO)
            out.write(block)
            if most is not None and unpacked >= most:
                return


def _read_all(stream: Any) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _xz_blocks(path: Path, raw: IO[bytes]) -> Iterator[bytes]:
    """The content of an .xz file; the memory that its headers request is bounded."""
    packed = raw.read(BLOCK)
    while packed:
        unpacker = lzma.LZMADecompressor(memlimit=MAX_MEMORY)
        while not unpacker.eof:
            if unpacker.needs_input and not packed and not (packed := raw.read(BLOCK)):
                raise EOFError("it ends too early")
            yield unpacker.decompress(packed, BLOCK)
            packed = b""
        packed = unpacker.unused_data.lstrip(b"\0")
        while not packed and (packed := raw.read(BLOCK)):
            packed = packed.lstrip(b"\0")


def _zip_blocks(path: Path, raw: IO[bytes]) -> Iterator[bytes]:
    """The content of the only file in a .zip, whose size must be the recorded one."""
    _check_directory(path, raw)
    with _zip_errors():
        archive = zipfile.ZipFile(raw)
    # Not `is_dir`, which fails on an empty name.
    inside = (f for f in archive.infolist() if not f.filename.endswith("/"))
    files = [f for f in inside if "__MACOSX" not in f.filename]
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if len(files) != 1 or files[0].flag_bits & 1 or files[0].compress_type not in methods:
        names = ", ".join(f.filename[:80] for f in files[:5])
        raise _error(
            f"{path} must contain one file, not encrypted and by deflate, but has {len(files)}: "
            f"{names}; unpack it and import its content"
        )
    with _zip_errors():
        blocks, size = _read_all(archive.open(files[0])), 0
    while True:
        with _zip_errors():
            block = next(blocks, b"")
        size += len(block)
        if not block:
            break
        yield block
    if size != files[0].file_size:
        raise zipfile.BadZipFile("a file in it does not have the recorded size")


@contextmanager
def _zip_errors() -> Iterator[None]:
    """Turn the errors that forged metadata of a .zip causes into that of a damaged file."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, struct.error, OverflowError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def _check_directory(path: Path, raw: IO[bytes]) -> None:
    """Refuse a table of contents that is too long, before it is read."""
    raw.seek(max(0, raw.seek(0, 2) - 22 - (1 << 16)))
    tail = raw.read()
    end = tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    large = tail[max(0, end - 76) : max(0, end)]
    if large.startswith(b"PK\x06\x06"):  # the 64-bit record, which zipfile trusts
        size = max(size, int.from_bytes(large[40:48], "little"))
    if size > MAX_DIRECTORY:
        raise _error(
            f"{path} has a table of contents of {size} bytes, too long for one table of tracks; "
            "unpack it and import its content"
        )


_BLOCKS: dict[str, Callable[[Path, IO[bytes]], Iterator[bytes]]] = {
    ".gz": lambda path, raw: _read_all(gzip.GzipFile(fileobj=raw)),
    ".bz2": lambda path, raw: _read_all(bz2.BZ2File(raw)),
    ".xz": _xz_blocks,
    ".zst": lambda path, raw: _read_all(pa.CompressedInputStream(pa.PythonFile(raw), "zstd")),
    ".zip": _zip_blocks,
}
_DAMAGE = (
    EOFError,
    MemoryError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    pa.ArrowException,
)


def parquet_schema(path: Path) -> tuple[list[str], str | None]:
    """Columns of a Parquet file, and the unit of x and y if they are those of a geometry."""
    check_regular(path)
    facts = path.stat()
    names, unit = _schema(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return list(names), unit


@lru_cache(maxsize=64)
def _schema(path: Path, version: tuple[int, ...]) -> tuple[list[str], str | None]:
    """The schema of a version of a file: it is asked for more than once, and a process is slow."""
    with _decoded(path, 1, ()) as stream:
        unit = (stream.schema.metadata or {}).get(b"unit")
        return list(stream.schema.names), unit.decode() if unit else None


def read_parquet(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The chosen columns of a Parquet file, in batches of at most `rows` rows.

    Durations are converted to seconds, timestamps to microseconds in UTC, text of any kind to text.
    A damaged file, or one that unpacks to an implausible size, is a DataError.
    """
    size, unpacked = check_regular(path), 0
    with _decoded(path, rows, columns) as stream:
        for batch in stream:
            unpacked += batch.nbytes
            if unpacked > SMALL and unpacked > MAX_PARQUET_RATIO * size:
                raise _implausible_size(path, size, unpacked, MAX_PARQUET_RATIO)
            yield batch


@contextmanager
def _decoded(
    path: Path, rows: int, columns: Sequence[str]
) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    check_regular(path)
    words = [sys.executable, "-P", __file__, str(path.absolute()), str(rows)]
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with subprocess.Popen(words, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            child.stdin.write(json.dumps(list(columns)).encode())
            child.stdin.close()
            with pa.ipc.open_stream(child.stdout) as stream:
                yield stream
            if child.wait():
                raise _parquet_error(path, child.returncode, child.stderr.read())
        except (pa.ArrowException, OSError, EOFError):
            child.stdout.close()
            raise _parquet_error(path, child.wait(), child.stderr.read()) from None
        finally:
            child.kill()


def _error(message: str) -> Exception:
    from trajflow.errors import DataError

    return DataError(message)


def _implausible_size(path: Path, packed: int, unpacked: int, ratio: int) -> Exception:
    return _error(
        f"the first {packed} bytes of {path} unpack to more than {unpacked}, over {ratio} to "
        "1, which a table of tracks never does: unpack it yourself if it is one"
    )


def _unreadable(path: Path, error: Exception) -> Exception:
    return _error(f"{path} is damaged or not a {path.suffix} file ({error}); download it again")


def _parquet_error(path: Path, code: int, reason: bytes) -> Exception:
    if code == TOO_LARGE:
        return _error(
            f"{path} needs more memory than a table of tracks; "
            "write it with smaller row groups, or as CSV"
        )
    why = reason.decode("utf-8", "replace").strip()[:200] or f"its decoder ended with {code}"
    return _error(f"{path} is damaged or not a Parquet file ({why}); download it again")


def decode(path: str, rows: int, names: list[str]) -> None:
    """Write the chosen columns of a file in batches of `rows` rows; without names, its schema.

    The points of a GeoParquet geometry become the columns x and y.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        stored_names = file.schema_arrow.names
        point, unit = _geometry(file.schema_arrow)
        axes = [axis for axis in ("x", "y") if point and axis not in stored_names]
        columns = names or [name for name in stored_names if name != point][:MAX_FIELDS] + axes
        stored = [n for n in names if n not in axes] + ([point] if {*axes} & {*names} else [])
        schema = pa.schema([pa.field(name, pa.null()) for name in columns], {"unit": unit or ""})
        writer = None
        for batch in file.iter_batches(rows, columns=stored, use_threads=False) if names else ():
            batch.validate(full=True)
            values = {
                n: _plain_column(c) for n, c in zip(batch.schema.names, batch.columns, strict=True)
            }
            if point in values:
                values |= dict(zip(axes, _points(batch.column(point)), strict=True))
            plain = pa.table({name: values[name] for name in names})
            writer = writer or pa.ipc.new_stream(sys.stdout.buffer, plain.schema)
            writer.write_table(plain)
        (writer or pa.ipc.new_stream(sys.stdout.buffer, schema)).close()


def _geometry(schema: pa.Schema) -> tuple[str, str | None]:
    """The column of points of a GeoParquet file, or "", and their unit."""
    try:
        facts = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        name = str(facts["primary_column"])
        crs = facts["columns"][name].get("crs", "OGC:CRS84")
        code = crs["id"]["code"] if isinstance(crs, dict) else crs
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", None
    degrees = str(code) in ("OGC:CRS84", "CRS84", "4326")
    return (name if name in schema.names else ""), "degree" if degrees else None


def _points(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The coordinates of points in well-known binary; null for anything else."""
    xs, ys = [], []
    for value in column.to_pylist():
        point = value if isinstance(value, bytes) and len(value) >= 21 else b""
        order = "<" if point[:1] == b"\1" else ">"
        if point and struct.unpack_from(order + "I", point, 1)[0] % 1000 == 1:
            x, y = struct.unpack_from(order + "dd", point, 5)
        else:
            x = y = None
        xs.append(x)
        ys.append(y)
    return pa.array(xs, pa.float64()), pa.array(ys, pa.float64())


def _plain_column(column: pa.Array) -> pa.Array:
    """A column as text, numbers, booleans or timestamps; null for anything else."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain_column(column.dictionary_decode())
    if pa.types.is_duration(kind):
        ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        return pa.array(column.cast(pa.int64()).to_numpy(zero_copy_only=False) / ticks)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"), safe=False).cast(pa.timestamp("us", "UTC"))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.nulls(len(column), pa.string())


def _limit_memory() -> None:
    """Limit the memory of this process to a little more than it has now."""
    import resource

    pa.set_memory_pool(pa.system_memory_pool())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + DECODER_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    import pyarrow.compute
    import pyarrow.parquet

    if sys.platform == "linux":
        _limit_memory()
    try:
        decode(sys.argv[1], int(sys.argv[2]), json.load(sys.stdin))
    except MemoryError:
        sys.exit(TOO_LARGE)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        sys.stderr.write(str(error)[:200])
        sys.exit(WRONG)
