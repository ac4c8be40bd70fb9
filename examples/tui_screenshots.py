"""Makes a picture of every screen of `trajflow tui`, of generated data only.

python examples/tui_screenshots.py [--out FOLDER] [--only WORD] [--all] [--svg]

Each screen comes at 160x48 and dark; with --all also at 80x24 and light. Takes some minutes. Half
blocks and braille are drawn by hand: few fonts have braille, and none aligns half blocks to the
pixel.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from textual import constants
from textual.strip import Strip

from trajflow.tui.app import TrajflowApp
from trajflow.tui.demo import unpack_demo
from trajflow.tui.theme import theme_named

constants.COLOR_SYSTEM = "truecolor"
SMALL, LARGE = (80, 24), (160, 48)
VARIANTS = [(size, theme) for size in (SMALL, LARGE) for theme in ("dark", "light")]
SCREENS = {
    "home": ["preview", "settle", "preview"],
    "forecast": ["enter", "wait:ForecastScreen", "settle"],
    "forecast-play": ["enter", "wait:ForecastScreen", "settle", "space", "later"],
    "windows": ["enter", "wait:ForecastScreen", "settle", "W", "settle", "settle", "G", "settle"],
    "edit": ["enter", "wait:ForecastScreen", "settle", "e", "shift+up", "shift+up", "settle"],
    "ood": ["o", "wait:OodScreen", "settle", "settle"],
    "compare": ["space", "space", "c", "wait:CompareScreen", "later"],
    "commands": ["colon", "later"],
    "training": ["j", "w", "wait:TrainingScreen", "later"],
    "data": ["G", "d", "wait:DatasetScreen", "settle", "G", "settle"],
    "start": ["n", "wait:NewTrainingScreen", "later", "settle"],
    "help": ["question_mark", "later"],
}
"""What is pressed and awaited on the way to each screen."""
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


async def shoot(
    runs: Path, words: list[str], variants: Sequence[tuple[tuple[int, int], str]]
) -> dict[str, tuple[bytes, str]]:
    """Press and wait; the screen as PNG and as SVG by size and theme."""
    app, pictures = TrajflowApp(runs), {}
    async with app.run_test(size=LARGE) as pilot:
        while not app.screen.library.runs:
            await pilot.pause(0.05)
        for word in ["g", *words]:
            await follow(pilot, word)
        for size, theme in variants:
            await pilot.resize_terminal(*size)
            app.theme = theme_named(theme, app.available_themes)
            await asyncio.sleep(2.5)
            pictures[f"{size[0]}-{theme}"] = picture_of(app)
    return pictures


def picture_of(app: TrajflowApp) -> tuple[bytes, str]:
    """The screen as PNG and as SVG."""
    names = ("background", "foreground")
    ground, ink = (int(app.theme_variables[name].lstrip("#")[:6], 16) for name in names)
    strips = app.screen._compositor.render_strips()
    return png_of(strips, ground, ink), app.export_screenshot(simplify=True)


async def follow(pilot, word: str) -> None:
    """One key or one wait."""
    app = pilot.app
    if word.startswith("wait:"):
        while type(app.screen).__name__ != word.removeprefix("wait:"):
            await pilot.pause(0.05)
    elif word == "settle":
        await asyncio.sleep(1.0)
        while app.engine.busy:
            await pilot.pause(0.1)
        await asyncio.sleep(0.5)
    elif word == "preview":
        await asyncio.sleep(4.0)
    elif word == "later":
        await asyncio.sleep(1.5)
    else:
        await pilot.press(word)
        await pilot.pause()


def folder_of_runs(place: Path) -> Path:
    """The demo, and a run of it that looks as if it was being trained now."""
    os.environ["HOME"] = str(place)
    runs = place / "crowd"
    shutil.copytree(unpack_demo(place / "cache"), runs)
    half = shutil.copytree(runs / "demo", runs / "transformer-run")
    lines = (half / "events.jsonl").read_text().splitlines(keepends=True)
    (half / "events.jsonl").write_text("".join(lines[: 2 * len(lines) // 3]))
    settings = (half / "config.toml").read_text()
    (half / "config.toml").write_text(settings.replace('"gru"', '"transformer"'))
    (half / "weights.safetensors").unlink()
    now = time.time()
    for path, age in [(runs / "demo", 0), (half, 1), (runs / "crowd.zarr", 4000)]:
        for name in ("events.jsonl", "run.json", "config.toml", "zarr.json"):
            if (path / name).exists():
                os.utime(path / name, (now - age, now - age))
    return runs


def main() -> None:
    """All pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tui")
    parser.add_argument("--only", default="")
    parser.add_argument("--all", action="store_true", help="also 80x24, and light")
    parser.add_argument("--svg", action="store_true")
    asked = parser.parse_args()
    variants = VARIANTS if asked.all else [(LARGE, "dark")]
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        runs = folder_of_runs(Path(empty))
        for name, words in SCREENS.items():
            if asked.only in name:
                for kind, (png, svg) in asyncio.run(shoot(runs, words, variants)).items():
                    (asked.out / f"{name}-{kind}.png").write_bytes(png)
                    if asked.svg:
                        (asked.out / f"{name}-{kind}.svg").write_text(svg)
                    print(name, kind, len(png), flush=True)


def png_of(
    strips: Sequence[Strip], background: int = 0x121212, foreground: int = 0xE0E0E0
) -> bytes:
    """A PNG of what a terminal shows.

    Args:
        strips: Its lines.
        background: Colour 0xRRGGBB behind everything that has none of its own.
        foreground: Colour of letters that have none of their own.
    """
    columns = max((strip.cell_length for strip in strips), default=1)
    size = (max(1, columns) * WIDE, max(1, len(strips)) * HIGH)
    image = Image.new("RGB", size, _triplet(background))
    pen = ImageDraw.Draw(image)
    for row, strip in enumerate(strips):
        _line(pen, strip, row * HIGH, _triplet(background), _triplet(foreground))
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _line(pen: Any, strip: Strip, top: int, ground: Any, ink: Any) -> None:
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


def _letter(pen: Any, letter: str, left: int, top: int, fore: Any, bold: bool) -> None:
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


def _box(pen: Any, ways: str, left: int, top: int, fore: Any) -> None:
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
def _font(bold: bool) -> Any:
    """The monospaced font that comes with matplotlib."""
    name = "DejaVuSansMono-Bold.ttf" if bold else "DejaVuSansMono.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, SIZE)


if __name__ == "__main__":
    main()
