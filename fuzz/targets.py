"""Our parsers, each as a function of bytes: whatever the bytes, only a TrajflowError may come out.

A target may use the folder it is given for files; it is the same one each time.
"""

import hashlib
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import model_targets  # noqa: F401 - enters its own
import numpy as np
from registry import TARGETS as TARGETS
from registry import target

from trajflow.config import Config
from trajflow.datasets.checksums import CHECKSUMS, encode_checksums, unpack
from trajflow.datasets.columns import map_columns
from trajflow.datasets.formats import FORMATS
from trajflow.datasets.ingest import Ingest
from trajflow.datasets.schema import GROUP, Spec, TrackBlock
from trajflow.datasets.sources import ImportOptions
from trajflow.datasets.store import open_store
from trajflow.datasets.unpacking import stage
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import TrajflowError
from trajflow.io import parse_bounded_json
from trajflow.runs import CONFIG, EVENTS, RECORD, RunFolder
from trajflow.text import needs_escape, plain, safe

PACKED = (".gz", ".bz2", ".xz", ".zip", "", ".zst")


@target
def text(data: bytes, folder: Path) -> None:
    """The door to the terminal."""
    words = data.decode("utf-8", "surrogateescape")
    for shown in (safe(words), safe(words, 8), plain(words).replace("\n", "")):
        assert not any(map(needs_escape, shown)), shown
    assert len(safe(words, 20)) <= 20


@target
def csv(data: bytes, folder: Path) -> None:
    """Delimited tables, from the first line to canonical rows."""
    _rows("table", _written(folder / "t.csv", data))


@target
def columns(data: bytes, folder: Path) -> None:
    """Which column is what."""
    names = data.decode("utf-8", "replace").split(",")
    given = {"x": names[0]} if len(names) % 2 else {}
    assert set(map_columns(folder, given, names).names.values()) <= set(names)


@target
def lines(data: bytes, folder: Path) -> None:
    """Recordings as lines of text, of JSON and of boxes."""
    kinds = {0: ("ethucy", "t.txt"), 1: ("trajnet", "t.ndjson"), 2: ("sdd", "annotations.txt")}
    source, name = kinds[data[0] % 3 if data else 0]
    _rows(source, _written(folder / "hall" / "video0" / name, data[1:]))


@target
def archives(data: bytes, folder: Path) -> None:
    """Packed files and archives."""
    suffix = PACKED[data[0] % len(PACKED) if data else 0]
    (folder / "unpacked").unlink(missing_ok=True)
    stage(_written(folder / f"t.csv{suffix}", data[1:]), folder / "unpacked")


@target
def json(data: bytes, folder: Path) -> None:
    """JSON of strangers."""
    with suppress(ValueError):
        parse_bounded_json(data)


@target
def chunk(data: bytes, folder: Path) -> None:
    """One packed chunk of a store."""
    with suppress(ValueError, RuntimeError):
        assert unpack(data, Spec("<f8", "obs")).shape == (65_536,)


@target
def store(data: bytes, folder: Path) -> None:
    """One file of a store, sealed again by whoever changed it."""
    path = _tame(folder)
    files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    name = files[data[0] % len(files)] if data else GROUP
    before = {file: (path / file).read_bytes() for file in (name, CHECKSUMS)}
    try:
        (path / name).write_bytes(data[1:])
        if name != CHECKSUMS:
            _seal_again(path, name, data[1:])
        _read_all(path)
    finally:
        for file, content in before.items():
            (path / file).write_bytes(content)


@target
def settings(data: bytes, folder: Path) -> None:
    """A file of settings, and words of `--set`."""
    if data[:1] == b"-":
        words = data[1:].decode("utf-8", "replace").split("\n")
        loaded = Config.load(None, words)
    else:
        loaded = Config.load(_written(folder / "config.toml", data))
    again = Config.load(_written(folder / "again.toml", loaded.to_toml().encode()))
    assert again.to_toml() == loaded.to_toml()


@target
def run(data: bytes, folder: Path) -> None:
    """The record, the events and the settings of a run."""
    from trajflow.library import read_run

    place = folder / "run"
    place.mkdir(exist_ok=True)
    parts = {RECORD: b'{"dt": 0.4, "dims": 2}', EVENTS: b"", CONFIG: Config().to_toml().encode()}
    name = (RECORD, EVENTS, CONFIG)[data[0] % 3 if data else 0]
    for file, content in (parts | {name: data[1:]}).items():
        (place / file).write_bytes(content)
    read_run(place)
    opened = RunFolder.open(place)
    for use in (opened.read_record, lambda: list(opened.events()), lambda: opened.config):
        with suppress(TrajflowError):
            use()


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _rows(format: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        rows = Ingest(Path(folder))
        with closing(rows):
            options = ImportOptions(folder=Path(folder), dt=0.4)
            source = FORMATS[format].read(rows.db, path, options)
            assert list(rows.read(source, options))[-1] == rows.rows_read
            kept = sum(len(part.row) for part in rows.sorted_parts(64))
            apart = sum(rows.reasons().values()) + sum(rows.dropped.values())
            assert kept + apart == rows.rows_read


def _tame(folder: Path) -> Path:
    path = folder / "tame.zarr"
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


def _seal_again(path: Path, name: str, content: bytes) -> None:
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
