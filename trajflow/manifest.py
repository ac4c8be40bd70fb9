"""The list of a folder's files with their checksums, which shows what was damaged or is missing."""

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
LOOKS = 5
BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """Size and SHA-256 of a file, or of the beginning of one that grows."""

    size: int
    sha256: str
    grows: bool = False

    @classmethod
    def of(cls, content: bytes) -> "Entry":
        """The entry of a file with this content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    def fits(self, content: bytes) -> bool:
        """Whether this is the content that was listed."""
        known = content[: self.size] if self.grows else content
        return Entry.of(known) == Entry(self.size, self.sha256)


@dataclass(frozen=True)
class Manifest:
    """What is known of the files of a folder.

    A file that is being replaced is listed as it will be and as it was, so that a writer killed
    between the list and the file leaves both valid.
    """

    files: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a folder; an empty one where there never was any.

        Raises:
            RunError: It is damaged, or is gone.
        """
        path = folder / FILE
        try:
            said = parse_json(read_whole(path, JSON), path)
        except (FileNotFoundError, NotADirectoryError):
            if _had_one(folder):
                raise RunError(f"{path} is missing; restore it from a copy") from None
            return cls()
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        try:
            files = {
                str(name): tuple(Entry(int(e[0]), str(e[1]), bool(e[2])) for e in entries)
                for name, entries in said["files"].items()
            }
            whole = said["sha256"] == _digest(files) and said["format"] == FORMAT
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            raise RunError(f"{path} is damaged: it does not match its own digest")
        return cls(files)

    def having(self, name: str, *entries: Entry) -> "Manifest":
        """This manifest with other entries for a file; with none the file is not listed."""
        others = {known: e for known, e in self.files.items() if known != name}
        return Manifest(others | ({name: entries} if entries else {}))

    def write(self, folder: Path, guard: Guard = unguarded) -> None:
        """Replace the folder's manifest."""
        said = {"format": FORMAT, "files": _plain(self.files), "sha256": _digest(self.files)}
        write_whole(folder / FILE, json.dumps(said, indent=1).encode(), guard)


def keep(path: Path, content: bytes, guard: Guard = unguarded) -> None:
    """Replace a file whole and list it; for `guard` see `write_whole`.

    Raises:
        StorageError: It could not be written; the old file is as it was.
        RunError: The manifest is damaged.
    """
    with _alone(path.parent):
        guard()
        for left in path.parent.glob(f"*{PARTIAL}"):
            left.unlink(missing_ok=True)
        manifest, entry = Manifest.read(path.parent), Entry.of(content)
        before = _before(path, manifest)
        if before is not None:
            manifest.having(path.name, entry, before).write(path.parent, guard)
        write_whole(path, content, guard)
        if before is None:
            manifest.having(path.name, entry).write(path.parent, guard)


def seal(path: Path, guard: Guard = unguarded) -> None:
    """List a file that grows, as far as it has grown.

    Raises:
        StorageError: The manifest could not be written.
        RunError: The manifest is damaged.
    """
    with _alone(path.parent):
        known = Manifest.read(path.parent)
        known.having(path.name, _grown(path)).write(path.parent, guard)


def forget(path: Path) -> None:
    """Take a file off the list, as if it had never been.

    Raises:
        StorageError: The manifest could not be written.
        RunError: The manifest is damaged.
    """
    with _alone(path.parent):
        Manifest.read(path.parent).having(path.name).write(path.parent)


def read_kept(path: Path, most: int) -> bytes:
    """The content of a file, as it was when it was listed in the folder's manifest, if it is.

    Raises:
        FileNotFoundError: There is none, and none was listed.
        OSError: It cannot be read.
        RunError: It is damaged, missing, too large or not an ordinary file.
    """
    for look in range(LOOKS):
        content = _content(path, most)
        listed = Manifest.read(path.parent).files.get(path.name)
        if content is None and listed is None:
            raise FileNotFoundError(path)
        if content is not None and (listed is None or any(entry.fits(content) for entry in listed)):
            return content
        if look + 1 < LOOKS:  # a writer may just have replaced it
            time.sleep(0.01 * 2**look)
    what = "missing" if content is None else "damaged: it is not what was written"
    raise RunError(f"{path} is {what}; restore it from a copy, or make it again")


def _content(path: Path, most: int) -> bytes | None:
    try:
        return read_whole(path, most)
    except FileNotFoundError:
        return None


def _before(path: Path, manifest: Manifest) -> Entry | None:
    """The entry of the listed file that is there now."""
    listed = manifest.files.get(path.name, ())
    if not listed or not path.is_file():
        return None
    there = _grown(path)
    return next((e for e in listed if (e.size, e.sha256) == (there.size, there.sha256)), None)


def _grown(path: Path) -> Entry:
    total, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
            size += len(block)
    return Entry(size, total.hexdigest(), grows=True)


def _had_one(folder: Path) -> bool:
    """Whether the record of a folder says that there is a manifest."""
    path = folder / RECORD
    try:
        record = parse_json(read_whole(path, JSON), path)
    except OSError:
        return False
    return isinstance(record, dict) and "format" in record


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Inside, no other process changes the files of the folder this way."""
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


LINE = 1 << 20
"""Most bytes of a line."""


def add_line(path: Path, line: bytes, guard: Guard = unguarded) -> None:
    """Add a line, whole or not at all.

    Args:
        path: The file.
        line: The line.
        guard: Raises an error where the folder has become another.

    Raises:
        StorageError: It could not be written.
    """
    with storing(path), _appending(path, guard) as file:
        before, rest = file.tell(), line + b"\n"
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise


@contextmanager
def _appending(path: Path, guard: Guard) -> Iterator[IO[bytes]]:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        guard()  # of the folder that is open by now: no other can take its place after this
        handle = os.open(path.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666, dir_fd=folder)
        with open(handle, "ab", buffering=0) as file:
            yield file
    finally:
        os.close(folder)


def seal_lines(path: Path, guard: Guard = unguarded) -> None:
    """List the lines so far in the manifest; half a line that a killed writer left is cut off."""
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
    """The lines of the file; one that is still being written is left for later.

    Raises:
        RunError: Lines that were listed are damaged or missing, or one is too long.
    """
    if not check_lines(path):
        return
    with path.open("rb") as file:
        while (line := file.readline(LINE)).endswith(b"\n"):
            yield line
        if len(line) == LINE:
            raise RunError(f"{path} is damaged: a line is too long")


def check_lines(path: Path) -> bool:
    """Whether there is a file; the lines that were listed are as they were.

    Raises:
        RunError: They are not.
    """
    listed = Manifest.read(path.parent).files.get(path.name, ())
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            whole = all(e.size <= size and e.fits(file.read(e.size)) for e in listed)
    except FileNotFoundError:
        if listed:
            raise RunError(f"{path} is missing; restore it from a copy") from None
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if not whole:
        raise RunError(f"{path} is damaged: it is not what was written; restore it from a copy")
    return True
