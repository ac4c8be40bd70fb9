"""What a widget does that paints itself as one picture, again for every size and theme."""

from textual.strip import Strip
from textual.widget import Widget


class Painted(Widget):
    """A picture that fills its place; `_paint` leaves it in `_strips`."""

    _strips: list[Strip]

    def render_line(self, y: int) -> Strip:
        """One line of the picture."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def on_resize(self) -> None:
        """The picture fills what there is."""
        self._paint()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        if self.is_attached:
            self._paint()

    def _paint(self) -> None:
        """Leave the picture in `_strips`, and have it shown."""
        self._strips = []
        self.refresh()
