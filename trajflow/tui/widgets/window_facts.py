"""The facts of a window beside its map, in a column, or below it, in a few lines."""

from __future__ import annotations

from textual.widgets import Static

from trajflow.browsing.view import Asked, View
from trajflow.tui.editing import Edit
from trajflow.tui.widgets.facts_text import Facts
from trajflow.tui.widgets.looks import look_of


class WindowFacts(Static):
    """Numbers of the window that is shown, in a column or, below a map, in a few lines."""

    DEFAULT_CSS = "WindowFacts { padding: 0 1; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._told: tuple[View, View | None, int | None, Asked, Edit | None] | None = None
        self.note = ""

    def tell(
        self,
        view: View,
        second: View | None,
        agent: int | None,
        how: Asked,
        edit: Edit | None = None,
    ) -> None:
        """Show what is known.

        Args:
            view: The window.
            second: As forecast by someone else.
            agent: Who stands out.
            how: How it was forecast.
            edit: The past that is being changed, if one is.
        """
        self._told = (view, second, agent, how, edit)
        self.refill()

    def on_mount(self) -> None:
        """Facts change their colours with the theme."""
        self.watch(self.app, "theme", self.refill, init=False)

    def on_resize(self) -> None:
        """More room, more lines."""
        self.refill()

    def refill(self) -> None:
        """Write everything anew."""
        if self._told is not None:
            facts = Facts(look_of(self), *self._told, width=max(20, self.content_size.width))
            self.update(facts.flat() if self.size.height < 12 else facts.tall(self.size.height))
