"""How quick the terminal UI is with 100 runs, 50 000 windows or 500 agents in a table.

    python examples/tui_speed.py [--windows 50000] [--runs 100] [--agents 500]

Prints a table: seconds to the first useful picture, processor time of the application for each key
(median and 95th percentile), and its memory. Below it: processor time of a start, beside that of a
Textual application with one label. The terminal is 160x48; the application draws into memory.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZE = (160, 48)
STARTS = 5
LIMIT_MS, LIMIT_STARTS = 60.0, 2.0
"""What the median key and a start may take."""
DT = 0.4


def folder_of_runs(place: Path, demo: Path, count: int) -> Path:
    """Copies of the demo's record, each with another course, and no weights."""
    folder = place / "runs"
    events = [json.loads(line) for line in (demo / "events.jsonl").read_text().splitlines()]
    for number in range(count):
        run = folder / f"run-{number:03d}"
        run.mkdir(parents=True)
        for name in ("config.toml", "run.json"):
            shutil.copy(demo / name, run / name)
        for event in events:
            if "metrics" in event:
                event["metrics"]["energy_score"] *= 1 + 0.001 * number
        (run / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    return folder


async def pressed(pilot, keys: list[str]) -> list[float]:
    """Milliseconds of processor time that the application takes for each key."""
    used = []
    for key in keys:
        began = time.process_time()
        await pilot.press(key)
        await pilot.pause()
        used.append(1e3 * (time.process_time() - began))
    return used


async def until(holds) -> None:
    """Wait for something on the screen."""
    while not holds():
        await asyncio.sleep(0.02)


async def home(runs: Path) -> dict[str, object]:
    """The table of runs: move, sort, filter, mark."""
    from trajflow.tui.app import TrajflowApp

    began, app = time.perf_counter(), TrajflowApp(runs, warm_up=False)
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.screen.library.runs and app.screen.table.row_count)
        first = time.perf_counter() - began
        keys = [*["j"] * 30, "greater_than_sign", "greater_than_sign", "R", "space", "space"]
        used = await pressed(pilot, [*keys, *"G", *["k"] * 10, "slash", *"run-05", "escape"])
        return row(f"{len(app.screen.library.runs)} runs", first, used)


async def windows(runs: Path, count: int) -> dict[str, object]:
    """The table of the windows of a split: move, sort, filter."""
    from textual.screen import Screen

    from trajflow.browse.view import SplitSummary
    from trajflow.tui.app import TrajflowApp
    from trajflow.tui.widgets.window_table import SCORED, WindowTable

    chance = np.random.default_rng(0)
    summary = SplitSummary(
        count,
        scene=np.zeros(count, np.int64),
        store_scenes=("walkers",),
        seconds=np.arange(count) * DT,
        targets=chance.integers(1, 9, count),
    )
    scores = {name: chance.random(count) for name in SCORED}

    class WindowScreen(Screen[None]):
        def compose(self):
            yield WindowTable()

    app = TrajflowApp(runs, warm_up=False)
    async with app.run_test(size=SIZE) as pilot:
        began = time.perf_counter()
        app.push_screen(WindowScreen())
        await pilot.pause()
        table = app.screen.query_one(WindowTable)
        table.focus()
        table.show_windows(summary, scores, 0)
        await pilot.pause()
        first = time.perf_counter() - began
        keys = [*["j"] * 20, "pagedown", "pagedown", "G", *["k"] * 10, "g", "greater_than_sign"]
        used = await pressed(pilot, [*keys, "R", "slash", *"walk", "escape"])
        return row(f"{count} windows", first, used)


async def agents(runs: Path, count: int) -> dict[str, object]:
    """The table of the agents of one window beside its map: move."""
    from trajflow.browse.view import SplitSummary, View
    from trajflow.tui.app import TrajflowApp
    from trajflow.tui.engine import Engine
    from trajflow.tui.screens.forecast import ForecastScreen

    class Loading(Engine):
        async def call(self, task, *args, **kwargs):
            await asyncio.Event().wait()

    chance = np.random.default_rng(0)
    path = chance.normal(size=(count, 20, 2)).cumsum(1) + chance.uniform(0, 200, (count, 1, 2))
    view = View(
        past=path[:, :8],
        future=path[:, 8:],
        target=np.arange(count) < 0.8 * count,
        samples=path[:, 8:] + chance.normal(size=(20, count, 12, 2)).cumsum(2),
        labels=tuple(map(str, range(count))),
        agent_types=("walker",) * count,
        **{"scene": "square", "start": 0, "index": 0, "count": 1, "dt": DT, "unit": "m"},
        metrics={"min_ade": chance.random(count)},
    )
    app = TrajflowApp(runs, warm_up=False)
    async with app.run_test(size=SIZE) as pilot:
        app.engine = Loading()
        screen = ForecastScreen(Path("run"), Path("square.zarr"))
        await app.push_screen(screen)
        await pilot.pause()
        screen.summary = SplitSummary(1)
        began = time.perf_counter()
        screen.show(view)
        await pilot.press("T")
        await pilot.pause()
        first = time.perf_counter() - began
        used = await pressed(pilot, [*["j"] * 20, "pagedown", "G", *["k"] * 10, "g"])
        return row(f"{count} agents", first, used)


def row(name: str, first: float, used: list[float]) -> dict[str, object]:
    """A line of the table."""
    with open("/proc/self/statm", encoding="ascii") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return {
        "name": name,
        "first": first,
        "median": float(np.median(used)),
        "95 %": float(np.quantile(used, 0.95)),
        "MB": memory,
    }


def starts(runs: Path) -> tuple[float, float]:
    """Seconds of processor time from the start of Python to the first picture: a bare one, ours."""
    bare = "from textual.app import App\nfrom textual.widgets import Label\n"
    bare += "class A(App):\n    def compose(self): yield Label('x')\n"
    bare += "    def on_ready(self): self.exit()\nA().run(headless=True)"
    ours = "from pathlib import Path\nfrom trajflow.tui.app import TrajflowApp\n"
    ours += "TrajflowApp.on_ready = lambda self: self.exit()\n"
    ours += f"TrajflowApp(Path({str(runs)!r})).run(headless=True)"
    used: dict[str, list[float]] = {bare: [], ours: []}
    for _ in range(STARTS):
        for code, taken in used.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return float(np.median(used[bare])), float(np.median(used[ours]))


SCENARIOS = ("starts", "runs", "windows", "agents")


def measure(scenario: str, place: Path, options: argparse.Namespace) -> dict[str, object]:
    """One line, in a process of its own so that memory is not that of the line before."""
    from trajflow.tui.demo import RUN, unpack_demo

    runs = folder_of_runs(place, unpack_demo(place / "cache") / RUN, options.runs)
    if scenario == "runs":
        return asyncio.run(home(runs))
    count = options.windows if scenario == "windows" else options.agents
    return asyncio.run((windows if scenario == "windows" else agents)(runs, count))


def main() -> None:
    """Print the table; exit code 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--windows", type=int, default=50_000)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--only", choices=SCENARIOS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    wanted = [options.only] if options.only else list(SCENARIOS)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.one:
            print(json.dumps(measure(options.only, place, options)))
            return
        print(f"{'':36}{'first picture, s':>18}{'key, ms CPU':>13}{'95 %':>7}{'MB':>6}")
        missed = False
        for scenario in wanted:
            if scenario == "starts":
                continue
            words = [sys.executable, __file__, *sys.argv[1:], "--only", scenario, "--one"]
            line = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
            missed |= line["median"] > LIMIT_MS
            shown = f"{line['name']:36}{line['first']:>18.2f}{line['median']:>13.0f}"
            print(f"{shown}{line['95 %']:>7.0f}{line['MB']:>6.0f}", flush=True)
        if "starts" in wanted:
            bare, ours = starts(place)
            missed |= ours > LIMIT_STARTS * bare
            print(f"a start: {ours:.2f} s CPU, {ours / bare:.2f} times a bare one ({bare:.2f} s)")
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
