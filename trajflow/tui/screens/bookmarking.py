"""Bookmarks on the forecast screen: windows with a note, a line of JSON each in the run folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError
from textual.widgets import Input

from trajflow.browse.view import View
from trajflow.errors import RunError
from trajflow.io import write_whole
from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.screens.dialogs import PromptDialog
from trajflow.tui.widgets.text import TitleBar

FILE = "bookmarks.jsonl"
MAX_BYTES = 10_000_000
MAX_NOTE = 500


class Bookmark(BaseModel, frozen=True, extra="forbid", strict=True):
    """A window with a note; the store is named, and windows are counted from 1 in their split."""

    data: str
    split: str
    window: int
    scene: str
    start: int
    note: str = ""


class BookmarkController:
    """Sets, removes, shows and visits the bookmarks of a run in one split of a store."""

    def __init__(self, title: TitleBar, run: Path, data: Path, split: str) -> None:
        self._title, self._file, self._data, self._split = title, run / FILE, data.name, split

    @property
    def _app(self) -> TrajflowApp:
        app = self._title.app
        assert isinstance(app, TrajflowApp)
        return app

    def toggle(self, view: View) -> None:
        with self._app.errors_shown():
            place, notes = self._place(view), self._read()
            if place not in notes:
                field = Input(max_length=MAX_NOTE, placeholder="note, may be empty")
                prompt = PromptDialog("bookmark: a note, Enter saves", field)
                self._app.push_screen(prompt, lambda note: self._add(view, note))
            else:
                note = notes.pop(place)
                self._write(notes)
                self._app.show_message(f"bookmark removed: {safe(note, 60) or 'no note'}")
                self.show(view)

    def show(self, view: View) -> None:
        with self._app.errors_shown():
            note = self._read().get(self._place(view))
            if note is not None:
                self._title.state = f"bookmark: {note}" if note else "bookmark"
            elif self._title.state.startswith("bookmark"):
                self._title.state = ""

    def after(self, index: int, way: int) -> int | None:
        """The next (way 1) or previous (-1) bookmarked window, from the last to the first."""
        with self._app.errors_shown():
            here = (one for one in self._read() if one.data == self._data)
            windows = sorted(one.window - 1 for one in here if one.split == self._split)[::way]
            if windows:
                return next((n for n in windows if way * (n - index) > 0), windows[0])
            self._app.show_message("no bookmarks of this split; B sets one")
        return None

    def _place(self, view: View) -> Bookmark:
        """The bookmark of a window, without its note."""
        where = {"data": self._data, "split": self._split, "scene": view.scene}
        return Bookmark(**where, window=view.index + 1, start=view.start)

    def _add(self, view: View, note: str | None) -> None:
        if note is not None:
            with self._app.errors_shown():
                self._write(self._read() | {self._place(view): note})
            self.show(view)

    def _read(self) -> dict[Bookmark, str]:
        """The notes of the run by bookmark without note, in the order of the file.

        Raises:
            RunError: The file cannot be read, or a line of it is not a bookmark.
        """
        path, number = self._file, 0
        try:
            if not path.exists():
                return {}
            if path.stat().st_size > MAX_BYTES:
                raise RunError(f"{path} is larger than {MAX_BYTES} bytes; move it elsewhere")
            notes = {}
            for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):  # noqa: B007
                if line:
                    bookmark = Bookmark.model_validate_json(line)
                    notes[bookmark.model_copy(update={"note": ""})] = bookmark.note
            return notes
        except ValidationError:
            where = f"{path}, line {number}"
            raise RunError(f"{where} is not a bookmark; correct or remove the line") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {path}: {error}; move it elsewhere") from None

    def _write(self, notes: dict[Bookmark, str]) -> None:
        bookmarks = (place.model_copy(update={"note": note}) for place, note in notes.items())
        lines = (one.model_dump_json() + "\n" for one in bookmarks)
        write_whole(self._file, "".join(lines).encode())
