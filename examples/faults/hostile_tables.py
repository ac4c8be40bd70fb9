"""Hostile tables and archives, each with the name of its importer."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fixtures import Payload

HEAD = b"agent,time,x,y\n"
ROW = b"1,0,0.5,0.5\n"
GIB = 2**30
Maker = Callable[[Path], None]
MAKERS: dict[str, tuple[str, str, Maker]] = {}
"""By name: importer, file name, and a function that writes the file."""


def hostile(name: str, file: str, source: str = "table") -> Callable[[Maker], Maker]:
    """Register a function that writes a hostile file."""

    def register(write: Maker) -> Maker:
        MAKERS[name] = source, file, write
        return write

    return register


def _content(name: str, file: str, content: Callable[[], bytes], source: str = "table") -> None:
    MAKERS[name] = source, file, lambda path: path.write_bytes(content()) and None


def _repeated(pack: Callable[[bytes], bytes], head: bytes, piece: bytes, size: int) -> bytes:
    """A compressed file of `size` bytes: one compressed block of 16 MiB, repeated."""
    block = pack(piece * (2**24 // len(piece)))
    return pack(head) + block * (size // 2**24)


_content("a hundred thousand columns", "t.csv", lambda: b",".join([b"x"] * 10**5) + b"\n")
_content("nine thousand columns alike", "t.csv", lambda: b",".join([b"x"] * 9000) + b"\n")
_content("a quote that is never closed", "t.csv", lambda: HEAD + b'"' + ROW * 10**6)
_content("a cell of a packed GiB", "t.csv.gz", lambda: _repeated(gzip.compress, HEAD, b"x", GIB))
_content("a gzip bomb of rows", "t.csv.gz", lambda: _repeated(gzip.compress, HEAD, ROW, GIB))
_content("a bzip2 bomb of rows", "t.csv.bz2", lambda: _repeated(bz2.compress, HEAD, ROW, GIB))
_content("an xz bomb of rows", "t.csv.xz", lambda: _repeated(lzma.compress, HEAD, ROW, GIB))
_content("gzip in gzip", "t.csv.gz", lambda: gzip.compress(gzip.compress(HEAD + ROW)))
_content("half a gzip", "t.csv.gz", lambda: gzip.compress(HEAD + ROW * 9999)[:-99])
_content("gzip and then rubbish", "t.csv.gz", lambda: gzip.compress(HEAD + ROW * 99) + b"rubbish")
_content("a gzip that is none", "t.csv.gz", lambda: HEAD + ROW)
_content("UTF-16", "t.csv", lambda: (HEAD + ROW).decode().encode("utf-16"))
_content("UTF-16 without a mark", "t.csv", lambda: (HEAD + ROW).decode().encode("utf-16-le"))
_content("UTF-32", "t.csv", lambda: (HEAD + ROW).decode().encode("utf-32"))
_content("Latin-1 names", "t.csv", lambda: "agent,time,x,y,größe\n".encode("latin-1") + ROW)
_content("Latin-1 rows", "t.csv", lambda: HEAD + b"gr\xf6\xdfe,0,1,1\n" * 99)
_content("NUL bytes", "t.csv", lambda: HEAD + b"\0" * 2**20)
_content("NUL bytes in numbers", "t.csv", lambda: HEAD + b"1,0,\x001,1\n" * 99)
_content("random bytes", "t.csv", lambda: random.Random(0).randbytes(2**20))
_content("a pickle as table", "t.csv", lambda: pickle.dumps(Payload(_canary())))
_content("random bytes as Parquet", "t.parquet", lambda: random.Random(0).randbytes(2**20))
_content("a Parquet of lies", "t.parquet", lambda: b"PAR1" + b"\xff" * 99 + b"\xff\xff\xff\x7fPAR1")
_content("a pickle as Parquet", "t.parquet", lambda: pickle.dumps(Payload(_canary())))
_content("lines of a megabyte", "t.txt", lambda: (b"1 " * 2**19 + b"\n") * 64, "ethucy")
_content("one line of 64 MiB", "t.txt", lambda: b"x" * 2**26, "ethucy")
_content("JSON a million deep", "t.ndjson", lambda: b'{"track":' * 10**6, "trajnet")
_content("a number of 10^5 digits", "t.ndjson", lambda: _track(b"9" * 10**5), "trajnet")
_content("boxes of one word", "annotations.txt", lambda: b"9" * 2**26, "sdd")


def _track(number: bytes) -> bytes:
    return (b'{"track":{"f":0,"p":1,"x":' + number + b',"y":1}}\n') * 99


def _canary() -> Path:
    return Path(os.environ["TRAJFLOW_CANARY"])


@hostile("a cell of a GiB", "t.csv")
def _large_cell(path: Path) -> None:
    with path.open("wb") as file:
        file.write(HEAD + b"1,0,1,")
        file.truncate(GIB)


@hostile("an xz that asks for 4 GiB", "t.csv.xz")
def _greedy_xz(path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 2**27 + 2**26}]
    path.write_bytes(lzma.compress(HEAD + ROW, filters=filters))


def _zipped(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@hostile("a zip bomb", "t.csv.zip")
def _zip_bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("t.csv", "w", force_zip64=True) as member,
    ):
        member.write(HEAD)
        for _ in range(16):
            member.write(ROW * (2**24 // len(ROW)))


@hostile("a zip of fifty thousand files", "t.csv.zip")
def _zip_many(path: Path) -> None:
    _zipped(path, {f"{number}.csv": b"" for number in range(50_000)})


@hostile("a zip whose names climb", "t.csv.zip")
def _zip_climbs(path: Path) -> None:
    _zipped(path, {"../../escaped": HEAD, "/tmp/escaped": ROW})


@hostile("a zip in a zip", "t.csv.zip")
def _zip_in_zip(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("t.csv", HEAD + ROW)
    _zipped(path, {"t.csv": inner.getvalue()})


@hostile("a zip that lies of its size", "t.csv.zip")
def _zip_lies(path: Path) -> None:
    _zipped(path, {"t.csv": HEAD + ROW * 9999})
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(raw)


@hostile("a tar whose names climb", "t.tar")
def _tar_climbs(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        _tar_member(archive, "../../escaped")


@hostile("a packed tar", "t.tar.gz")
def _tar_packed(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        _tar_member(archive, "t.csv")


def _tar_member(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(HEAD)
    archive.addfile(entry, io.BytesIO(HEAD))


@hostile("a Parquet text of a MiB, a million times", "t.parquet")
def _parquet_text(path: Path) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 10**6, pa.int32()), ["x" * 2**20])
    _write_parquet(path, agent=long, rows=10**6)


@hostile("a Parquet of 3 10^7 rows in a few KiB", "t.parquet")
def _parquet_rows(path: Path) -> None:
    _write_parquet(path, agent=pa.array([1] * (3 * 10**7), pa.int8()), rows=3 * 10**7)


@hostile("a Parquet of fifty thousand columns", "t.parquet")
def _parquet_columns(path: Path) -> None:
    pq.write_table(pa.table({f"c{number}": pa.array([1]) for number in range(50_000)}), path)


def _write_parquet(path: Path, agent: pa.Array, rows: int) -> None:
    values = pa.nulls(rows, pa.float64()).fill_null(0.0)
    table = pa.table({"agent": agent, "time": values, "x": values, "y": values})
    pq.write_table(table, path, compression="zstd", row_group_size=10**7)


@hostile("a pipe as table", "t.csv")
def _pipe(path: Path) -> None:
    os.mkfifo(path)


@hostile("a link to /dev/zero as table", "t.csv")
def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@hostile("a link that leads to itself as table", "t.csv")
def _loop(path: Path) -> None:
    path.symlink_to(path)
