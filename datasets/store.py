"""Read a store of tracks; every byte is checked before it is taken for data.

zarr returns fill values for a deleted chunk, takes changed metadata as it comes and allocates what
a chunk claims. So a store brings the sha256 of each of its files, in the attributes of the subgroup
`seal`, where every zarr reader passes over it, and chunks are unpacked here from the very bytes
that were compared with it, into just the room a chunk takes. Whoever makes a store can write those
checksums, so they prove that nothing was damaged, not that the content makes sense.
"""

import difflib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajflow.datasets.schema import (
    AXES,
    CHUNK,
    FORMAT,
    GROUP,
    Header,
    Spec,
    Tracks,
    find_fault,
    row_columns,
    trajectory_columns,
    whole_steps,
)
from trajflow.errors import DataError
from trajflow.io import MAX_BYTES, parse_bounded_json
from trajflow.remote import exists, is_remote, located, read_many, read_remote, sizes_in
from trajflow.text import Described
from trajflow.types import Floats, Ints

CHECKSUMS = "seal/zarr.json"
MAX_NAME = 1000
MAX_PACKED = 2 * CHUNK * 8
"""Bytes of a chunk's file; what cannot be packed takes a little more than it does unpacked."""
MAX_LABEL = 2**20
"""Bytes of a label."""
SMALL = 256 * 2**20
"""Bytes that any store may ask for."""
MAX_RATIO = 500
"""Tracks are packed about 3 to 1; more than this many to one is a bomb."""
INDEX_COLUMNS = 5
_STORED = {"float64": "<f8", "int64": "<i8", "int8": "|i1"}

Hint = Callable[[str], str]


def open_store(path: str | PathLike[str]) -> "Store":
    """Open a store of tracks for reading.

    Raises:
        DataError: There is no store, it has another format, or it is damaged.
    """
    folder = located(path)
    if not exists(folder):
        left = folder.with_name(f"{folder.name}.partial") / "replaced"
        hint = f"; an interrupted overwrite left the old one at {left}" if left.is_dir() else ""
        raise DataError(f"no store at {folder}{hint}; import data to make one")
    read_attributes(folder)
    checksums = Checksums.read_from(folder)
    attrs = parse_bounded_json(checksums.read(GROUP))["attributes"]
    return Store(folder, checksums, parse_header(folder, attrs))


@dataclass(frozen=True)
class Checksums:
    """What each file of a store must be.

    Attributes:
        folder: The store.
        files: sha256 of each file by its path inside the store.
        fetched: Contents of files of a remote store that are read next.
    """

    folder: Path
    files: Mapping[str, str]
    fetched: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read_from(cls, folder: Path) -> "Checksums":
        """Read the checksums of a store.

        Raises:
            DataError: They are missing or damaged, or name files that are not inside.
        """
        raw = read_file(folder / CHECKSUMS)
        try:
            files = parse_bounded_json(raw)["attributes"]["files"]
            intact = raw == encode_checksums(files) and all(map(_is_inside, files))
        except (ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            raise _damaged(folder / CHECKSUMS, "is not what was written")
        return cls(folder, files)

    def sizes(self) -> dict[str, int]:
        """Bytes of each file that is there."""
        if is_remote(self.folder):
            return {n: size for n, size in sizes_in(self.folder).items() if n in self.files}
        result = {}
        for name in self.files:
            try:
                result[name] = os.lstat(f"{self.folder}/{name}").st_size
            except OSError:
                continue
        return result

    def read(self, name: str, hint: str = "", most: int = MAX_BYTES) -> bytes:
        """The bytes of one file, proven to be those that were written.

        Args:
            name: Path inside the store.
            hint: What the file holds, for the message.
            most: Bytes that it may have.

        Raises:
            DataError: The file is missing, changed or has no checksum, or the store was replaced.
        """
        try:
            raw = self.fetched.pop(name, None) or read_file(self.folder / name, hint, most)
        except DataError as error:
            raise self._replaced() or error from None
        if hashlib.sha256(raw).hexdigest() != self.files.get(name):
            raise self.damaged(name, f"{hint}is not what was written")
        return raw

    def fetch(self, names: Iterable[str]) -> None:
        """Get files of a remote store at the same time; `read` then has them."""
        if is_remote(self.folder):
            self.fetched.update(read_many(self.folder, list(dict.fromkeys(names))))

    def damaged(self, name: str, what: str) -> DataError:
        """The error for a file that cannot be trusted, or for a store that is another one now."""
        return self._replaced() or _damaged(self.folder / name, what)

    def _replaced(self) -> DataError | None:
        """The error for a store that was removed or replaced since its checksums were read."""
        try:
            gone = not exists(self.folder) or Checksums.read_from(self.folder) != self
        except DataError:
            gone = False
        if not gone:
            return None
        return DataError(f"{self.folder} was replaced while reading it; open it again")


def encode_checksums(files: Mapping[str, str]) -> bytes:
    """The file of checksums, which has one of itself."""
    ordered = dict(sorted(files.items()))
    digest = hashlib.sha256(json.dumps(ordered).encode()).hexdigest()
    attributes = {"sha256": digest, "files": ordered}
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node, indent=1).encode()


def read_file(file: Path, hint: str = "", most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of sane size; anything else could block or exhaust memory.

    Raises:
        DataError: It is none, or cannot be read.
    """
    try:
        if is_remote(file):
            raw = read_remote(file, most + 1)
            if len(raw) > most:
                raise _damaged(file, f"{hint}is no plain file of a sane size")
            return raw
        result = file.lstat()
        if not stat.S_ISREG(result.st_mode) or result.st_size > most:
            raise _damaged(file, f"{hint}is no plain file of a sane size")
        with file.open("rb") as stream:
            return stream.read(most)
    except (FileNotFoundError, NotADirectoryError):
        raise _damaged(file, f"{hint}is missing") from None
    except PermissionError:
        raise DataError(f"{file} {hint}may not be read; ask for the right to read it") from None
    except OSError as error:
        raise _damaged(file, f"{hint}cannot be read ({error.strerror})") from error


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of a folder that claims to be a store this version can read.

    Raises:
        DataError: It is no store, or one of another format.
    """
    attrs = _group_attributes(folder)
    if "trajflow_format" not in attrs:
        raise DataError(f"{folder / GROUP} is not of a store of trajflow; import the data")
    version = str(attrs["trajflow_format"])
    if version.split(".")[0] != FORMAT.split(".")[0]:
        raise DataError(
            f"{folder / GROUP} has format {version}, this trajflow reads {FORMAT}; "
            "update trajflow or import the data again"
        )
    return attrs


def parse_header(folder: Path, attrs: dict[str, Any]) -> Header:
    """The attributes as they stand, whether or not they were changed.

    Raises:
        DataError: They make no sense.
    """
    try:
        return Header.model_validate(attrs)
    except (ValidationError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "too deep"
        raise _damaged(folder / GROUP, f"has impossible attributes ({why})") from error


def is_store(path: Path) -> bool:
    """Whether a folder says that it is a store of trajflow, damaged or not."""
    try:
        return "trajflow_format" in _group_attributes(path)
    except DataError:
        return False


def _group_attributes(folder: Path) -> dict[str, Any]:
    file = folder / GROUP
    if not file.is_file():
        raise DataError(f"{folder} is not a store of trajflow: it has no {GROUP}; import the data")
    try:
        attrs = parse_bounded_json(read_file(file))["attributes"]
    except (ValueError, KeyError, TypeError):
        attrs = None
    if not isinstance(attrs, dict):
        raise _damaged(file, "does not describe a group")
    return attrs


def _damaged(file: Path, what: str) -> DataError:
    return DataError(
        f"damaged store: {file} {what}; restore it from a copy, import the data again or see what "
        "`trajflow data check --repair` can save"
    )


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return len(name) <= MAX_NAME and "\0" not in name and not {"", ".", ".."} & set(parts)


def check_array(checksums: Checksums, name: str, spec: Spec, rows: int) -> None:
    """See that an array is of the declared type and length and that all its chunks were written.

    This costs no memory, whatever length a file claims.

    Raises:
        DataError: With the file that is wrong.
    """
    file = f"{name}/{GROUP}"
    raw = checksums.read(file)
    try:
        node = parse_bounded_json(raw)
        keys = node["chunk_key_encoding"]
        result = {
            "shape": node["shape"],
            "chunks": node["chunk_grid"]["configuration"]["chunk_shape"],
            "dtype": node["data_type"],
            "codecs": [codec["name"] for codec in node["codecs"]],
            "order": node["codecs"][0].get("configuration", {}).get("endian", "little"),
            "keys": (keys["name"], keys.get("configuration", {}).get("separator", "/")),
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise checksums.damaged(file, f"describes no array ({error})") from error
    meant = {
        "shape": [rows],
        "chunks": [CHUNK],
        "dtype": np.dtype(spec.dtype).name,
        "codecs": ["bytes", "zstd"],
        "order": "little",
        "keys": ("default", "/"),
    }
    if result != meant:
        raise checksums.damaged(file, f"describes another array: {result} instead of {meant}")
    chunks = sum(other.startswith(f"{name}/c/") for other in checksums.files)
    if chunks != -(-rows // CHUNK):
        raise checksums.damaged(file, f"claims {rows} rows, but {chunks} chunks were written")


def read_runs(
    checksums: Checksums,
    name: str,
    spec: Spec,
    runs: Sequence[tuple[int, int]],
    hint: Hint = lambda _: "",
) -> NDArray[Any]:
    """Some rows of an array that was checked, one run of rows after the other, [N].

    Args:
        checksums: Of the store.
        name: The array.
        spec: What it was checked to be.
        runs: First row and row after the last of each run, in rising order.
        hint: Says what a file holds, for the message.

    Raises:
        DataError: A chunk is missing, changed or holds no chunk.
    """
    rows = np.empty(sum(last - first for first, last in runs), spec.dtype)
    chunks = (range(first // CHUNK, -(-last // CHUNK)) for first, last in runs)
    checksums.fetch(f"{name}/c/{index}" for part in chunks for index in part)
    filled, held = 0, -1
    for first, last in runs:
        for index in range(first // CHUNK, -(-last // CHUNK)):
            if index != held:
                file = f"{name}/c/{index}"
                raw = checksums.read(file, hint(file), MAX_PACKED)
                try:
                    chunk, held = unpack(raw, spec), index
                except ValueError as error:
                    raise checksums.damaged(file, f"{hint(file)}{error}") from error
            part = chunk[max(first - index * CHUNK, 0) : last - index * CHUNK]
            rows[filled : filled + len(part)] = part
            filled += len(part)
    return rows


def unpack(raw: bytes, spec: Spec) -> NDArray[Any]:
    """The values of a chunk, [N], from its file's bytes; takes no more room than they.

    Raises:
        ValueError: The bytes do not unpack to a chunk, or not to the one that was packed.
    """
    # Imported here: the terminal UI looks into stores without reading their chunks.
    import pyarrow as pa

    try:
        values = pa.Codec("zstd").decompress(raw, CHUNK * np.dtype(spec.dtype).itemsize)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"does not unpack to a chunk ({error})") from None
    return np.frombuffer(values, spec.dtype)


def check_extent(folder: Path, header: Header, packed: int) -> None:
    """Refuse a store that would unpack to absurdly more than it is, or than memory holds.

    Args:
        folder: The store, for the message.
        header: Claims so many rows and trajectories.
        packed: Bytes of the files that are there.

    Raises:
        DataError: It would.
    """
    index = 8 * INDEX_COLUMNS * max(header.trajectories, CHUNK)
    claimed = index + (8 * header.dims + 9) * header.rows
    if claimed > SMALL and claimed > MAX_RATIO * packed:
        what = f"claims {claimed:.3g} bytes of numbers in {packed:.3g} bytes of files"
        raise _damaged(folder / GROUP, what)
    free = free_memory()
    if free is not None and 2 * index > free:
        raise DataError(
            f"{folder} has {header.trajectories} trajectories, whose index needs "
            f"{2 * index / 2**30:.1f} GiB of memory; {free / 2**30:.1f} are free: "
            "divide it or use a larger machine"
        )


def free_memory() -> int | None:
    """Bytes of memory that can be had, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    result = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(result[0]) if result else None


@dataclass(frozen=True)
class Index:
    """The trajectories of a store, K of them in stored order.

    Attributes:
        rowsize: Rows of each trajectory, [K].
        ends: Row after the last of each trajectory, [K].
        scene: Code of each trajectory's scene, never decreasing, [K].
        kind: Code of each trajectory's type, [K].
        identity: The source's integer id of each trajectory, [K]; not used where text is stored.
        text: UTF-8 labels, joined, or None where labels are integers.
        text_ends: Byte after each label, [K].
    """

    rowsize: Ints
    ends: Ints
    scene: Ints
    kind: Ints
    identity: Ints
    text: bytes | None
    text_ends: Ints

    @classmethod
    def read_from(cls, checksums: Checksums, header: Header) -> "Index":
        """Read and check the index of a store.

        Raises:
            DataError: A file is damaged or its content contradicts the attributes.
        """
        specs = trajectory_columns("label_size/zarr.json" in checksums.files)
        text_spec = specs.pop("label_bytes", None)
        result: dict[str, NDArray[Any]] = {}
        for name, spec in specs.items():
            check_array(checksums, name, spec, header.trajectories)
            result[name] = read_runs(checksums, name, spec, [(0, header.trajectories)])
        _check_index(checksums, header, result)
        text, text_ends = None, np.zeros(0, np.int64)
        if text_spec is not None:
            text_ends = np.cumsum(result["label_size"])
            size = int(text_ends[-1])
            check_array(checksums, "label_bytes", text_spec, size)
            text = read_runs(checksums, "label_bytes", text_spec, [(0, size)]).tobytes()
            _check_text(checksums, text, text_ends)
        return cls(
            rowsize=result["rowsize"],
            ends=result["episode_ends"],
            scene=result["scene"],
            kind=result["agent_type"],
            identity=result["trajectory_id"],
            text=text,
            text_ends=text_ends,
        )

    def labels(self, agents: Ints) -> list[str]:
        """The source's own ids of agents, given by number."""
        if self.text is None:
            return [str(label) for label in self.identity[agents]]
        ends = self.text_ends[agents]
        starts = np.where(agents > 0, self.text_ends[agents - 1], 0)
        return [self.text[a:b].decode() for a, b in zip(starts, ends, strict=True)]

    def runs(self, chosen: Ints) -> list[tuple[int, int]]:
        """Blocks of rows [first, last) that hold chosen trajectories, given in stored order."""
        groups = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
        return [
            (int(self.ends[group[0]] - self.rowsize[group[0]]), int(self.ends[group[-1]]))
            for group in groups
            if len(group)
        ]


def _check_text(checksums: Checksums, text: bytes, ends: Ints) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise checksums.damaged("label_bytes", "is no text") from None
    inside = ends[ends < len(text)]
    if (np.frombuffer(text, np.uint8)[inside] >> 6 == 0b10).any():
        raise checksums.damaged("label_size", "cuts a letter in two")


def _check_index(checksums: Checksums, header: Header, index: dict[str, NDArray[Any]]) -> None:
    sizes, scene, kind = index["rowsize"], index["scene"], index["agent_type"]
    label = index.get("label_size", np.ones(1))
    claims = {
        "rowsize": sizes.min() > 0 and sizes.max() <= header.rows == sizes.sum(),
        "episode_ends": np.array_equal(index["episode_ends"], np.cumsum(sizes)),
        "scene": np.array_equal(np.unique(scene), np.arange(len(header.scenes)))
        and bool((np.diff(scene) >= 0).all()),
        "agent_type": kind.min() >= 0 and kind.max() < len(header.types),
        "label_size": label.min() >= 0 and label.max() <= MAX_LABEL and label.sum() > 0,
    }
    for name, holds in claims.items():
        if not holds:
            raise checksums.damaged(name, "contradicts the store's attributes")


class Store(Described):
    """A store of tracks, opened for reading; rows are loaded only when they are asked for.

    Attributes:
        path: The folder.
        header: Its attributes, checked.
        dims: Coordinates of a position, D.
        dt: Seconds per step.
        unit: Unit of the coordinates.
        scenes: Names of the recordings, in stored order.
        splits: Names of the splits that rows belong to, by code.
        types: Names of the agents' types, by code.
        folds: Test scenes of each leave-one-out fold; None where each scene is its own fold.
        rows, trajectories: Number of observations and of (scene, agent) pairs.
        tables: Names of the tables kept beside the tracks; one without rows is not kept.
    """

    def __init__(self, path: Path, checksums: Checksums, header: Header) -> None:
        self.path, self.header = path, header
        self.dims, self.dt, self.unit = int(header.dims), header.dt, header.unit
        self.scenes, self.splits, self.types = header.scenes, header.splits, header.types
        self.folds, self.rows, self.trajectories = header.folds, header.rows, header.trajectories
        self.tables = table_names(checksums)
        self._checksums, self._columns = checksums, row_columns(self.dims, self.unit)
        result = checksums.sizes()
        check_extent(path, header, sum(result.values()))
        self._index = Index.read_from(checksums, header)
        for name in checksums.files:
            if name not in result:
                raise checksums.damaged(name, f"{self._about(name)}is missing")
        for name, spec in self._columns.items():
            check_array(checksums, name, spec, self.rows)

    def _facts(self) -> dict[str, object]:
        return {
            "path": self.path,
            "rows": self.rows,
            "tracks": self.trajectories,
            "recordings": len(self.scenes),
            "dims": self.dims,
            "unit": self.unit,
            "dt": f"{self.dt:g} s",
        }

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """All attributes as stored."""
        return read_attributes(self.path)

    @cached_property
    def scene_rows(self) -> dict[str, int]:
        """Number of observations of each scene."""
        counts = np.bincount(self._index.scene, self._index.rowsize)
        return {name: int(count) for name, count in zip(self.scenes, counts, strict=True)}

    @cached_property
    def agent_splits(self) -> NDArray[np.bool_]:
        """Which splits hold rows of each agent, by number and code, [K, S]; reads one column."""
        runs = [(0, self.rows)]
        agent = np.repeat(np.arange(self.trajectories), self._index.rowsize)
        held = np.zeros((self.trajectories, len(self.splits)), bool)
        split = self._column("split", runs)
        if split.min() < 0 or split.max() >= len(self.splits):
            raise self._checksums.damaged("split", "contradicts the store's attributes")
        held[agent, split] = True
        return held

    def fingerprint(self) -> str:
        """A sha256 that two stores share if and only if they hold the same tracks."""
        return self.header.fingerprint()

    def tracks(self, scenes: Sequence[str] | None = None) -> Tracks:
        """Load the trajectories of some scenes, in stored order.

        Args:
            scenes: Names of scenes; None for all. Codes keep their meaning in the whole store.

        Raises:
            DataError: A scene is unknown, a file is damaged or times do not fit dt.
        """
        index = self._index
        chosen = np.flatnonzero(np.isin(index.scene, self._codes(scenes)))
        runs, track = index.runs(chosen), np.repeat(np.arange(len(chosen)), index.rowsize[chosen])
        time, split = self._column("time", runs), self._column("split", runs)
        self._check_times(time, chosen[track])
        position = np.stack([self._column(axis, runs) for axis in AXES[: self.dims]], 1)
        sane = np.isfinite(position).all(1) & (split >= 0) & (split < len(self.splits))
        if not sane.all():
            self._refuse(int(chosen[track[sane.argmin()]]), "a position or a split is impossible")
        return Tracks(
            position=position,
            step=whole_steps(time, self.dt),
            split=split,
            track=track,
            scene=index.scene[chosen],
            agent=chosen,
            kind=index.kind[chosen],
            scenes=list(self.scenes),
            splits=list(self.splits),
            types=list(self.types),
            dt=self.dt,
        )

    def parts(self, max_rows: int) -> Iterator[list[str]]:
        """Neighboring scenes of at most max_rows observations together, or one larger scene."""
        part: list[str] = []
        held = 0
        for scene, rows in self.scene_rows.items():
            if part and held + rows > max_rows:
                yield part
                part, held = [], 0
            part.append(scene)
            held += rows
        yield part

    def labels(self, agents: Sequence[int] | Ints) -> list[str]:
        """The source's own ids of agents, given by their numbers in the store, [N]."""
        return self._index.labels(np.asarray(agents, np.int64))

    def scenes_of(self, agents: Sequence[int] | Ints) -> list[str]:
        """Names of the recordings of agents, given by their numbers in the store, [N]."""
        return [self.scenes[code] for code in self._index.scene[np.asarray(agents, np.int64)]]

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """The columns of a table kept beside the tracks, [N] each.

        Raises:
            DataError: There is no such table or it is damaged.
        """
        if name not in self.tables:
            raise DataError(f"no table {name!r} in {self.path}; it has {self.tables}")
        return read_table(self._checksums, name)

    def summary(self) -> dict[str, Any]:
        """What is in the store, in numbers; reads no rows."""
        return self.header.summary()

    def verify(self) -> None:
        """Read every file of the store and compare it with its checksum.

        Raises:
            DataError: With the first file that is damaged.
        """
        self._checksums.fetch(self._checksums.files)
        for name in self._checksums.files:
            self._checksums.read(name, self._about(name))

    def _codes(self, scenes: Sequence[str] | None) -> list[int]:
        if scenes is None:
            return list(range(len(self.scenes)))
        known = {name: code for code, name in enumerate(self.scenes)}
        for name in scenes:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1) or self.scenes[:1]
                raise DataError(f"no scene {name!r} in {self.path}; did you mean {near[0]!r}?")
        return [known[name] for name in scenes]

    def _column(self, name: str, runs: list[tuple[int, int]]) -> NDArray[Any]:
        return read_runs(self._checksums, name, self._columns[name], runs, self._about)

    def _about(self, file: str) -> str:
        """Which scenes have rows in a chunk, for messages."""
        name, _, index = file.partition("/c/")
        if name not in self._columns or not (index.isascii() and index.isdigit()):
            return ""
        first = min(int(index[:12]) * CHUNK, self.rows - 1)
        ends = self._index.ends
        tracks = np.searchsorted(ends, (first, min(first + CHUNK, self.rows) - 1), side="right")
        low, high = (self.scenes[code] for code in self._index.scene[tracks])
        return f"(rows of scene {low!r}) " if low == high else f"(scenes {low!r} to {high!r}) "

    def _check_times(self, time: Floats, agent: Ints) -> None:
        begins = np.diff(agent, prepend=-1) != 0
        fault = find_fault(time, begins, self.dt)
        if fault is not None:
            self._refuse(int(agent[fault.row]), fault.what)

    def _refuse(self, number: int, what: str) -> NoReturn:
        scene = self.scenes[self._index.scene[number]]
        raise DataError(
            f"{self.path}, scene {scene!r}, agent {self.labels([number])[0]!r}: {what}; "
            "import the data again with another dt or resampled"
        )


def table_names(checksums: Checksums) -> list[str]:
    """Names of the tables of a store."""
    depth = (file.split("/") for file in checksums.files)
    return sorted({parts[0] for parts in depth if len(parts) == 3 and parts[2] == GROUP})


def read_table(checksums: Checksums, table: str) -> dict[str, NDArray[Any]]:
    """The columns of a table, [N] each, text as strings.

    Raises:
        DataError: A file is damaged.
    """
    file = f"{table}/{GROUP}"
    rows = _describe(checksums, file)["attributes"].get("rows")
    if type(rows) is not int or rows < 0:
        raise checksums.damaged(file, "does not describe a table")
    result = {}
    for path in checksums.files:
        parts = path.split("/")
        if parts[0] == table and len(parts) == 3 and parts[2] == GROUP:
            result[parts[1]] = _read_column(checksums, f"{table}/{parts[1]}", rows)
    return result


def _read_column(checksums: Checksums, name: str, rows: int) -> NDArray[Any]:
    file = f"{name}/{GROUP}"
    node = _describe(checksums, file)
    spec = Spec(_STORED.get(str(node.get("data_type")), "none"), "row")
    names = node["attributes"].get("names")
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if spec.dtype == "none" or not (names is None or texts):
        raise checksums.damaged(file, "does not describe a column")
    check_array(checksums, name, spec, rows)
    values = read_runs(checksums, name, spec, [(0, rows)])
    if names is None:
        return values
    if spec.dtype != "<i8" or not rows or values.min() < 0 or values.max() >= len(names):
        raise checksums.damaged(file, "does not have a name for every code")
    labels: NDArray[Any] = np.array(names, object)[values]
    return labels


def _describe(checksums: Checksums, file: str) -> dict[str, Any]:
    raw = checksums.read(file)
    try:
        node: dict[str, Any] = parse_bounded_json(raw)
        if isinstance(node["attributes"], dict):
            return node
    except (ValueError, KeyError, TypeError):
        pass
    raise checksums.damaged(file, "describes nothing")
