"""Makes a picture of every screen of `trajflow tui`, of generated data only.

python examples/tui_screenshots.py [--out FOLDER] [--only WORD] [--svg]

Each screen comes at 80x24 and 160x48, dark and light. Takes some minutes.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from io import BytesIO
from pathlib import Path

from PIL import Image
from rich.color import ColorSystem

from trajflow.tui.app import TrajflowApp
from trajflow.tui.demo import unpack_demo
from trajflow.tui.export import png_of
from trajflow.tui.theme import theme_named

SIZES = ((80, 24), (160, 48))
THEMES = ("dark", "light")
SCREENS = {
    "home": ["preview", "settle", "preview"],
    "forecast": ["enter", "wait:ForecastScreen", "settle"],
    "forecast-play": ["enter", "wait:ForecastScreen", "settle", "space", "later"],
    "windows": ["enter", "wait:ForecastScreen", "settle", "W", "settle", "settle", "G", "settle"],
    "edit": ["enter", "wait:ForecastScreen", "settle", "e", "shift+up", "shift+up", "settle"],
    "ood": ["o", "wait:OodScreen", "settle", "settle"],
    "ood-why": ["o", "wait:OodScreen", "settle", "j", "j", "j", "settle", "y", "settle"],
    "compare": ["space", "space", "c", "wait:CompareScreen", "later"],
    "commands": ["colon", "later"],
    "training": ["j", "w", "wait:TrainingScreen", "later"],
    "data": ["G", "d", "wait:DatasetScreen", "settle", "G", "settle"],
    "examine": ["G", "d", "wait:DatasetScreen", "settle", "G", "settle", "e", "settle", "settle"],
    "start": ["n", "wait:NewTrainingScreen", "later"],
    "help": ["question_mark", "later"],
}
"""What is pressed and awaited on the way to each screen."""


async def shoot(runs: Path, words: list[str]) -> dict[str, tuple[bytes, str]]:
    """Press and wait; the screen as PNG and as SVG by size and theme."""
    app, pictures = TrajflowApp(runs), {}
    app.console._color_system = ColorSystem.TRUECOLOR
    async with app.run_test(size=SIZES[0]) as pilot:
        while not app.screen.library.runs:
            await pilot.pause(0.05)
        for word in ["g", *words]:
            await follow(pilot, word)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            for theme in THEMES:
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
    demo = unpack_demo(place / "cache")
    os.environ["HOME"] = str(place)
    runs = place / "crowd"
    shutil.copytree(demo.folder, runs)
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
    parser.add_argument("--svg", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        runs = folder_of_runs(Path(empty))
        for name, words in SCREENS.items():
            if asked.only in name:
                for kind, (png, svg) in asyncio.run(shoot(runs, words)).items():
                    with Image.open(BytesIO(png)) as picture:
                        few = picture.quantize(
                            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
                        )
                    few.save(asked.out / f"{name}-{kind}.png", optimize=True)
                    if asked.svg:
                        (asked.out / f"{name}-{kind}.svg").write_text(svg)
                    print(name, kind, len(png), flush=True)


if __name__ == "__main__":
    main()
