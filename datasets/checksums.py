"""Reads the files of a store, and compares each with its checksum first.

zarr alone returns fill values for a deleted chunk, accepts changed metadata and allocates whatever
size a chunk claims. So a store contains the sha256 of each of its files, in the attributes of the
subgroup `seal`, which other zarr readers ignore. Chunks are unpacked from the very bytes that were
compared, into a buffer of bounded size. Anyone can write such checksums: they detect damage, not
forgery.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import CHUNK, GROUP, Header, Spec, trajectory_columns
from trajflow.errors import DataError
from trajflow.io import MAX_BYTES, flush_folder, parse_bounded_json
from trajflow.remote import exists, is_remote, read_many, read_remote, sizes_in
from trajflow.types import Ints

CHECKSUMS = "seal/zarr.json"
MAX_NAME = 1000
MAX_LABEL = 2**20  # Bytes of a label
MAX_PACKED = 2 * CHUNK * 8  # Bytes of the file of a chunk; incompressible data grows a little
_STORED = {"float64": "<f8", "int64": "<i8", "int8": "|i1"}

Hint = Callable[[str], str]


@dataclass(frozen=True)
class Checksums:
    """The checksums of a store."""

    folder: Path  # the store
    files: Mapping[str, str]  # sha256 of each file by its path inside the store
    # Contents of files of a remote store that `fetch` has read ahead
    fetched: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read_from(cls, folder: Path) -> "Checksums":
        """Read the checksums of a store; they must be complete and name files inside it."""
        raw = read_file(folder / CHECKSUMS)
        try:
            files = parse_bounded_json(raw)["attributes"]["files"]
            intact = raw == encode_checksums(files) and all(map(_is_inside, files))
        except (ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            raise damaged(folder / CHECKSUMS, "is not what was written")
        return cls(folder, files)

    def sizes(self) -> dict[str, int]:
        """Bytes of each file that exists."""
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
        """The bytes of one file, at most `most`, compared with its checksum.

        `hint` describes the content of the file in errors.
        """
        try:
            raw = self.fetched.pop(name, None) or read_file(self.folder / name, hint, most)
        except DataError as error:
            raise self._replaced() or error from None
        if hashlib.sha256(raw).hexdigest() != self.files.get(name):
            raise self.damaged(name, f"{hint}is not what was written")
        return raw

    def fetch(self, names: Iterable[str]) -> None:
        """Read files of a remote store in parallel, for `read`."""
        if is_remote(self.folder):
            self.fetched.update(read_many(self.folder, list(dict.fromkeys(names))))

    def damaged(self, name: str, what: str) -> DataError:
        """The error for a damaged file, or for a store that was replaced meanwhile."""
        return self._replaced() or damaged(self.folder / name, what)

    def _replaced(self) -> DataError | None:
        try:
            replaced = not exists(self.folder) or Checksums.read_from(self.folder) != self
        except DataError:
            replaced = False
        if not replaced:
            return None
        return DataError(f"{self.folder} was replaced while reading it; open it again")


def encode_checksums(files: Mapping[str, str]) -> bytes:
    """The content of the file of checksums, with a checksum of its own."""
    ordered = dict(sorted(files.items()))
    digest = hashlib.sha256(json.dumps(ordered).encode()).hexdigest()
    attributes = {"sha256": digest, "files": ordered}
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node, indent=1).encode()


def write_checksums(folder: Path) -> None:
    """Flush every file and folder of a finished store to the disk and write their checksums.

    Raises:
        DataError: A metadata file is too large to be read again.
    """
    files: dict[str, str] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent, name)
            files[file.relative_to(folder).as_posix()] = _hash_and_flush(file)
    target = folder / CHECKSUMS
    target.parent.mkdir()
    target.write_bytes(encode_checksums(files))
    _hash_and_flush(target)
    for name in (*files, CHECKSUMS):
        if name.endswith(GROUP) and (size := (folder / name).stat().st_size) > MAX_BYTES:
            raise DataError(
                f"the names and counts in {name} take {size} bytes, more than {MAX_BYTES}; divide "
                "the data into several stores"
            )
    for parent, _, _ in os.walk(folder):
        flush_folder(Path(parent))


def _hash_and_flush(file: Path) -> str:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        os.fsync(handle.fileno())
    return digest


def read_file(file: Path, hint: str = "", most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of bounded size; others could block or exhaust memory."""
    try:
        if is_remote(file):
            raw = read_remote(file, most + 1)
            if len(raw) > most:
                raise damaged(file, f"{hint}is not a regular file of a plausible size")
            return raw
        result = file.lstat()
        if not stat.S_ISREG(result.st_mode) or result.st_size > most:
            raise damaged(file, f"{hint}is not a regular file of a plausible size")
        with file.open("rb") as stream:
            return stream.read(most)
    except (FileNotFoundError, NotADirectoryError):
        raise damaged(file, f"{hint}is missing") from None
    except PermissionError:
        raise DataError(f"{file} {hint}may not be read; ask for permission to read it") from None
    except OSError as error:
        raise damaged(file, f"{hint}cannot be read ({error.strerror})") from error


def damaged(file: Path, what: str) -> DataError:
    """The error for a damaged file of a store."""
    return DataError(
        f"damaged store: {file} {what}; restore it from a copy, import the data again, or save "
        "what is left with `trajflow data check --repair`"
    )


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return len(name) <= MAX_NAME and "\0" not in name and not {"", ".", ".."} & set(parts)


def check_array(checksums: Checksums, name: str, spec: Spec, rows: int) -> None:
    """Check the type and length of an array and that all its chunks were written."""
    file = f"{name}/{GROUP}"
    node = _describe(checksums, file)
    try:
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
    expected = {
        "shape": [rows],
        "chunks": [CHUNK],
        "dtype": np.dtype(spec.dtype).name,
        "codecs": ["bytes", "zstd"],
        "order": "little",
        "keys": ("default", "/"),
    }
    if result != expected:
        raise checksums.damaged(file, f"describes another array: {result} instead of {expected}")
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
    """Read runs of rows [first, last), increasing, of an array that `check_array` accepted, [N].

    `hint` describes the content of a file in errors.
    """
    rows = np.empty(sum(last - first for first, last in runs), spec.dtype)
    chunks = (range(first // CHUNK, -(-last // CHUNK)) for first, last in runs)
    checksums.fetch(f"{name}/c/{index}" for part in chunks for index in part)
    filled, loaded = 0, -1
    for first, last in runs:
        for index in range(first // CHUNK, -(-last // CHUNK)):
            if index != loaded:
                file = f"{name}/c/{index}"
                raw = checksums.read(file, hint(file), MAX_PACKED)
                try:
                    chunk, loaded = unpack(raw, spec), index
                except ValueError as error:
                    raise checksums.damaged(file, f"{hint(file)}{error}") from error
            part = chunk[max(first - index * CHUNK, 0) : last - index * CHUNK]
            rows[filled : filled + len(part)] = part
            filled += len(part)
    return rows


def unpack(raw: bytes, spec: Spec) -> NDArray[Any]:
    """Decompress the values of a chunk, [N]; memory is bounded by the size of a chunk.

    Raises:
        ValueError: The bytes do not decompress to a chunk, or their checksum differs.
    """
    # Imported here: the terminal UI opens stores without reading their chunks.
    import pyarrow as pa

    try:
        values = pa.Codec("zstd").decompress(raw, CHUNK * np.dtype(spec.dtype).itemsize)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"does not unpack to a chunk ({error})") from None
    return np.frombuffer(values, spec.dtype)


def table_names(checksums: Checksums) -> list[str]:
    """Names of the tables of a store."""
    depth = (file.split("/") for file in checksums.files)
    return sorted({parts[0] for parts in depth if len(parts) == 3 and parts[2] == GROUP})


def read_table(checksums: Checksums, table: str) -> dict[str, NDArray[Any]]:
    """The columns of a table, [N] each, text as strings."""
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
    return np.asarray(np.array(names, object)[values])


def _describe(checksums: Checksums, file: str) -> dict[str, Any]:
    raw = checksums.read(file)
    try:
        node: dict[str, Any] = parse_bounded_json(raw)
        if isinstance(node["attributes"], dict):
            return node
    except (ValueError, KeyError, TypeError):
        pass
    raise checksums.damaged(file, "describes nothing")


@dataclass(frozen=True)
class Index:
    """The trajectories of a store, K of them in stored order."""

    rowsize: Ints  # rows of each trajectory, [K]
    ends: Ints  # row after the last of each trajectory, [K]
    scene: Ints  # code of each trajectory's scene, never decreasing, [K]
    kind: Ints  # code of each trajectory's type, [K]
    identity: Ints  # the source's integer id of each trajectory, [K]; not used where text is stored
    text: bytes | None  # UTF-8 labels, joined, or None where labels are integers
    text_ends: Ints  # byte after each label, [K]

    @classmethod
    def read_from(cls, checksums: Checksums, header: Header) -> "Index":
        """Read and check the index of a store."""
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
        """The labels of agents, given by their numbers [N]."""
        if self.text is None:
            return [str(label) for label in self.identity[agents]]
        ends = self.text_ends[agents]
        starts = np.where(agents > 0, self.text_ends[agents - 1], 0)
        return [self.text[a:b].decode() for a, b in zip(starts, ends, strict=True)]

    def runs(self, chosen: Ints) -> list[tuple[int, int]]:
        """Runs of rows [first, last) of the chosen trajectories, [N], given in stored order."""
        groups = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
        return [
            (int(self.ends[group[0]] - self.rowsize[group[0]]), int(self.ends[group[-1]]))
            for group in groups
            if len(group)
        ]

    def agents(self, runs: Iterable[tuple[int, int]]) -> Ints:
        """Number of the agent of each row of runs [first, last), [N]."""
        parts = [np.zeros(0, np.int64)]
        for first, last in runs:
            low, high = np.searchsorted(self.ends, (first, last - 1), side="right")
            agents = np.arange(low, high + 1)
            begins = np.maximum(self.ends[agents] - self.rowsize[agents], first)
            parts.append(np.repeat(agents, np.minimum(self.ends[agents], last) - begins))
        return np.concatenate(parts)


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
