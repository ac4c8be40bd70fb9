"""The colours of a map inside the theme that the application wears now."""

from rich.color import ColorSystem
from textual.color import Color
from textual.widget import Widget

from trajflow.tui.widgets.look import Depth, Look

DEPTHS: dict[int | None, Depth] = {
    ColorSystem.TRUECOLOR.value: "full",
    ColorSystem.EIGHT_BIT.value: "256",
    ColorSystem.STANDARD.value: "16",
    ColorSystem.WINDOWS.value: "16",
}


def look_of(widget: Widget) -> Look:
    """The look of a widget, as far as its terminal has colours."""
    app = widget.app
    system = app.console._color_system
    depth = DEPTHS.get(system.value if system else None, "full")
    dark, clear = app.current_theme.dark, app.native_ansi_color
    if clear:
        return Look.of(0x000000 if dark else 0xFFFFFF, 0xFFFFFF if dark else 0, dark, "16", True)
    ground, ink = (_plain(app.theme_variables[name]) for name in ("background", "foreground"))
    return Look.of(ground, ink, dark, depth, False)


def _plain(text: str) -> int:
    colour = Color.parse(text)
    return colour.r << 16 | colour.g << 8 | colour.b
