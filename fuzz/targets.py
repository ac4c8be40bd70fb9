"""The fuzzed parsers, each as a function of bytes that may only raise a TrajflowError.

A target may use the folder it gets for files; it is the same folder each time.
"""

import base64
import hashlib
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from trajflow.config import Config
from trajflow.datasets.checksums import CHECKSUMS, encode_checksums, unpack
from trajflow.datasets.columns import map_columns
from trajflow.datasets.formats import FORMATS
from trajflow.datasets.ingest import Ingest
from trajflow.datasets.schema import GROUP, Spec, TrackBlock
from trajflow.datasets.sorting import read_sorted
from trajflow.datasets.sources import ImportOptions
from trajflow.datasets.store import open_store
from trajflow.datasets.unpacking import stage
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import TrajflowError
from trajflow.inference.onnx.artifact import (
    ARRAYS,
    FACTS,
    FORMAT,
    Artifact,
    ModelSpec,
    check_file,
    pack_arrays,
    sealed,
)
from trajflow.inference.onnx.predictor import LearnedWeights
from trajflow.io import parse_bounded_json
from trajflow.manifest import FILE as MANIFEST
from trajflow.manifest import Manifest, read_kept
from trajflow.models.serialization import unpack as unpack_weights
from trajflow.runs import CONFIG, EVENTS, RECORD, RunFolder
from trajflow.text import needs_escape, plain, safe

PACKED = (".gz", ".bz2", ".xz", ".zip", "", ".zst")
Target = Callable[[bytes, Path], None]
TARGETS: dict[str, Target] = {}


def target(parser: Target) -> Target:
    """Register a parser; a TrajflowError is not a crash."""

    def handled(data: bytes, folder: Path) -> None:
        with suppress(TrajflowError):
            parser(data, folder)

    TARGETS[parser.__name__] = handled
    return handled


@target
def text(data: bytes, folder: Path) -> None:
    """Text for the terminal."""
    words = data.decode("utf-8", "surrogateescape")
    for shown in (safe(words), safe(words, 8), plain(words).replace("\n", "")):
        assert not any(map(needs_escape, shown)), shown
    assert len(safe(words, 20)) <= 20


@target
def csv(data: bytes, folder: Path) -> None:
    """Delimited tables, from the header to canonical rows."""
    _read_rows("table", _write(folder / "t.csv", data))


@target
def columns(data: bytes, folder: Path) -> None:
    """The mapping of columns."""
    names = data.decode("utf-8", "replace").split(",")
    chosen = {"x": names[0]} if len(names) % 2 else {}
    assert set(map_columns(folder, chosen, names).names.values()) <= set(names)


@target
def lines(data: bytes, folder: Path) -> None:
    """Recordings as lines of text, JSON or bounding boxes."""
    kinds = {0: ("ethucy", "t.txt"), 1: ("trajnet", "t.ndjson"), 2: ("sdd", "annotations.txt")}
    source, name = kinds[data[0] % 3 if data else 0]
    _read_rows(source, _write(folder / "hall" / "video0" / name, data[1:]))


@target
def archives(data: bytes, folder: Path) -> None:
    """Compressed files and archives."""
    suffix = PACKED[data[0] % len(PACKED) if data else 0]
    (folder / "unpacked").unlink(missing_ok=True)
    stage(_write(folder / f"t.csv{suffix}", data[1:]), folder / "unpacked")


@target
def json(data: bytes, folder: Path) -> None:
    """JSON files."""
    with suppress(ValueError):
        parse_bounded_json(data)


@target
def chunk(data: bytes, folder: Path) -> None:
    """A compressed chunk of a store."""
    with suppress(ValueError, RuntimeError):
        assert unpack(data, Spec("<f8", "obs")).shape == (65_536,)


@target
def store(data: bytes, folder: Path) -> None:
    """One changed file of a store, with a valid checksum."""
    path = small_store(folder)
    files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    name = files[data[0] % len(files)] if data else GROUP
    before = {file: (path / file).read_bytes() for file in (name, CHECKSUMS)}
    try:
        (path / name).write_bytes(data[1:])
        if name != CHECKSUMS:
            _update_checksum(path, name, data[1:])
        _read_all(path)
    finally:
        for file, content in before.items():
            (path / file).write_bytes(content)


@target
def settings(data: bytes, folder: Path) -> None:
    """A settings file, or values of `--set`."""
    if data[:1] == b"-":
        loaded = Config.load(None, data[1:].decode("utf-8", "replace").split("\n"))
    else:
        loaded = Config.load(_write(folder / "config.toml", data))
    again = Config.load(_write(folder / "again.toml", loaded.to_toml().encode()))
    assert again.to_toml() == loaded.to_toml()


@target
def run(data: bytes, folder: Path) -> None:
    """The record, the events or the settings of a run."""
    from trajflow.library import read_run

    path = folder / "run"
    path.mkdir(exist_ok=True)
    files = {RECORD: b'{"dt": 0.4, "dims": 2}', EVENTS: b"", CONFIG: Config().to_toml().encode()}
    name = (RECORD, EVENTS, CONFIG)[data[0] % 3 if data else 0]
    for file, content in (files | {name: data[1:]}).items():
        (path / file).write_bytes(content)
    read_run(path)
    opened = RunFolder.open(path)
    for read in (opened.read_record, lambda: list(opened.events()), lambda: opened.config):
        with suppress(TrajflowError):
            read()


@target
def export(data: bytes, folder: Path) -> None:
    """An exported model: the outline of its graph, its metadata or its arrays."""
    kind, rest = data[:1] or b"\0", data[1:]
    entries = {FACTS: f'{{"format": {FORMAT}}}', ARRAYS: pack_arrays({})}
    if kind[0] % 4 == 0:
        check_file(rest)
    elif kind[0] % 4 == 1:
        check_file(sealed(rest))
    elif kind[0] % 4 == 2:
        ModelSpec.of(Artifact.of(entries | {FACTS: rest.decode("utf-8", "replace")}).facts)
    else:
        text = base64.b64encode(rest).decode()
        LearnedWeights(Artifact.of(entries | {ARRAYS: text}).group("set-4"))


@target
def tensors(data: bytes, folder: Path) -> None:
    """Weights: their header and the description of their network."""
    unpack_weights(data, "weights")


@target
def manifest(data: bytes, folder: Path) -> None:
    """The manifest of a run, and a file in it."""
    (folder / MANIFEST).write_bytes(data)
    Manifest.read(folder)
    with suppress(FileNotFoundError):
        read_kept(folder / "file", 99)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _read_rows(format: str, path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        closing(Ingest(Path(folder))) as ingest,
    ):
        options = ImportOptions(folder=Path(folder), dt=0.4, part_rows=64)
        source = FORMATS[format].read(ingest.db, path, options)
        kept = sum(len(part.row) for part in read_sorted(ingest, source, options).parts())
        rejected = sum(ingest.reasons().values()) + sum(ingest.dropped.values())
        assert kept + rejected == ingest.rows_read


def small_store(folder: Path) -> Path:
    """The path of a small valid store in a folder, written on first use."""
    path = folder / "small.zarr"
    if not path.exists():
        with StoreWriter(path, dims=2, dt=0.5, unit="m") as writer:
            steps = np.arange(6) * 0.5
            position = np.arange(12.0).reshape(6, 2)
            labels = ["a", "b"]
            sizes = np.array([3, 3])
            time = np.concatenate([steps[:3]] * 2)
            writer.append(TrackBlock("hall", labels, ["walker"] * 2, sizes, time, position))
            writer.append_table("apart", {"agent": ["c"], "x": [1.0]})
    return path


def _update_checksum(path: Path, name: str, content: bytes) -> None:
    files = parse_bounded_json((path / CHECKSUMS).read_bytes())["attributes"]["files"]
    files[name] = hashlib.sha256(content).hexdigest()
    (path / CHECKSUMS).write_bytes(encode_checksums(files))


def _read_all(path: Path) -> None:
    opened = open_store(path)
    opened.summary()
    opened.fingerprint()
    tracks = opened.tracks()
    opened.labels(tracks.agent)
    for name in opened.tables:
        opened.table(name)
