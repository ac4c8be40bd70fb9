"""Home: what lies below a folder, the demo where nothing does, and what is opened from there."""

import os
import re
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
    in_thread,
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

from trajflow.library import read_store
from trajflow.tui.format import ago, count, duration, number
from trajflow.tui.render.canvas import Canvas
from trajflow.tui.render.colors import Palette
from trajflow.tui.screens.dataset import DatasetScreen
from trajflow.tui.screens.training import TrainingScreen
from trajflow.tui.widgets.run_table import RunTable
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
        found = [line for line in lines_of(pilot.app) if "● done" in line or "○ stopped" in line]
        names = [line.split()[0] for line in found if len(line.split()) > 2]
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


def test_the_end_of_a_long_name_is_shown(folder):
    for k in (17, 18):
        make_run(folder / f"one-of-many-long-names-of-runs-{k}", whole_training())

    async def play(pilot):
        await until(pilot, lambda: "5 runs, 1 store" in text_of(pilot.app))
        await pilot.pause()
        assert re.search(r"one-of-many-\S*…\S*-17 ", text_of(pilot.app))
        assert re.search(r"one-of-many-\S*…\S*-18 ", text_of(pilot.app))

    piloted(app_on(folder), play)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_gap_stays_between_the_table_and_its_scroll_bar(folder, size):
    for k in range(60):
        make_run(folder / "many" / f"run{k}", whole_training())

    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: "63 runs, 1 store" in text_of(app))
        await pilot.pause()
        bar = app.screen.table.vertical_scrollbar.region
        lines = [line.ljust(size[0]) for line in lines_of(app)[bar.y : bar.bottom]]
        assert sum("done" in line for line in lines) > 5
        assert all(line[bar.x - 1] == " " for line in lines)
        assert any(line[bar.x - 2] != " " for line in lines)

    piloted(app_on(folder), play, size)


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
        await pilot.click(RunTable, offset=(5, 4))
        assert chosen(app) == "fork.zarr"
        await pilot.click(RunTable, offset=(5, 4))
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


def test_a_damaged_run_says_what_is_wrong_with_it_and_not_with_its_store(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        app.screen.table.choose(str(folder / "runs" / "bad"))
        await pilot.pause()
        said = []
        app.show_error = said.append
        await pilot.press("enter", "o")
        await until(pilot, lambda: len(said) == 2)
        assert all(one.startswith(f"{app.screen.entry.path} is damaged") for one in said)

    piloted(app_on(folder), play, LARGE)


def test_a_store_given_on_the_command_line_is_opened(folder):
    async def play(pilot):
        await until(pilot, lambda: isinstance(pilot.app.screen, DatasetScreen))
        assert pilot.app.screen.store == folder / "fork.zarr"
        await pilot.press("q")
        assert chosen(pilot.app) is not None

    piloted(app_on(folder / "fork.zarr"), play)


def test_the_table_of_runs_has_their_scores_and_sorts_by_a_header(folder):
    half = [started(), step(5), evaluated(20, 0.1), finished(20, "stopped")]
    make_run(folder / "runs" / "good", half, learned="gone", age=30)

    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: len(app.screen.library.runs) == 4)
        await pilot.pause()
        lines = lines_of(app)
        head = next(n for n, line in enumerate(lines) if "minFDE" in line)
        for name in (
            "state",
            "epoch",
            "energy",
            "minADE",
            "minFDE",
            "cov@90",
            "data",
            "split",
            "age",
        ):
            assert name in lines[head]
        row = next(line for line in lines if "done" in line and "5/5" in line)
        for word in ("0.400", "0.200", "0.320", "88 %", "fork.zarr", "test", "2 h ago"):
            assert word in row
        table = app.screen.table
        await pilot.click(RunTable, offset=(lines[head].index("energy") + 1, 0))
        await pilot.pause()
        scores = [
            one.history.best("energy_score")
            for one in table.records
            if one.name != "bad" and hasattr(one, "history")
        ]
        assert scores == sorted(scores, reverse=True)
        await pilot.press("R")
        assert table.records[0].name == "good"

    piloted(app_on(folder), play, LARGE)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_table_of_runs_is_filtered(folder, size):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.press("slash", *"stop")
        await until(pilot, lambda: len(app.screen.table.records) == 1)
        assert chosen(app) == "half"
        assert "fork.zarr" not in text_of(app).split("half")[0]
        table, line = app.screen.table.region, app.screen.query_one("FilterInput").region
        assert (line.x, line.width, line.y) == (table.x, table.width, table.bottom)
        assert lines_of(app)[line.y][: table.width].strip() == "stop"
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen.table.records) == 4)
        assert chosen(app) == "half"
        await pilot.press("j")
        assert chosen(app) == "bad"

    piloted(app_on(folder), play, size)


def test_marked_runs_are_compared(folder):
    events = [started(), step(5), evaluated(20, 0.1), finished(20, "stopped")]
    learned = read_store(folder / "fork.zarr").fingerprint
    make_run(folder / "runs" / "good", events, learned=learned, age=30)

    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.press("c")
        await until(pilot, lambda: "mark two runs" in text_of(app))
        await pilot.press("g", "space", "space", "c")

        await until(pilot, lambda: type(app.screen).__name__ == "CompareScreen")
        await until(pilot, lambda: "+0.3" in text_of(app))
        text = text_of(app)
        rows = [line for line in lines_of(app) if "val (in training)" in line]
        assert rows[0].split()[:2] == ["good", "1"]
        assert rows[1].split()[0] == "done"
        assert "0.320" in rows[1]
        assert "88 %" in rows[1]
        assert "● good" in text
        assert "■ done" in text

    piloted(app_on(folder, engine=in_thread), play, LARGE)


@pytest.mark.parametrize(
    "run", ["ships", pytest.param("runs/ships", marks=pytest.mark.slow), "runs/fold/ships"]
)
def test_a_run_given_on_the_command_line_opens_wherever_its_store_is(tmp_path, fork, run):
    shutil.copytree(fork, tmp_path / "tracks.zarr")
    learned = read_store(tmp_path / "tracks.zarr").fingerprint
    make_run(tmp_path / run, whole_training(), learned=learned)

    async def play(pilot):
        await until(pilot, lambda: type(pilot.app.screen).__name__ == "ForecastScreen")
        assert pilot.app.screen.run_folder == tmp_path / run
        assert pilot.app.screen.data == tmp_path / "tracks.zarr"
        await pilot.press("q", "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, DatasetScreen))
        assert pilot.app.screen.store == tmp_path / "tracks.zarr"

    piloted(app_on(tmp_path / run, engine=in_thread), play)


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
            await pilot.click(RunTable, offset=(4, 1 + row))
        assert app.is_running

    piloted(app_on(tmp_path / "[bold]deep"), play)


@pytest.mark.parametrize("depth", ["full", "256", "16"])
def test_a_map_without_anything_to_shade_is_drawn_in_any_colours(depth):
    painting = Canvas(3, 5, Palette(depth=depth))
    painting.shade(np.zeros((0, 6, 5)), np.zeros(0, int))
    assert painting.cells().lines == [" " * 5] * 3


class TestWords:
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
        assert count(1234567) == "1,234,567"
