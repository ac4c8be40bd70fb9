"""What tests of the terminal application share: a pilot, patience, snapshots, runs made by hand."""

import asyncio
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from textual import constants

from trajflow.config import Config
from trajflow.tui.app import TrajflowApp
from trajflow.tui.engine import Engine

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "TRAJFLOW_SNAPSHOTS"
SMALL, LARGE = (80, 24), (160, 48)
constants.COLOR_SYSTEM = "truecolor"  # whatever the terminal of the tests has


def piloted(app, play, size=SMALL):
    """Run an application without a terminal and play on it."""

    async def main():
        async with app.run_test(size=size, notifications=True) as pilot:
            await play(pilot)

    asyncio.run(main())
    return app


class OneThread(ThreadPoolExecutor):
    """One thread, which ends before the test does: tasks seed the global random numbers."""

    def __init__(self):
        super().__init__(1)

    def shutdown(self, wait=True, *, cancel_futures=False):
        super().shutdown(cancel_futures=True)


def in_thread():
    """An engine in a thread of this process: the same tasks, without the start of a process."""
    return Engine(executor=OneThread)


class Busy(Engine):
    """Still loading: it takes every task and answers none."""

    async def call(self, task, *args, **kwargs):
        await asyncio.Event().wait()


def app_on(place, *, engine=None, **options):
    """An application whose engine starts when it is needed; by default in a process of its own."""
    app = TrajflowApp(Path(place), warm_up=False, **options)
    if engine is not None:
        app.engine = engine()
    return app


async def until(pilot, holds, seconds=20.0):
    """Wait until something holds; what is on the screen if it does not.

    The pauses grow: who waits for seconds should not look at the screen all the time.
    """
    end, pause = time.monotonic() + seconds, 0.01
    await pilot.pause()
    while not holds():
        assert time.monotonic() < end, f"not in {seconds:g} s:\n{text_of(pilot.app)}"
        await pilot.pause(pause)
        pause = min(1.5 * pause, 0.25)


def lines_of(app):
    """The letters on the screen."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


def text_of(app):
    return "\n".join(lines_of(app))


def inks_of(app):
    """Where the colours change on each line, as column:fore/back."""
    rows = []
    for strip in app.screen._compositor.render_strips():
        column, parts = 0, []
        for segment in strip:
            style = segment.style
            fore, back = (_hex(style and getattr(style, end)) for end in ("color", "bgcolor"))
            ink = f"{fore}/{back}"
            if segment.text and (not parts or parts[-1].split(":")[1] != ink):
                parts.append(f"{column}:{ink}")
            column += segment.cell_length
        rows.append(" ".join(parts))
    return rows


def matches(app, name, *, away=(), inks=False):
    """Compare the screen with tests/snapshots/NAME.txt; TRAJFLOW_SNAPSHOTS=update writes it.

    What is in `away` (names of temporary folders) is left out, with the blanks that filled up its
    line.
    """
    found = "\n".join(_plain(line, away) for line in lines_of(app))
    if inks:
        found += "\n" + "\n".join(inks_of(app))
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get(UPDATE) == "update":
        path.parent.mkdir(exist_ok=True)
        path.write_text(found + "\n", encoding="utf-8")
    known = path.read_text(encoding="utf-8").removesuffix("\n") if path.exists() else ""
    assert found == known, f"{UPDATE}=update rewrites {path.name}\n{found}"


def make_run(path, events=(), *, learned="", age=7200.0, settings=(), record=None):
    """A run folder as a training leaves it, without weights."""
    path.mkdir(parents=True)
    (path / "config.toml").write_text(Config.load(None, list(settings)).to_toml())
    told = {"store": learned, "dt": 0.4, "dims": 2, "parts": {"test": {"windows": 7}}}
    (path / "run.json").write_text(json.dumps(told if record is None else record))
    append(path, *events)
    long_ago = time.time() - age
    for name in ("config.toml", "run.json", "events.jsonl"):
        os.utime(path / name, (long_ago, long_ago))
    return path


def append(run, *events):
    """What a training writes next."""
    with (run / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def started(step=0, steps=100, per_epoch=20):
    told = {"seconds": 0.1, "parameters": 1234, "device": "cpu"}
    return {"event": "started", "step": step, "steps": steps, "steps_per_epoch": per_epoch} | told


def step(number, loss=1.0, weight=0.5, rate=1e-3):
    told = {"seconds": number / 2, "epoch": number / 20, "eta": 100.0 - number}
    return {"event": "step", "step": number, "loss": loss, "weight": weight, "rate": rate} | told


def evaluated(number, energy, *, best=True):
    scores = {"energy_score": energy, "min_ade": energy / 2, "min_fde": energy * 0.8}
    metrics = scores | {"coverage_90": 0.88, "spread_ratio": 1.0}
    told = {"seconds": number / 2, "epoch": number / 20, "metrics": metrics, "best": best}
    return {"event": "evaluated", "step": number} | told


def finished(number, reason="done"):
    told = {"seconds": number / 2, "best_energy_score": 0.4, "best_step": number}
    return {"event": "finished", "step": number, "reason": reason} | told


def whole_training():
    """All events of a training of 100 steps."""
    steps = [step(n, loss=2.0 - n / 100, weight=n / 100) for n in range(5, 101, 5)]
    judged = [evaluated(n, 0.9 - n / 200) for n in range(20, 101, 20)]
    said = sorted([*steps, *judged], key=lambda event: event["step"])
    return [started(), *said, finished(100)]


def _plain(line, away):
    for word in away:
        if str(word) in line:
            line = re.sub(" {2,}", "  ", line.replace(str(word), "PLACE"))
    return line


def _hex(colour):
    return "-" if colour is None or colour.triplet is None else colour.triplet.hex[1:]
