"""Hours of use in minutes: many sizes, many keys, memory that does not grow."""

import gc
import os
import shutil

import pytest
from test_tui_app import hands, sizes, survives
from test_tui_engine import gone
from tui_support import LARGE, SMALL, app_on, lines_of, make_run, piloted, until, whole_training

from trajflow.tui.app import SmallTerminalScreen, TrajflowApp
from trajflow.tui.demo import load_preview, unpack_demo
from trajflow.tui.screens.training import TrainingScreen
from trajflow.tui.widgets.scene_view import SceneView

KEYS = 2500
MAX_MEGABYTES = 600


def megabytes():
    """Memory of this process that is in use now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.fixture
def stays(monkeypatch):
    """An application that no key ends."""
    monkeypatch.setattr(TrajflowApp, "exit", lambda self, *_, **__: None)


async def animated(pilot, rounds):
    """Play a forecast from its beginning again and again; memory after each round."""
    scene, used = pilot.app.screen.query_one(SceneView), []
    view = load_preview()
    for _ in range(rounds):
        scene.show(view)
        for _ in range(view.horizon):
            scene.step_moment(1)
            await pilot.pause()
        scene.play(False)
        gc.collect()
        used.append(megabytes())
    return used


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is counted otherwise")
@pytest.mark.parametrize(
    "rounds", [pytest.param(4, id="short"), pytest.param(500, id="long", marks=pytest.mark.slow)]
)
def test_memory_stays_flat_while_forecasts_are_played(tmp_path, rounds):
    make_run(tmp_path / "run", whole_training())

    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        used = await animated(pilot, rounds)
        half = used[len(used) // 2]
        assert used[-1] - half < 4, f"megabytes after each round: {used}"

    piloted(app_on(tmp_path), play, LARGE)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [[], ["w"], ["d"]])
def test_four_hundred_sizes(tmp_path, keys):
    work = shutil.copytree(unpack_demo(tmp_path / "cache"), tmp_path / "work")

    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        await pilot.press(*keys)
        for width, height in sizes(7, 400):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        assert not isinstance(pilot.app.screen, SmallTerminalScreen)
        assert any("trajflow" in line for line in lines_of(pilot.app))

    piloted(app_on(work), play)


def damaged_folders(work):
    """Runs and stores beside the good ones: cut weights, a broken record, damaged bytes."""
    shutil.copytree(work / "demo", work / "cut")
    (work / "cut" / "weights.safetensors").write_bytes(b"x" * 100)
    shutil.copytree(work / "demo", work / "broken")
    (work / "broken" / "run.json").write_text("{")
    store = shutil.copytree(work / "crowd.zarr", work / "damaged.zarr")
    for chunk in store.glob("*/c/0"):
        chunk.write_bytes(b"damaged")
    shutil.copytree(work / "crowd.zarr", work / "list.zarr")
    (work / "list.zarr" / "zarr.json").write_text("[]")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is counted otherwise")
@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_keys(tmp_path, seed, stays, monkeypatch):
    """2500 keys on each of four ways through all screens, with damaged folders and other sizes.

    Nothing is trained for real. Memory stays bounded, and no process is left.
    """
    from trajflow.errors import RunError
    from trajflow.tui.screens import new_training, training

    def refused(*_):
        raise RunError("not in this test")

    monkeypatch.setattr(new_training, "start_training", refused)
    monkeypatch.setattr(training, "start_training", refused)
    monkeypatch.chdir(tmp_path)
    work = shutil.copytree(unpack_demo(tmp_path / "cache"), tmp_path / "work")
    make_run(work / "other", whole_training())
    damaged_folders(work)
    processes, used = [], []

    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        keys = hands(seed, KEYS)
        for number, (width, height) in enumerate(sizes(seed, KEYS // 25)):
            await survives(pilot, keys[25 * number : 25 * number + 25])
            # A terminal without a line has nothing to show.
            await pilot.resize_terminal(min(max(1, width), 160), min(max(1, height), 48))
            await pilot.pause()
        processes.append(pilot.app.engine.pid)
        gc.collect()
        used.append(megabytes())

    piloted(app_on(work), play)
    assert used[0] < MAX_MEGABYTES
    assert processes[0] is None or gone(processes[0])


@pytest.mark.slow
def test_a_thousand_lines_come_while_it_watches(tmp_path):
    import json

    from tui_support import started, step

    run = make_run(tmp_path / "run", [started(steps=1000)], age=0)

    async def play(pilot):
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainingScreen))
        with (run / "events.jsonl").open("a") as file:
            for number in range(1, 1001):
                line = json.dumps(step(number)) + "\n"
                for part in (line[:9], line[9:]):
                    file.write(part)
                    file.flush()
                if number % 20 == 0:
                    await pilot.pause(0.01)
        await until(pilot, lambda: pilot.app.screen.history.step == 1000)
        assert len(pilot.app.screen.history.points) == 1000

    async def begin(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        await play(pilot)

    piloted(app_on(tmp_path), begin)
