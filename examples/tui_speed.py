"""How quick the terminal UI is with 100 runs, 50 000 windows and 500 agents at a moment.

    python examples/tui_speed.py [--windows 50000] [--agents 500] [--runs 100]

Prints a table: seconds to the first useful picture (with the start of the model process, then
again without), processor time of the application for each key (median and 95th percentile), and
its memory. Below it: processor time of a start, beside that of a Textual application with one
label. The terminal is 160x48; the application draws into memory.
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


def walkers(path: Path, agents: int, moments: int) -> None:
    """A table of agents who walk to and fro, all of them at every moment, in one recording."""
    chance, steps = np.random.default_rng(0), np.arange(moments)
    with path.open("w") as file:
        file.write("agent,time,x,y\n")
        for agent in range(agents):
            turns = np.cumsum(0.1 * chance.normal(size=moments))
            x = chance.uniform(0, 60) + np.cumsum(0.5 * np.cos(turns))
            y = chance.uniform(0, 40) + np.cumsum(0.5 * np.sin(turns))
            rows = zip(steps, x, y, strict=True)
            file.writelines(f"{agent},{DT * k:.1f},{a:.3f},{b:.3f}\n" for k, a, b in rows)


def store_of(place: Path, name: str, agents: int, moments: int) -> Path:
    """A store of such a table."""
    walkers(place / f"{name}.csv", agents, moments)
    out = place / f"{name}.zarr"
    words = ["data", "import", str(place / f"{name}.csv"), "-o", str(out), "--unit", "m"]
    subprocess.run([sys.executable, "-m", "trajflow", *words], check=True, capture_output=True)
    return out


def run_for(place: Path, demo: Path) -> Path:
    """The run of the demo, whose windows are taken from all but the end of a recording."""
    run = shutil.copytree(demo, place / "run")
    lines = (run / "config.toml").read_text().replace('split = "stored"', 'split = "time"')
    (run / "config.toml").write_text(lines)
    return run


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


async def idle(app) -> None:
    """Wait for the model process."""
    await asyncio.sleep(0.3)
    while app.engine.busy:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)


async def home(runs: Path) -> dict[str, object]:
    """The table of runs: move, sort, filter, mark."""
    from trajflow.tui.app import TrajflowApp

    began, app = time.perf_counter(), TrajflowApp(runs, warm_up=False)
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.screen.library.runs and app.screen.table.row_count)
        first = time.perf_counter() - began
        keys = [*["j"] * 30, "greater_than_sign", "greater_than_sign", "R", "space", "space"]
        used = await pressed(pilot, [*keys, *"G", *["k"] * 10, "slash", *"run-05", "escape"])
        return row(f"{len(app.screen.library.runs)} runs", [first], used)


async def forecasts(name: str, run: Path, store: Path, keys: list[str]) -> dict[str, object]:
    """A forecast screen, opened twice: with the start of the model process, and without."""
    from trajflow.tui.app import TrajflowApp

    app, firsts = TrajflowApp(run, warm_up=False), []
    async with app.run_test(size=SIZE) as pilot:
        home = app.screen
        for _ in range(2):
            while app.screen is not home:
                app.pop_screen()
                await pilot.pause()
            began = time.perf_counter()
            app.open_forecasts(run, store, "train")
            await pilot.pause()
            screen = app.screen
            await until(lambda screen=screen: screen.view is not None)
            firsts.append(time.perf_counter() - began)
        await idle(app)
        used = await pressed(pilot, keys)
        await idle(app)
        size = f"{screen.summary.count} windows, {int(screen.view.target.sum())} agents"
        return row(f"{name}: {size}", firsts, used)


def row(name: str, firsts: list[float], used: list[float]) -> dict[str, object]:
    """A line of the table."""
    with open("/proc/self/statm", encoding="ascii") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return {
        "name": name,
        "first": " / ".join(f"{one:.2f}" for one in firsts),
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
    ours += f"class A(TrajflowApp):\n    def on_ready(self): self.exit()\nA(Path({str(runs)!r}))"
    ours += ".run(headless=True)"
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
    from trajflow.tui.demo import unpack_demo

    demo = unpack_demo(place / "cache").run
    if scenario == "runs":
        return asyncio.run(home(folder_of_runs(place, demo, options.runs)))
    run = run_for(place, demo)
    if scenario == "windows":  # 70 % of a recording are train
        store = store_of(place, "windows", 1, round(options.windows / 0.7) + 20)
        keys = ["W", *["j"] * 20, "pagedown", "pagedown", "G", *["k"] * 10, "g"]
        keys += ["greater_than_sign", "greater_than_sign", "R", "slash", *"walk", "escape"]
    else:
        store = store_of(place, "agents", options.agents, 60)
        keys = ["T", *["j"] * 20, "G", "g", "greater_than_sign", "slash", *"49", "escape"]
        keys += ["enter", *["a"] * 10, "plus", "plus", "minus", *["full_stop"] * 6, "d", "o"]
    return asyncio.run(forecasts(scenario, run, store, keys))


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
            shown = f"{line['name']:36}{line['first']:>18}{line['median']:>13.0f}"
            print(f"{shown}{line['95 %']:>7.0f}{line['MB']:>6.0f}", flush=True)
        if "starts" in wanted:
            bare, ours = starts(place)
            missed |= ours > LIMIT_STARTS * bare
            print(f"a start: {ours:.2f} s CPU, {ours / bare:.2f} times a bare one ({bare:.2f} s)")
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
