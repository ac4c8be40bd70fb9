"""How long one redraw of the map takes: 20 samples of 10 agents on 140 by 45 cells, one thread.

    python examples/tui_redraw.py

Painting (numpy) and strips are our work; the bytes are what Textual makes of the strips. Each
figure is processor time of one thread, the median of 60 redraws; the fans cover the whole map.
"""

import time

import numpy as np
from rich.color import ColorSystem
from rich.console import Console

from trajflow.browse.view import View
from trajflow.tui.render.colors import Palette
from trajflow.tui.render.scene import Highlight, Layers, ScenePainter
from trajflow.tui.render.viewport import Viewport, scene_points

AGENTS, SAMPLES, HISTORY, HORIZON = 10, 20, 8, 12
COLUMNS, ROWS, TIMES = 140, 45, 60


def crowd(samples: int) -> View:
    """Walkers in all directions, and futures that spread."""
    chance = np.random.default_rng(0)
    begin = chance.uniform([0, 0], [30, 18], (AGENTS, 1, 2))
    turn = chance.uniform(0, 2 * np.pi, (AGENTS, 1))
    pace = 0.5 * np.stack([np.cos(turn), np.sin(turn)], -1)
    steps = np.arange(1 - HISTORY, HORIZON + 1)[:, None]
    path = begin + steps * pace + 0.05 * chance.normal(size=(AGENTS, len(steps), 2)).cumsum(1)
    wander = 0.15 * chance.normal(size=(samples, AGENTS, HORIZON, 2)).cumsum(2).cumsum(2)
    drawn = path[:, HISTORY:] + wander * np.linspace(0.3, 1, HORIZON)[:, None]
    return View(
        past=path[:, :HISTORY],
        future=path[:, HISTORY:],
        target=np.ones(AGENTS, bool),
        samples=drawn,
        labels=tuple(map(str, range(AGENTS))),
        agent_types=("walker",) * AGENTS,
        scene="crowd",
        start=0,
        index=0,
        count=1,
        dt=0.4,
        unit="m",
    )


def timed(view: View, layers: Layers, highlight: Highlight) -> list[float]:
    """Milliseconds to paint, to make strips and bytes, and the kilobytes these are."""
    port = Viewport.fit(scene_points(view), 2 * COLUMNS, 4 * ROWS)
    console = Console(color_system="truecolor", force_terminal=True)
    console._color_system = ColorSystem.TRUECOLOR
    rows = []
    for _ in range(TIMES):
        marks = [time.thread_time()]
        cells = ScenePainter(view, port, Palette(), layers, highlight).paint()
        marks.append(time.thread_time())
        strips = cells.strips()
        marks.append(time.thread_time())
        size = sum(len(strip.render(console)) for strip in strips)
        marks.append(time.thread_time())
        rows.append([*np.diff(marks) * 1e3, size / 1e3])
    return np.median(rows, 0).tolist()


def main() -> None:
    """Print a row for each way to draw."""
    print(f"{'':34}{'paint':>7}{'strips':>8}{'sum':>7}{'bytes':>8}   ms, kB")
    cases = {
        "density": (SAMPLES, Layers(), Highlight()),
        "density, regions, one stands out": (SAMPLES, Layers(regions=True), Highlight(agent=3)),
        "paths": (SAMPLES, Layers(samples="paths"), Highlight()),
        "density, played": (SAMPLES, Layers(), Highlight(moment=7.5)),
        "density of 1000 samples": (1000, Layers(), Highlight()),
    }
    for name, (samples, layers, highlight) in cases.items():
        paint_ms, strips_ms, render_ms, size = timed(crowd(samples), layers, highlight)
        both = paint_ms + strips_ms
        print(f"{name:34}{paint_ms:7.1f}{strips_ms:8.1f}{both:7.1f}{render_ms:8.1f}   {size:.0f}")


if __name__ == "__main__":
    main()
