"""The manifest of a folder: its files with their checksums, to find damaged and missing ones."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from trajflow.errors import RunError
from trajflow.io import (
    JSON,
    PARTIAL,
    Guard,
    parse_json,
    read_whole,
    storing,
    unguarded,
    write_whole,
)

FILE = "manifest.json"
FORMAT = 1
RECORD = "run.json"
EXPORT = "model.onnx"
"""The exported model of a run, beside its weights."""
MODEL = ("weights.safetensors", "set-*.safetensors", "ood.safetensors", "calibration.json")
"""Files of a run that forecasts follow from."""
ATTEMPTS = 5
BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """Size and SHA-256 of a file, or of the first bytes of a file that grows."""

    size: int
    sha256: str
    grows: bool = False

    @classmethod
    def of(cls, content: bytes) -> "Entry":
        """The entry for a content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    def fits(self, content: bytes) -> bool:
        """Whether a content matches this entry."""
        listed = content[: self.size] if self.grows else content
        return Entry.of(listed) == Entry(self.size, self.sha256)


@dataclass(frozen=True)
class Manifest:
    """The entries of the files of a folder.

    While a file is replaced it has two entries, old and new, so that either is valid if the writer
    is killed in between.
    """

    files: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; empty if the folder never had one.

        Raises:
            RunError: It is damaged or missing.
        """
        path = folder / FILE
        try:
            values = parse_json(read_whole(path, JSON), path)
        except (FileNotFoundError, NotADirectoryError):
            if _should_exist(folder):
                raise RunError(f"{path} is missing; restore it from a copy") from None
            return cls()
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        try:
            files = {
                str(name): tuple(Entry(int(e[0]), str(e[1]), bool(e[2])) for e in entries)
                for name, entries in values["files"].items()
            }
            intact = values["sha256"] == _digest(files) and values["format"] == FORMAT
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError):
            intact = False
        if not intact:
            raise RunError(f"{path} is damaged: it does not match its own digest")
        return cls(files)

    def having(self, name: str, *entries: Entry) -> "Manifest":
        """This manifest with other entries for a file; without entries, the file is removed."""
        others = {other: e for other, e in self.files.items() if other != name}
        return Manifest(others | ({name: entries} if entries else {}))

    def write(self, folder: Path, guard: Guard = unguarded) -> None:
        """Replace the folder's manifest."""
        values = {"format": FORMAT, "files": _plain(self.files), "sha256": _digest(self.files)}
        write_whole(folder / FILE, json.dumps(values, indent=1).encode(), guard)


def keep(path: Path, content: bytes, guard: Guard = unguarded) -> None:
    """Replace a file atomically and list it; for `guard` see `write_whole`.

    Raises:
        StorageError: It could not be written; the old file is unchanged.
        RunError: The manifest is damaged.
    """
    with _exclusive(path.parent):
        guard()
        for partial in path.parent.glob(f"*{PARTIAL}"):
            partial.unlink(missing_ok=True)
        manifest, entry = Manifest.read(path.parent), Entry.of(content)
        before = _current_entry(path, manifest)
        if before is not None:
            manifest.having(path.name, entry, before).write(path.parent, guard)
        write_whole(path, content, guard)
        if before is None:
            manifest.having(path.name, entry).write(path.parent, guard)


def seal(path: Path, guard: Guard = unguarded) -> None:
    """List the current content of a file that grows.

    Raises:
        StorageError: The manifest could not be written.
        RunError: The manifest is damaged.
    """
    with _exclusive(path.parent):
        manifest = Manifest.read(path.parent)
        manifest.having(path.name, _growing_entry(path)).write(path.parent, guard)


def forget(path: Path) -> None:
    """Remove a file from the manifest.

    Raises:
        StorageError: The manifest could not be written.
        RunError: The manifest is damaged.
    """
    with _exclusive(path.parent):
        Manifest.read(path.parent).having(path.name).write(path.parent)


def read_kept(path: Path, most: int) -> bytes:
    """Read a file and compare it with the folder's manifest, if it is listed there.

    Raises:
        FileNotFoundError: There is no such file, and none is listed.
        OSError: It cannot be read.
        RunError: It is damaged, missing, too large or not a regular file.
    """
    for attempt in range(ATTEMPTS):
        content = _content(path, most)
        listed = Manifest.read(path.parent).files.get(path.name)
        if content is None and listed is None:
            raise FileNotFoundError(path)
        if content is not None and (listed is None or any(entry.fits(content) for entry in listed)):
            return content
        if attempt + 1 < ATTEMPTS:  # a writer may just have replaced it
            time.sleep(0.01 * 2**attempt)
    what = "missing" if content is None else "damaged: it is not what was written"
    raise RunError(f"{path} is {what}; restore it from a copy, or make it again")


def _content(path: Path, most: int) -> bytes | None:
    try:
        return read_whole(path, most)
    except FileNotFoundError:
        return None


def _current_entry(path: Path, manifest: Manifest) -> Entry | None:
    """The entry that the file matches now."""
    listed = manifest.files.get(path.name, ())
    if not listed or not path.is_file():
        return None
    now = _growing_entry(path)
    return next((e for e in listed if (e.size, e.sha256) == (now.size, now.sha256)), None)


def _growing_entry(path: Path) -> Entry:
    total, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
            size += len(block)
    return Entry(size, total.hexdigest(), grows=True)


def _should_exist(folder: Path) -> bool:
    """Whether the run record says that the folder has a manifest."""
    path = folder / RECORD
    try:
        record = parse_json(read_whole(path, JSON), path)
    except OSError:
        return False
    return isinstance(record, dict) and "format" in record


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the listed files of the folder."""
    with storing(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _plain(files: Mapping[str, tuple[Entry, ...]]) -> dict[str, list[list[object]]]:
    return {name: [[e.size, e.sha256, e.grows] for e in files[name]] for name in sorted(files)}


def _digest(files: Mapping[str, tuple[Entry, ...]]) -> str:
    return hashlib.sha256(json.dumps(_plain(files)).encode()).hexdigest()


def model_digests(run: Path) -> dict[str, str]:
    """SHA-256 of the weights of a run folder and of what was fitted to them, by file name."""
    files = sorted(file for pattern in MODEL for file in run.glob(pattern))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# Most bytes of a line.
LINE = 1 << 20


def add_line(path: Path, line: bytes, guard: Guard = unguarded) -> None:
    """Append a line; if it cannot be written completely, nothing is appended.

    Raises:
        StorageError: It could not be written.
    """
    with storing(path), _appending(path, guard) as file:
        before, unwritten = file.tell(), line + b"\n"
        try:
            while unwritten:
                unwritten = unwritten[file.write(unwritten) :]
        except OSError:
            file.truncate(before)
            raise


@contextmanager
def _appending(path: Path, guard: Guard) -> Iterator[IO[bytes]]:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        guard()  # checks the folder that is open now, so no other can replace it before the write
        handle = os.open(path.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666, dir_fd=folder)
        with open(handle, "ab", buffering=0) as file:
            yield file
    finally:
        os.close(folder)


def seal_lines(path: Path, guard: Guard = unguarded) -> None:
    """List the lines of a file in the manifest, after removing an incomplete last line."""
    if not path.is_file():
        return
    with storing(path), path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LINE))
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    seal(path, guard)


def read_lines(path: Path) -> Iterator[bytes]:
    """The complete lines of a file; an incomplete last line is skipped.

    Raises:
        RunError: Listed lines are damaged or missing, or a line is too long.
    """
    if not check_lines(path):
        return
    with path.open("rb") as file:
        while (line := file.readline(LINE)).endswith(b"\n"):
            yield line
        if len(line) == LINE:
            raise RunError(f"{path} is damaged: a line is too long")


def check_lines(path: Path) -> bool:
    """Whether the file exists; listed lines are compared with their checksum.

    Raises:
        RunError: They are damaged or missing.
    """
    listed = Manifest.read(path.parent).files.get(path.name, ())
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            intact = all(e.size <= size and e.fits(file.read(e.size)) for e in listed)
    except FileNotFoundError:
        if listed:
            raise RunError(f"{path} is missing; restore it from a copy") from None
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if not intact:
        raise RunError(f"{path} is damaged: it is not what was written; restore it from a copy")
    return True
