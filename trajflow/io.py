"""Reads and writes files safely: bounded reads, atomic writes, locks, and JSON from others."""

import errno
import fcntl
import json
import math
import os
import re
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, NoReturn

from trajflow.errors import RunError, StorageError
from trajflow.remote import refuse_url


def flush_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, after a file was created, renamed or removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Most bytes of a JSON file of ours.
JSON = 1 << 24
# An integer of 310 digits exceeds every float, so that comparing it would raise an error.
HUGE_INTEGER = re.compile(r"[0-9]{300}")


def read_whole(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes into memory.

    Raises:
        OSError: It cannot be read.
        RunError: It is larger, or not a regular file.
    """
    # A pipe without a writer would block here for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise RunError(f"{path} is not a regular file; copy its content into one")
        if state.st_size > most:
            raise RunError(f"{path} has {state.st_size:,} bytes; at most {most:,} are read here")
        return file.read(state.st_size)


def parse_json(content: bytes | str, name: object) -> Any:
    """Parse JSON strictly.

    Raises:
        RunError: It is not JSON, has a key twice, is nested too deeply, or has a number that is not
            finite.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        if HUGE_INTEGER.search(text):
            raise ValueError("a number is too long")
        return json.loads(text, object_pairs_hook=_unique_keys, parse_float=_finite)
    except RecursionError:
        raise RunError(f"{name} is damaged: it is nested too deeply") from None
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a float")
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is repeated")
    return values


MAX_BYTES = 32 * 2**20
MAX_VALUES = 2_000_000
MAX_DEPTH = 32


def parse_bounded_json(raw: bytes, most: int = MAX_BYTES) -> Any:
    """Parse a JSON document in UTF-8 from an untrusted source.

    Size and number of values are checked first: `[[],[],...` takes forty times its size in memory.

    Raises:
        ValueError: It is not JSON, or it is too large or nested too deeply.
    """
    if len(raw) > most:
        raise ValueError(f"{len(raw)} bytes are more than {most}")
    values = sum(map(raw.count, (b",", b"[", b"{")))
    if values > MAX_VALUES:
        raise ValueError(f"{values} values are more than {MAX_VALUES}")
    try:
        result = json.loads(raw.decode(), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(result)
    return result


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    if any(isinstance(item, (dict, list)) for item in level):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Most bytes of a header.
HEADER = 1 << 22
TENSORS = 20_000
AXES = 8
NAME = re.compile(r"[\w./:-]{1,200}", re.ASCII)
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2}
BYTES |= {"I32": 4, "F32": 4, "I64": 8, "F64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of a tensor in a header."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SafetensorsHeader:
    """Header of a safetensors file: tensors by name, and metadata."""

    tensors: dict[str, TensorSpec]
    words: dict[str, str]


def read_header(content: bytes, name: str) -> SafetensorsHeader:
    """Parse and check the header of a safetensors file.

    Raises:
        RunError: It is inconsistent with the file, or exceeds the bounds of our files.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(HEADER, len(content) - 8):
        raise RunError(f"{name} is damaged: its header is longer than the file")
    header = content[8 : 8 + length]
    if header.count(b"[") + header.count(b"{") > 4 * TENSORS:  # each tensor has three
        raise RunError(f"{name} is damaged: its header is no list of tensors")
    values = parse_json(header, name)
    if not isinstance(values, dict) or len(values) > TENSORS:
        raise RunError(f"{name} is damaged: its header is no list of tensors")
    words = values.pop("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
        raise RunError(f"{name} is damaged: its metadata is not text")
    spans = []
    tensors = {}
    for key, item in values.items():
        spec, span = _spec(key, item, name)
        tensors[key] = spec
        spans.append(span)
    if not _tile(spans, len(content) - 8 - length):
        raise RunError(f"{name} is damaged: its tensors do not fill it exactly")
    return SafetensorsHeader(tensors, words)


def _spec(key: str, item: Any, name: str) -> tuple[TensorSpec, tuple[int, int]]:
    try:
        if not NAME.fullmatch(key) or set(item) != {"dtype", "shape", "data_offsets"}:
            raise ValueError("its description is invalid")
        (start, end), shape = item["data_offsets"], tuple(item["shape"])
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in (start, end, *shape)):
            raise ValueError("its sizes are invalid")
        if len(shape) > AXES or end - start != BYTES[item["dtype"]] * prod(shape):
            raise ValueError("its bytes do not fit its shape")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{name} is damaged: tensor {json.dumps(key)[:80]}: {error}") from None
    return TensorSpec(item["dtype"], shape), (start, end)


def _tile(spans: list[tuple[int, int]], size: int) -> bool:
    """Whether spans cover `size` bytes without gaps and overlaps."""
    position = 0
    for start, end in sorted(spans):
        if start != position:
            return False
        position = end
    return position == size


Guard = Callable[[], None]
PARTIAL = ".partial"
ADVICE = {
    errno.ENOSPC: "free some space and try again",
    errno.EDQUOT: "free some of the quota and try again",
    errno.EFBIG: "raise the limit on the size of files and try again",
    errno.EIO: "the disk may be failing; check your backups",
}
DEFAULT_ADVICE = "choose a folder that you can write to"


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError about `path`.

    Raises:
        StorageError: The disk is full or read-only, or a permission or a quota is missing.
    """
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, DEFAULT_ADVICE)
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason.lower()}; what was there before is unchanged, {advice}"
        ) from None


def unguarded() -> None:
    """The guard of a folder that is not locked."""


def write_whole(path: Path, content: bytes, guard: Guard = unguarded) -> None:
    """Write a file atomically: beside the old one, flushed, read back, then renamed.

    Args:
        path: The file.
        content: Its content.
        guard: Called just before the rename; raises an error if the folder was replaced.

    Raises:
        StorageError: It could not be written; the old file is unchanged.
    """
    refuse_url(path)
    beside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    with storing(path):
        try:
            _write(beside, content)
            _check(beside, content)
            guard()
            beside.replace(path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        flush_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _check(path: Path, content: bytes) -> None:
    if path.read_bytes() != content:
        raise OSError(errno.EIO, "the disk returned other bytes than were written")


LOCK_FILE = "lock"


class Lock:
    """An exclusive lock on a folder, released when its process ends, even if it is killed.

    On a disk without locks it has no effect.
    """

    def __init__(self, folder: Path) -> None:
        """Acquire the lock of a folder.

        Raises:
            RunError: Another process, or another training in this one, holds it.
            StorageError: The folder cannot be written to.
        """
        path = self._path = folder / LOCK_FILE
        with storing(path):
            self._file: IO[str] = path.open("a+")
            self._state = os.fstat(self._file.fileno())
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(200).strip() or "another process"
            self._file.close()
            raise RunError(
                f"{folder} is being trained by {holder}; wait for it, or stop it first"
            ) from None
        except OSError:
            return
        with storing(path):
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            self._file.flush()

    def guard(self) -> Guard:
        """A function that checks that the folder is still the locked one.

        It raises a RunError if the folder was deleted, moved or replaced, and does not keep the
        lock.
        """
        path, locked = self._path, self._state

        def check() -> None:
            try:
                same = os.path.samestat(path.stat(), locked)
            except (FileNotFoundError, NotADirectoryError):
                same = False
            if not same:
                raise RunError(
                    f"{path.parent} was deleted, moved or replaced during the training; nothing "
                    "more was written there. Resume in its new place with --resume, or train again"
                )

        return check

    def release(self) -> None:
        """Release the lock."""
        self._file.close()
