"""Files of what is on the screen: a picture as PNG, a forecast as CSV.

In the picture half blocks and braille are drawn by hand: few fonts have braille, and none aligns
half blocks to the pixel.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.color import Color
from rich.style import Style
from textual.screen import Screen
from textual.strip import Strip

from trajflow.browse.view import SamplingOptions, View
from trajflow.errors import DataError
from trajflow.text import no_formula
from trajflow.tui.render.colors import palette_of

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from trajflow.tui.app import TrajflowApp

WIDE, HIGH = 10, 20
"""Pixels of a cell; a braille dot's place is 5 by 5 of them."""
SIZE = 16
EIGHTHS = {chr(0x2581 + k): (0, HIGH - HIGH * (k + 1) // 8, WIDE, HIGH) for k in range(8)}
LEFTS = {chr(0x2588 + k): (0, 0, WIDE * (8 - k) // 8, HIGH) for k in range(8)}
HALVES = {"▀": (0, 0, WIDE, HIGH // 2), "▐": (WIDE // 2, 0, WIDE, HIGH)}
BLOCKS = {**EIGHTHS, **LEFTS, **HALVES}
LINES = {
    "─": "lr", "━": "lr", "│": "ud", "┃": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu",
    "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "lrud", "╭": "rd", "╮": "ld",
    "╰": "ru", "╯": "lu", "╵": "u", "╷": "d", "╴": "l", "╶": "r",
}  # fmt: skip
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of each bit of a braille letter."""
MAX_FILES = 10_000


def file_stem(view: View) -> str:
    """Name of files about a window: letters, digits, - and _ only."""
    scene = re.sub(r"[^A-Za-z0-9_-]+", "-", view.scene)[:40].strip("-") or "scene"
    return f"trajflow-{scene}-{view.index + 1}"


def write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a new file, with a number if there is one of this name.

    Raises:
        DataError: The folder cannot be written to.
    """
    for number in range(1, MAX_FILES):
        path = folder / (stem + (f"-{number}" if number > 1 else "") + suffix)
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        except OSError as error:
            raise DataError(
                f"cannot write {path}: {error.strerror}; change to another folder"
            ) from None
        return path
    raise DataError(f"{folder} has {MAX_FILES} files named {stem}; remove some")


def save_files(app: TrajflowApp, view: View, contents: Mapping[str, Callable[[], bytes]]) -> None:
    """Write new files about a window into the current folder, in a thread, and say which.

    Args:
        app: Shows what was written, or why it could not be.
        view: The window.
        contents: What makes the content of the file of each suffix.
    """

    def save() -> None:
        folder, stem = Path.cwd(), file_stem(view)
        try:
            paths = [write_new(folder, stem, name, content()) for name, content in contents.items()]
        except DataError as error:
            app.call_from_thread(app.show_error, error)
        else:
            names = " and ".join(path.name for path in paths)
            app.call_from_thread(app.show_message, f"saved {names}")

    app.run_worker(save, thread=True)


def plot_command(
    run: Path, data: Path, split: str, view: View, options: SamplingOptions, level: float | None
) -> str:
    """The command that draws the same forecast of a window, with its samples and its seed.

    Args:
        run: Run folder.
        data: Store.
        split: "train", "val" or "test".
        view: The window.
        options: How it is forecast; a selection of samples is left out.
        level: Level of the prediction regions; None: none are drawn.
    """
    words = ["trajflow", "plot", str(run), str(data), "--split", split]
    words += ["--window", str(view.index + 1), "--samples", str(options.samples)]
    words += ["--steps", str(options.steps), "--seed", str(options.seed)]
    if level is not None:
        words += ["--coverage", f"{level:g}"]
    return shlex.join([*words, "-o", f"{file_stem(view)}.png"])


def picture_files(screen: Screen[Any]) -> dict[str, Callable[[], bytes]]:
    """What makes an SVG and a PNG of a screen as it is now, by suffix."""
    svg, palette = screen.app.export_screenshot().encode(), palette_of(screen)
    strips = [Strip(list(strip)) for strip in screen._compositor.render_strips()]
    colors = (palette.background, palette.foreground)
    return {".svg": lambda: svg, ".png": lambda: png_of(strips, *colors)}


def forecast_csv(view: View) -> bytes:
    """A row for each sample, agent and step: sample, agent, step, seconds, x, y[, z][, weight].

    An id that a spreadsheet would take for a formula has a ' before it.
    """
    text = StringIO(newline="")
    table = csv.writer(text)
    axes = "xyz"[: view.samples.shape[-1]]
    weight = [] if view.weights is None else ["weight"]
    table.writerow(["sample", "agent", "step", "seconds", *axes, *weight])
    table.writerows(_csv_rows(view))
    return text.getvalue().encode()


def _csv_rows(view: View) -> Iterator[list[object]]:
    for agent in np.flatnonzero(view.target):
        label = view.labels[agent]
        label = no_formula(label)
        for sample, path in enumerate(view.samples[:, agent]):
            weight = [] if view.weights is None else [float(view.weights[sample, agent])]
            for step, position in enumerate(path, 1):
                seconds = round(step * view.dt, 9)
                yield [sample, label, step, seconds, *map(float, position), *weight]


def png_of(
    strips: Sequence[Strip], background: int = 0x121212, foreground: int = 0xE0E0E0
) -> bytes:
    """A PNG of what a terminal shows.

    Args:
        strips: Its lines.
        background: Colour 0xRRGGBB behind everything that has none of its own.
        foreground: Colour of letters that have none of their own.
    """
    from PIL import Image, ImageDraw

    columns = max((strip.cell_length for strip in strips), default=1)
    size = (max(1, columns) * WIDE, max(1, len(strips)) * HIGH)
    image = Image.new("RGB", size, _triplet(background))
    pen = ImageDraw.Draw(image)
    for row, strip in enumerate(strips):
        _line(pen, strip, row * HIGH, _triplet(background), _triplet(foreground))
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _line(pen: ImageDraw, strip: Strip, top: int, ground: Any, ink: Any) -> None:
    from rich.cells import cell_len

    left = 0
    for text, style, _ in strip:
        fore, back, bold = _colours(style or Style.null(), ground, ink)
        wide = cell_len(text) * WIDE
        if wide and back != ground:
            pen.rectangle((left, top, left + wide - 1, top + HIGH - 1), back)
        for letter in text:
            _letter(pen, letter, left, top, fore, bold)
            left += cell_len(letter) * WIDE
        if style is not None and style.underline:
            below = top + HIGH - 2
            pen.line((left - wide, below, left - 1, below), fore)


def _letter(pen: ImageDraw, letter: str, left: int, top: int, fore: Any, bold: bool) -> None:
    code = ord(letter)
    if 0x2800 <= code <= 0x28FF:
        for bit, (column, row) in enumerate(DOTS):
            if code >> bit & 1:
                x, y = left + 5 * column, top + 5 * row
                pen.rectangle((x + 1, y + 1, x + 3, y + 3), fore)
    elif letter in BLOCKS:
        x0, y0, x1, y1 = BLOCKS[letter]
        pen.rectangle((left + x0, top + y0, left + x1 - 1, top + y1 - 1), fore)
    elif letter in LINES:
        _box(pen, LINES[letter], left, top, fore)
    elif not letter.isspace():
        pen.text((left, top), letter, fore, _font(bold))


def _box(pen: ImageDraw, ways: str, left: int, top: int, fore: Any) -> None:
    x, y = left + WIDE // 2, top + HIGH // 2
    ends = {"l": (left, y), "r": (left + WIDE - 1, y), "u": (x, top), "d": (x, top + HIGH - 1)}
    for way in ways:
        pen.line((x, y, *ends[way]), fore)


def _colours(style: Style, ground: Any, ink: Any) -> tuple[Any, Any, bool]:
    fore, back = _rgb(style.color, ink), _rgb(style.bgcolor, ground)
    if style.reverse:
        fore, back = back, fore
    if style.dim:
        fore = tuple((a + b) // 2 for a, b in zip(fore, back, strict=True))
    return fore, back, bool(style.bold)


def _rgb(color: Color | None, default: Any) -> Any:
    return default if color is None or color.is_default else tuple(color.get_truecolor())


def _triplet(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255


@lru_cache(2)
def _font(bold: bool) -> FreeTypeFont:
    """The monospaced font that comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSansMono-Bold.ttf" if bold else "DejaVuSansMono.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, SIZE)
