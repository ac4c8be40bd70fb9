"""Bookmarks on the forecast screen: what its keys do with the bookmarks of a run."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from trajflow.browse.view import View
from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.bookmarks import (
    MAX_NOTE,
    add_bookmark,
    bookmark_key,
    bookmarked_windows,
    read_bookmarks,
    remove_bookmark,
)
from trajflow.tui.screens.dialogs import PromptDialog
from trajflow.tui.widgets.text import TitleBar


class BookmarkController:
    """Sets, removes and shows the bookmarks of a run, and says so on the screen.

    Args:
        title: Shows the note of the window's bookmark.
        run: Run folder.
        data: Store.
        split: "train", "val" or "test".
    """

    def __init__(self, title: TitleBar, run: Path, data: Path, split: str) -> None:
        self._title, self._run, self._data, self._split = title, run, data, split

    @property
    def _app(self) -> TrajflowApp:
        app = self._title.app
        assert isinstance(app, TrajflowApp)
        return app

    def toggle(self, view: View) -> None:
        """Bookmark the window with a note, or remove its bookmark."""
        with self._app.errors_shown():
            removed = remove_bookmark(self._run, bookmark_key(self._data, self._split, view))
            if removed is None:
                field = Input(max_length=MAX_NOTE, placeholder="note, may be empty")
                prompt = PromptDialog("bookmark: a note, Enter saves", field)
                self._app.push_screen(prompt, lambda note: self._add(view, note))
            else:
                self._app.show_message(f"bookmark removed: {safe(removed, 60) or 'no note'}")
                self.show(view)

    def show(self, view: View) -> None:
        """Write the note of the window's bookmark into the title."""
        with self._app.errors_shown():
            key = bookmark_key(self._data, self._split, view)
            note = read_bookmarks(self._run).get(key)
            if note is not None:
                self._title.state = f"bookmark: {note}" if note else "bookmark"
            elif self._title.state.startswith("bookmark"):
                self._title.state = ""

    def after(self, index: int, way: int) -> int | None:
        """The next (way 1) or previous (-1) bookmarked window, from the last to the first."""
        with self._app.errors_shown():
            marked = bookmarked_windows(self._run, self._data, self._split)[::way]
            if marked:
                return next((n for n in marked if way * (n - index) > 0), marked[0])
            self._app.show_message("no bookmarks of this split; B sets one")
        return None

    def _add(self, view: View, note: str | None) -> None:
        if note is not None:
            with self._app.errors_shown():
                add_bookmark(self._run, bookmark_key(self._data, self._split, view), note)
            self.show(view)
