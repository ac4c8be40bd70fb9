"""Files: read within bounds, written whole or not at all, locked, and JSON from strangers."""

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
    """Make the names in a folder last: what was made in it, renamed or removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


JSON = 1 << 24
"""Most bytes of a file of settings or results."""
ENDLESS = re.compile(r"[0-9]{300}")
"""Such a whole number is larger than any other can be; whatever it is compared with would fail."""


def read_whole(path: Path, most: int) -> bytes:
    """The content of an ordinary file of at most so many bytes.

    It is held in memory, not mapped: a file that shrinks later cannot hurt.

    Raises:
        OSError: It cannot be read.
        RunError: It is larger, or a pipe or a device.
    """
    # A pipe without a writer would block here for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise RunError(f"{path} is no ordinary file; give a copy of its content")
        if state.st_size > most:
            raise RunError(f"{path} has {state.st_size:,} bytes; at most {most:,} are read here")
        return file.read(state.st_size)


def parse_json(content: bytes | str, name: object) -> Any:
    """The JSON value in some bytes.

    Args:
        content: What to read.
        name: What errors call it.

    Raises:
        RunError: It is not JSON, names a key twice, is nested too deeply or holds a number that is
            none of a computer.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        if ENDLESS.search(text):
            raise ValueError("a number is too long")
        return json.loads(text, object_pairs_hook=_once, parse_float=_finite)
    except RecursionError:
        raise RunError(f"{name} is damaged: it is nested too deeply") from None
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is larger than any number")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice")
    return values


MAX_BYTES = 32 * 2**20
MAX_VALUES = 2_000_000
MAX_DEPTH = 32


def parse_bounded_json(raw: bytes, most: int = MAX_BYTES) -> Any:
    """The value that a document of UTF-8 JSON describes.

    Memory and time are bounded before anything is built: `[[],[],...` takes forty times its size.

    Args:
        raw: The document.
        most: Bytes that it may have.

    Raises:
        ValueError: It is no such document, or larger, fuller or deeper than any of ours.
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
        for one in level:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        level = inner
    if any(isinstance(one, (dict, list)) for one in level):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


HEADER = 1 << 22
"""Most bytes of a header."""
TENSORS = 20_000
AXES = 8
NAME = re.compile(r"[\w./:-]{1,200}", re.ASCII)
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2}
BYTES |= {"I32": 4, "F32": 4, "I64": 8, "F64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SafetensorsHeader:
    """What safetensors bytes hold: tensors by name, and words about them."""

    tensors: dict[str, TensorSpec]
    words: dict[str, str]


def read_header(content: bytes, name: str) -> SafetensorsHeader:
    """The header of safetensors bytes.

    Args:
        content: The whole file.
        name: What errors call it.

    Raises:
        RunError: It lies about sizes, or is larger, deeper or stranger than ours are.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(HEADER, len(content) - 8):
        raise RunError(f"{name} is damaged: its header does not fit into it")
    header = content[8 : 8 + length]
    if header.count(b"[") + header.count(b"{") > 4 * TENSORS:  # three for each, and a few more
        raise RunError(f"{name} is damaged: its header is no list of tensors")
    said = parse_json(header, name)
    if not isinstance(said, dict) or len(said) > TENSORS:
        raise RunError(f"{name} is damaged: its header is no list of tensors")
    words = said.pop("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
        raise RunError(f"{name} is damaged: its header holds no plain words")
    spans = []
    tensors = {}
    for key, one in said.items():
        spec, span = _spec(key, one, name)
        tensors[key] = spec
        spans.append(span)
    if not _tile(spans, len(content) - 8 - length):
        raise RunError(f"{name} is damaged: its tensors do not fill it exactly")
    return SafetensorsHeader(tensors, words)


def _spec(key: str, one: Any, name: str) -> tuple[TensorSpec, tuple[int, int]]:
    try:
        if not NAME.fullmatch(key) or set(one) != {"dtype", "shape", "data_offsets"}:
            raise ValueError("its description is strange")
        (start, end), shape = one["data_offsets"], tuple(one["shape"])
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in (start, end, *shape)):
            raise ValueError("its sizes are no sizes")
        if len(shape) > AXES or end - start != BYTES[one["dtype"]] * prod(shape):
            raise ValueError("its bytes do not fit its shape")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{name} is damaged: tensor {json.dumps(key)[:80]}: {error}") from None
    return TensorSpec(one["dtype"], shape), (start, end)


def _tile(spans: list[tuple[int, int]], size: int) -> bool:
    """Whether the spans fill so many bytes without a gap or an overlap."""
    reached = 0
    for start, end in sorted(spans):
        if start != reached:
            return False
        reached = end
    return reached == size


Guard = Callable[[], None]
PARTIAL = ".partial"
ADVICE = {
    errno.ENOSPC: "free some space and do it again",
    errno.EDQUOT: "make room within the quota and do it again",
    errno.EFBIG: "raise the limit on the size of files and do it again",
    errno.EIO: "the disk may be failing; look after your copies",
}
ELSEWHERE = "choose a place that can be written to"


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Inside, what the disk refuses becomes an error about this path.

    Raises:
        StorageError: The disk is full or read-only, a permission or a quota is missing, ...
    """
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, ELSEWHERE)
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason.lower()}; what was there before is unchanged, {advice}"
        ) from None


def unguarded() -> None:
    """No guard over a folder."""


def write_whole(path: Path, content: bytes, guard: Guard = unguarded) -> None:
    """Write beside, flush to the disk, read again, rename: a reader sees the old file or the new.

    Args:
        path: The file.
        content: Its content.
        guard: Called just before the file appears; raises an error where the folder has become
            another. The rename fails if it becomes another after that.

    Raises:
        StorageError: It could not be written; the old file is as it was.
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
        raise OSError(errno.EIO, "the disk gives back other bytes than were written")


LOCK_FILE = "lock"


class Lock:
    """One holder at a time; killed in whatever way, it holds no more.

    Where the disk knows no locks, nothing is held and nothing refused.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock of a folder.

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
        """A check that the folder is still the one that was locked; it does not keep the lock.

        It raises a RunError once the folder is deleted, moved or replaced.
        """
        path, mine = self._path, self._state

        def check() -> None:
            try:
                there = os.path.samestat(path.stat(), mine)
            except (FileNotFoundError, NotADirectoryError):
                there = False
            if not there:
                raise RunError(
                    f"{path.parent} was deleted, moved or replaced while it was trained into; "
                    "nothing more was written there. Go on where it is now by --resume, or train "
                    "anew"
                )

        return check

    def release(self) -> None:
        """Let others have it."""
        self._file.close()
