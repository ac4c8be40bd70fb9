"""Hostile stores of tracks. Each has valid checksums, as an attacker could compute them."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr
from fixtures import Payload
from numcodecs.zstd import compress

from trajflow.datasets.checksums import CHECKSUMS, encode_checksums, write_checksums
from trajflow.datasets.schema import CHUNK, TrackBlock
from trajflow.datasets.writer import StoreWriter

INDEX = ("rowsize", "episode_ends", "trajectory_id", "scene", "agent_type")
ROWS, TRACKS = 60, 3
Maker = Callable[[Path, Path], None]
MAKERS: dict[str, Maker] = {}
"""By name: spoils a valid store, given the path of a file that only foreign code creates."""


def tame(path: Path, text: bool = True) -> None:
    """Write a small valid store."""
    with StoreWriter(path, dims=2, dt=0.4, unit="m") as writer:
        writer.append(
            TrackBlock(
                "hall",
                ["a", "b", "c"] if text else [1, 2, 3],
                ["walker"] * TRACKS,
                np.full(TRACKS, 20),
                np.tile(np.arange(20) * 0.4, TRACKS),
                np.random.default_rng(0).normal(size=(ROWS, 2)).cumsum(0),
            )
        )
        writer.append_table("quarantine", {"agent": ["d"], "x": [1.0]})


def hostile(name: str) -> Callable[[Maker], Maker]:
    """Register a function that spoils a store."""

    def register(spoil: Maker) -> Maker:
        MAKERS[name] = spoil
        return spoil

    return register


def make(name: str, path: Path, canary: Path) -> None:
    """Write the hostile store with a name; `canary` exists afterwards if its code is run."""
    tame(path)
    MAKERS[name](path, canary)


def _change(file: Path, **values: object) -> None:
    node = json.loads(file.read_text())
    target = node["attributes"] if file.parent.suffix == ".zarr" else node
    target.update(values)
    file.write_text(json.dumps(node))


def _update_checksums(path: Path) -> None:
    shutil.rmtree(path / "seal", ignore_errors=True)
    write_checksums(path)


def _claims(name: str, file: str, **values: object) -> None:
    """Register a store with a false value in a zarr.json."""

    def spoil(path: Path, canary: Path) -> None:
        _change(path / file, **values)
        _update_checksums(path)

    MAKERS[name] = spoil


def _values(name: str, array: str, change: Callable[[np.ndarray], None]) -> None:
    """Register a store with impossible numbers in an array."""

    def spoil(path: Path, canary: Path) -> None:
        stored = zarr.open_array(path / array, mode="r+")
        values = stored[:]
        change(values)
        stored[:] = values
        _update_checksums(path)

    MAKERS[name] = spoil


def _bytes(name: str, file: str, content: Callable[[Path], bytes]) -> None:
    """Register a store with a file of other content."""

    def spoil(path: Path, canary: Path) -> None:
        (path / file).write_bytes(content(canary))
        _update_checksums(path)

    MAKERS[name] = spoil


def _frame(size: int) -> bytes:
    """A zstd frame whose header claims `size` bytes."""
    body = compress(bytes(CHUNK * 8), 3)
    return body[:4] + bytes([0b11100000]) + size.to_bytes(8, "little") + body[9:]


_claims("shape of 10^15 in one array", "x/zarr.json", shape=[10**15])
_claims("negative shape", "x/zarr.json", shape=[-5])
_claims("shape of five numbers", "x/zarr.json", shape=[1, 2, 3, 4, 5])
_claims("chunks of one row", "x/zarr.json", chunk_grid={"configuration": {"chunk_shape": [1]}})
_claims("chunks of no row", "x/zarr.json", chunk_grid={"configuration": {"chunk_shape": [0]}})
_claims("unknown codec", "x/zarr.json", codecs=[{"name": "bytes"}, {"name": "evil"}])
_claims("codec that unpickles", "x/zarr.json", codecs=[{"name": "numcodecs.pickle"}])
_claims("type of Python objects", "x/zarr.json", data_type="object")
_claims("10^15 rows", "zarr.json", rows=10**15)
_claims("10^15 trajectories", "zarr.json", trajectories=10**15)
_claims("a step of 10^308 seconds", "zarr.json", dt=1e308)
_claims("a scene twice", "zarr.json", scenes=["hall", "hall"])
_claims("names that are no text", "zarr.json", scenes=["\ud800"])
_claims("a report nested 5000 deep", "zarr.json", report=json.loads("[" * 900 + "]" * 900))
_claims("another format", "zarr.json", trajflow_format="9.\x1b]0;owned\x07")
_claims("a table of 10^15 rows", "quarantine/zarr.json", attributes={"rows": 10**15})
_claims("a table of endless rows", "quarantine/zarr.json", attributes={"rows": "1e999"})
_values("sizes that overflow", "rowsize", lambda v: v.__setitem__(slice(None), 2**62))
_values("ends that go back", "episode_ends", lambda v: v.__setitem__(1, 3))
_values("a scene without name", "scene", lambda v: v.__setitem__(2, 7))
_values("labels longer than all text", "label_size", lambda v: v.__setitem__(0, 2**62))
_values("labels that are no text", "label_bytes", lambda v: v.__setitem__(0, 0xFF))
_values("a part without name", "split", lambda v: v.__setitem__(3, 99))
_values("endless positions", "x", lambda v: v.__setitem__(3, np.inf))
_values("a time of 10^300", "time", lambda v: v.__setitem__(5, 1e300))
_bytes("a million brackets", "zarr.json", lambda c: b'{"attributes":' + b"[" * 10**6)
_bytes("ten million lists", "zarr.json", lambda c: b'{"a":[' + b"[]," * 10**7 + b"0]}")
_bytes("a number of a million digits", "zarr.json", lambda c: b'{"a":' + b"9" * 10**6 + b"}")
_bytes("a pickle as description", "zarr.json", lambda c: pickle.dumps(Payload(c)))
_bytes("a pickle as chunk", "x/c/0", lambda c: pickle.dumps(Payload(c)))
_bytes("a chunk that claims a GiB", "x/c/0", lambda c: _frame(2**30))
_bytes("a chunk that claims 2^60 bytes", "x/c/0", lambda c: _frame(2**60))
_bytes("a chunk of a GiB", "x/c/0", lambda c: compress(bytes(2**28), 19))
_bytes("an empty chunk", "x/c/0", lambda c: b"")


@hostile("10^12 rows in all files")
def _false_sizes(path: Path, canary: Path) -> None:
    _change(path / "zarr.json", trajectories=10**12, rows=10**12)
    for name in (*INDEX, "x", "y", "time", "split"):
        _change(path / name / "zarr.json", shape=[10**12])
    _update_checksums(path)


@hostile("an index of small bombs")
def _compressed_index(path: Path, canary: Path) -> None:
    count = 2000
    _change(path / "zarr.json", trajectories=count * CHUNK, rows=count * CHUNK)
    for name in (*INDEX, "label_size"):
        _change(path / name / "zarr.json", shape=[count * CHUNK])
        raw = compress(bytes(CHUNK * 8), 3)
        for index in range(count):
            (path / name / "c" / str(index)).write_bytes(raw)
    _update_checksums(path)


@hostile("ten thousand empty chunks")
def _empty_chunks(path: Path, canary: Path) -> None:
    for index in range(1, 10_000):
        (path / "x" / "c" / str(index)).touch()
    _change(path / "x" / "zarr.json", shape=[10_000 * CHUNK])
    _update_checksums(path)


# Checksum lists of files that do not exist or lie outside the store, and files that are not files.


def _missing(name: str, count: int) -> None:
    def spoil(path: Path, canary: Path) -> None:
        files = {f"x/c/{index}": "0" * 64 for index in range(count)}
        (path / CHECKSUMS).write_bytes(encode_checksums(files))

    MAKERS[name] = spoil


_missing("a million chunks, none there", 10**6)
_missing("300 000 chunks, none there", 300_000)


def _named(name: str, file: str) -> None:
    def spoil(path: Path, canary: Path) -> None:
        (path / CHECKSUMS).write_bytes(encode_checksums({file: "0" * 64}))

    MAKERS[name] = spoil


_named("a seal over /etc/passwd", "../../../../../../etc/passwd")
_named("a seal over an absolute path", "/etc/passwd")
_named("a seal with a NUL", "x\0/c/0")
_named("a seal with a name of a megabyte", "x" * 2**20)


def _replaced(name: str, file: str, put: Callable[[Path], None]) -> None:
    def spoil(path: Path, canary: Path) -> None:
        (path / file).unlink()
        put(path / file)

    MAKERS[name] = spoil


_replaced("a pipe as chunk", "x/c/0", os.mkfifo)
_replaced("a pipe as description", "zarr.json", os.mkfifo)
_replaced("a link to /dev/zero", "x/c/0", lambda file: file.symlink_to("/dev/zero"))
_replaced("a link that leads to itself", "y/c/0", lambda file: file.symlink_to(file))
_replaced("a folder as chunk", "x/c/0", lambda file: file.mkdir())
_replaced("a description of 4 GiB", "zarr.json", lambda file: _sparse(file, 2**32))


def _sparse(file: Path, size: int) -> None:
    with file.open("wb") as handle:
        handle.truncate(size)
