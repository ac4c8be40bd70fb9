"""Bookmarked windows of a run with a note each, a line of JSON per window in `bookmarks.jsonl`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.errors import RunError
from trajflow.io import write_whole

if TYPE_CHECKING:
    from trajflow.browse.view import View

FILE = "bookmarks.jsonl"
MAX_BYTES = 10_000_000
MAX_NOTE = 500


@dataclass(frozen=True)
class BookmarkKey:
    """Which window is bookmarked.

    Attributes:
        data: Name of the store.
        split: "train", "val" or "test".
        window: Number of the window in its split, from 1.
        scene: Name of the recording.
        start: First step of the window.
    """

    data: str
    split: str
    window: int
    scene: str
    start: int


def bookmark_key(data: Path, split: str, view: View) -> BookmarkKey:
    """The bookmark of a window that is shown."""
    return BookmarkKey(data.name, split, view.index + 1, view.scene, view.start)


def read_bookmarks(run: Path) -> dict[BookmarkKey, str]:
    """The note of each bookmark, in the order of the file.

    Raises:
        RunError: The file cannot be read, or a line of it is not a bookmark.
    """
    path = run / FILE
    try:
        if not path.exists():
            return {}
        if path.stat().st_size > MAX_BYTES:
            raise RunError(f"{path} is larger than {MAX_BYTES} bytes; move it elsewhere")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {path}: {error}; move it elsewhere") from None
    return dict(_parse(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line)


def bookmarked_windows(run: Path, data: Path, split: str) -> list[int]:
    """The bookmarked windows of a split of a store in their order, counted from 0.

    Raises:
        RunError: The bookmarks of the run cannot be read.
    """
    kept = (key for key in read_bookmarks(run) if (key.data, key.split) == (data.name, split))
    return sorted(key.window - 1 for key in kept)


def add_bookmark(run: Path, key: BookmarkKey, note: str) -> None:
    """Bookmark a window; a bookmark it has gets the new note.

    Raises:
        RunError: The bookmarks of the run cannot be read.
        StorageError: They cannot be written.
    """
    _write(run, read_bookmarks(run) | {key: note})


def remove_bookmark(run: Path, key: BookmarkKey) -> str | None:
    """Remove the bookmark of a window and return its note; None if it has none.

    Raises:
        RunError: The bookmarks of the run cannot be read.
        StorageError: They cannot be written.
    """
    bookmarks = read_bookmarks(run)
    note = bookmarks.pop(key, None)
    if note is not None:
        _write(run, bookmarks)
    return note


def _write(run: Path, bookmarks: dict[BookmarkKey, str]) -> None:
    lines = [json.dumps(asdict(key) | {"note": note}) + "\n" for key, note in bookmarks.items()]
    write_whole(run / FILE, "".join(lines).encode())


def _parse(line: str, place: str) -> tuple[BookmarkKey, str]:
    try:
        values: dict[str, Any] = json.loads(line)
        note = values.pop("note")
        key = BookmarkKey(**values)
        numbers = (key.window, key.start)
        words = (key.data, key.split, key.scene, note)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RunError(f"{place} is not a bookmark; correct or remove the line") from None
    if not all(type(one) is int for one in numbers) or not all(isinstance(w, str) for w in words):
        raise RunError(f"{place} is not a bookmark; correct or remove the line")
    return key, note
