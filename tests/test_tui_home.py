"""Home: what lies below a folder, the demo where nothing does, and what is opened from there."""

import os
import shutil
import time

import numpy as np
import pytest
from tui_support import (
    LARGE,
    SMALL,
    app_on,
    append,
    evaluated,
    finished,
    lines_of,
    make_run,
    matches,
    piloted,
    started,
    step,
    text_of,
    until,
    whole_training,
)

from trajflow.tui.format import ago, count, duration, number, spark
from trajflow.tui.library import read_store
from trajflow.tui.render.canvas import Canvas
from trajflow.tui.render.colors import Palette
from trajflow.tui.screens.dataset import DatasetScreen
from trajflow.tui.screens.training import TrainingScreen
from trajflow.tui.widgets.run_table import KeyTable
from trajflow.tui.widgets.scene_view import SceneView

HOUR = 3600.0


@pytest.fixture
def folder(tmp_path, fork, monkeypatch):
    """A finished run, one that is stopped, one that is damaged, and a store."""
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / "work"
    store = shutil.copytree(fork, place / "fork.zarr")
    learned = read_store(store).fingerprint
    make_run(place / "runs" / "done", whole_training(), learned=learned, age=2 * HOUR)
    half = [started(), step(5), evaluated(20, 0.7), finished(20, "stopped")]
    make_run(place / "runs" / "half", half, learned="gone", age=3 * HOUR)
    make_run(place / "runs" / "bad", age=4 * HOUR)
    (place / "runs" / "bad" / "run.json").write_text("{")
    os.utime(place / "runs" / "bad" / "run.json", (time.time() - 4 * HOUR,) * 2)
    os.utime(store / "zarr.json", (time.time() - 5 * HOUR,) * 2)
    return place


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder with nothing in it, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def chosen(app):
    return app.screen.entry.name


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_runs_and_stores_are_listed_newest_first(folder, size):
    async def play(pilot):
        await until(pilot, lambda: "3 runs, 1 store" in text_of(pilot.app))
        await pilot.press("j", "k")
        await pilot.pause()
        found = [line for line in lines_of(pilot.app) if " ago" in line or "stopped" in line]
        names = [line.split()[1] for line in found if len(line.split()) > 2]
        assert names[:2] == ["done", "half"]
        matches(pilot.app, f"home-{size[0]}", away=[folder], inks=True)

    piloted(app_on(folder), play, size)


def test_the_demo_is_there_where_nothing_is(empty):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: "demo on generated" in text_of(app))
        await until(pilot, lambda: app.screen.query_one(SceneView).view is not None)
        assert app.engine.pid is None, "the first picture must not wait for the model"
        matches(app, "home-demo")

    piloted(app_on(empty), play, LARGE)


def test_vim_and_arrow_keys_choose(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        for key, name in [("j", "half"), ("down", "bad"), ("G", "fork.zarr"), ("k", "bad")]:
            await pilot.press(key)
            assert chosen(app) == name
        await pilot.press("g")
        assert chosen(app) == "done"
        await pilot.press("up", "k", "pageup")
        assert chosen(app) == "done"
        await pilot.press("end", "home")
        assert chosen(app) == "done"

    piloted(app_on(folder), play)


def test_a_click_chooses_and_another_opens(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.click(KeyTable, offset=(5, 7))
        assert chosen(app) == "fork.zarr"
        await pilot.click(KeyTable, offset=(5, 6))
        await until(pilot, lambda: isinstance(app.screen, DatasetScreen))

    piloted(app_on(folder), play)


def test_what_is_chosen_stays_chosen_while_the_list_changes(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.press("j")
        assert chosen(app) == "half"
        make_run(folder / "runs" / "new", [started(), step(5)], age=1)
        await pilot.press("r")
        await until(pilot, lambda: len(app.screen.library.runs) == 4)
        assert chosen(app) == "half"
        assert "new" in text_of(app)
        assert "training" in text_of(app)

    piloted(app_on(folder), play)


def test_a_run_that_is_trained_is_seen_to_grow(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        append(folder / "runs" / "half", started(20), evaluated(40, 0.123))
        await pilot.press("r")
        await until(pilot, lambda: "0.123" in text_of(app))

    piloted(app_on(folder), play)


def test_keys_open_training_and_data(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        assert app.screen.data == folder / "fork.zarr"
        await pilot.press("q", "d")
        await until(pilot, lambda: isinstance(app.screen, DatasetScreen))

    piloted(app_on(folder), play)


def test_a_run_without_its_tracks_says_what_to_do(folder):
    record = folder / "runs" / "half" / "run.json"
    record.write_text(record.read_text().replace("0.4", "0.9"))

    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.press("g")
        while chosen(app) != "half":
            await pilot.press("j")
        await pilot.press("enter")
        await until(pilot, lambda: "the store of half is not below" in text_of(app))

    piloted(app_on(folder), play, LARGE)


def test_a_store_given_on_the_command_line_is_opened(folder):
    async def play(pilot):
        await until(pilot, lambda: isinstance(pilot.app.screen, DatasetScreen))
        assert pilot.app.screen.store == folder / "fork.zarr"
        await pilot.press("q")
        assert chosen(pilot.app) is not None

    piloted(app_on(folder / "fork.zarr"), play)


HOSTILE = [
    "[red]x",
    "[@click=app.quit]y",
    "a\x1b[31mb\x07",
    "\u202eevil",
    "w" * 200,
    "漢字" * 30,
]


def test_hostile_names_are_shown_and_never_obeyed(tmp_path):
    for name in HOSTILE:
        make_run(tmp_path / "[bold]deep" / name, whole_training())

    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: len(app.screen.library.runs) == len(HOSTILE))
        shown = text_of(app)
        assert "[red]x" in shown
        assert "[@click=app.quit]y" in shown
        assert "a\\x1b[31mb\\x07" in shown
        assert "\\u202eevil" in shown
        assert not set(shown) & {"\x1b", "\x07", "\u202e"}
        strips = app.screen._compositor.render_strips()
        assert {strip.cell_length for strip in strips} == {SMALL[0]}
        for row in range(len(HOSTILE)):
            await pilot.click(KeyTable, offset=(4, 2 * row))
        assert app.is_running

    piloted(app_on(tmp_path / "[bold]deep"), play)


@pytest.mark.parametrize("depth", ["full", "256", "16"])
def test_a_map_without_anything_to_shade_is_drawn_in_any_colours(depth):
    painting = Canvas(3, 5, Palette(depth=depth))
    painting.shade(np.zeros((0, 6, 5)), np.zeros(0, int))
    assert painting.cells().lines == [" " * 5] * 3


class TestWords:
    def test_a_spark_has_its_ends_where_they_are(self):
        assert spark([0, 1], 5) == "▁█"
        assert spark(range(8), 8) == "▁▂▃▄▅▆▇█"
        assert len(spark(range(1000), 12)) == 12
        assert spark([2.0] * 3, 9) == "▁▁▁"
        assert spark([1, float("nan"), 2], 3) == "▁ █"
        assert spark([], 4) == spark([1, 2], 0) == ""

    def test_numbers_and_times_are_short(self):
        nan = float("nan")
        assert [number(x) for x in (0.3751, 12.34, 1234.5, nan)] == ["0.375", "12.3", "1234", "-"]
        assert [duration(x) for x in (5, 65, 3700, 90_000, nan)] == [
            "5 s",
            "1 min 5 s",
            "1 h 1 min",
            "1 d 1 h",
            "-",
        ]
        assert [ago(x) for x in (3, 90, 4000, 1e5)] == ["now", "1 min ago", "1 h ago", "1 d ago"]
        assert count(1234567) == "1 234 567"
