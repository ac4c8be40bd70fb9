"""The forecast screen: keys, what they ask of the worker, and what is shown."""

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_tui_canvas import view_of
from tui_support import (
    LARGE,
    SMALL,
    Busy,
    app_on,
    in_thread,
    lines_of,
    matches,
    piloted,
    text_of,
    until,
)

from trajflow.browse.view import SAMPLE_COUNTS, SplitSummary
from trajflow.library import runs_beside
from trajflow.tui.engine import Engine
from trajflow.tui.screens.dialogs import CompareDialog, PromptDialog
from trajflow.tui.screens.forecast import ForecastScreen


def browsed(trained, fork, play, size=SMALL, engine=in_thread, waits=True):
    """Play on the screen of a run, once its first window is there."""

    async def main(pilot):
        screen = ForecastScreen(trained, fork)
        await pilot.app.push_screen(screen)
        if waits:
            await until(pilot, lambda: screen.view is not None, 60)
        await play(pilot, screen)

    return piloted(app_on(trained.parent, engine=engine), main, size)


async def until_idle(pilot, screen):
    """Wait until the last task is answered."""
    await pilot.pause()
    await until(pilot, lambda: not screen.app.engine.busy)
    await pilot.pause()


async def press(pilot, screen, *keys):
    for key in keys:
        await pilot.press(key)
        await until_idle(pilot, screen)


@pytest.fixture(scope="module")
def run(trained):
    return trained[0]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_first_window_is_shown_with_its_facts(run, fork, size):
    async def play(pilot, screen):
        text = text_of(pilot.app)
        assert f"window 1 of {screen.summary.count}" in text
        assert "20 samples, 1 step, seed 0" in text
        assert "A" in text
        assert "energy score" in text

    browsed(run, fork, play, size)


def test_a_miss_rate_stands_with_its_distance_and_unit():
    async def play(pilot, screen):
        metrics = {"miss_rate": np.full(5, 0.25)}
        screen.show(view_of(agents=3, metrics=metrics, miss=52.0, unit="px"))
        await pilot.pause()
        assert re.search(r"miss rate +25 % > 52 px", text_of(pilot.app))

    browsed(Path("runs/a run"), Path("plaza.zarr"), play, LARGE, engine=Busy, waits=False)


def test_windows_go_on_and_end(run, fork):
    async def play(pilot, screen):
        last = screen.summary.count - 1
        found = []
        for key in ("right", "l", "left", "pagedown", "end", "right", "g", "left"):
            await press(pilot, screen, key)
            found.append(screen.view.index)
        assert found == [1, 2, 1, min(11, last), last, last, 0, 0]

    browsed(run, fork, play)


def test_the_worst_is_worst_and_the_best_best(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "w")
        scores = screen._scores["energy_score"]
        assert scores[screen.view.index] == scores.max()
        await press(pilot, screen, "w")
        assert scores[screen.view.index] == np.sort(scores)[-2]
        await press(pilot, screen, "b")
        assert scores[screen.view.index] == scores.min()
        assert "best: 1 of" in text_of(pilot.app)

    browsed(run, fork, play)


def test_the_footer_always_has_the_way_back_and_the_help(run, fork):
    async def play(pilot, screen):
        await until(pilot, lambda: "Next" in lines_of(pilot.app)[-1])
        assert "q Back" in lines_of(pilot.app)[-1]
        assert "? Help" in lines_of(pilot.app)[-1]

    browsed(run, fork, play, SMALL, Busy, waits=False)


@pytest.mark.parametrize("size", [pytest.param(SMALL, marks=pytest.mark.slow), LARGE])
def test_the_table_of_windows_scores_sorts_and_jumps(run, fork, size):
    async def play(pilot, screen):
        app = pilot.app
        await press(pilot, screen, "W")
        table = app.screen.query_one("WindowTable")
        await until(pilot, lambda: "minADE" in screen._scores or "min_ade" in screen._scores)
        await until_idle(pilot, screen)
        text = text_of(app)
        for name in ("scene", "time", "agents", "energy", "minADE"):
            assert name in text
        assert table.row_count == screen.summary.count
        await press(pilot, screen, "down", "down")
        assert screen.index == screen.view.index == 2
        head = next(line for line in lines_of(app) if "agents" in line and "energy" in line)
        await pilot.click("WindowTable", offset=(head.index("energy") + 1, 0))
        await until_idle(pilot, screen)
        scores = screen._scores["energy_score"]
        shown = [float(scores[index]) for index in table.records]
        assert shown == sorted(shown, reverse=True)
        assert screen.index == 2
        await press(pilot, screen, "g")
        assert scores[screen.view.index] == scores.max()
        assert screen._scores["coverage_90"][screen.index] == screen.view.mean("coverage_90")
        assert "cov@90" in text_of(app)
        await press(pilot, screen, "slash", *screen.view.scene, "enter")
        assert {screen.summary.scene[n] for n in table.records} == {
            screen.summary.scene[screen.index]
        }
        await press(pilot, screen, "enter", "right")
        assert app.screen.focused is screen.scene
        await press(pilot, screen, "W")
        assert "agents  energy" not in text_of(app)

    browsed(run, fork, play, size)


def test_the_palette_goes_to_scenes_and_agents_and_knows_to_compare_and_to_export(run, fork):
    async def play(pilot, screen):
        async def choose(words, listed):
            await pilot.press("colon", *words)
            await until(pilot, lambda: listed in text_of(pilot.app))

        target = int(np.flatnonzero(screen.view.target)[-1])
        label = screen.view.labels[target]
        await choose(f"agent{label}", f"Agent {label}")
        await pilot.press("enter")
        await until(pilot, lambda: screen.agent == target)
        scene = int(screen.summary.scene[-1])
        name = screen.summary.store_scenes[scene]
        await choose(f"scene{name}", f"Scene {name}")
        await pilot.press("enter")
        await until(pilot, lambda: screen.index == int(np.argmax(screen.summary.scene == scene)))
        await choose("export", "Export the forecast")
        await pilot.press("escape")
        await choose("compare", "Compare with another run")

    browsed(run, fork, play, LARGE)


def test_every_agent_of_500_is_reached_in_the_table_of_agents():
    async def play(pilot, screen):
        scores = np.r_[np.random.default_rng(0).permutation(400) / 100.0, np.full(100, np.nan)]
        view = view_of(agents=400, beside=100, samples=2, metrics={"min_ade": scores})
        screen.summary = SplitSummary(40)
        screen.show(view)
        await pilot.press("T")
        await pilot.pause()
        table = pilot.app.screen.query_one("AgentTable")
        assert sorted(table.records) == list(range(500))
        for key, agent in (("down", 1), ("end", 499), ("up", 498), ("home", 0)):
            await pilot.press(key)
            await pilot.pause()
            assert screen.agent == agent
        table.sort_by("minADE")
        await pilot.press("home")
        await pilot.pause()
        assert screen.agent == int(np.nanargmax(scores))
        assert view.labels[screen.agent] in text_of(pilot.app)
        await pilot.press("enter")
        assert pilot.app.screen.focused is screen.scene
        await pilot.press("T")
        await pilot.pause()
        assert "minADE▼" not in text_of(pilot.app)

    browsed(Path("runs/a run"), Path("plaza.zarr"), play, LARGE, engine=Busy, waits=False)


def test_a_table_that_is_too_long_says_how_many_rows_there_are():
    async def play(pilot, screen):
        view = view_of(agents=3100, beside=0, samples=1)
        screen.summary = SplitSummary(40)
        screen.show(view)
        await pilot.press("T")
        await pilot.pause()
        assert "1,000 of 3,100" in text_of(pilot.app)

    browsed(Path("runs/a run"), Path("plaza.zarr"), play, LARGE, engine=Busy, waits=False)


def test_what_a_run_does_not_know_is_said(run, fork):
    async def play(pilot, screen):
        if screen.view.ood_score is not None:
            pytest.skip("this run knows how strange a past is")
        await press(pilot, screen, "u")
        assert "DATA ood" in text_of(pilot.app)
        await press(pilot, screen, "right")
        assert screen.view.index == 1

    browsed(run, fork, play, LARGE)


def test_drawing_anew_and_otherwise(run, fork):
    async def play(pilot, screen):
        first = screen.view.samples
        await press(pilot, screen, "r")
        assert not np.array_equal(screen.view.samples, first, equal_nan=True)
        await press(pilot, screen, "greater_than_sign")
        assert len(screen.view.samples) == 50
        await press(pilot, screen, *["less_than_sign"] * len(SAMPLE_COUNTS))
        assert len(screen.view.samples) == 1
        await press(pilot, screen, "greater_than_sign", "2")
        assert "2 samples, 2 steps, seed 1" in text_of(pilot.app)
        await press(pilot, screen, "s")
        assert screen.view.weights is not None

    browsed(run, fork, play, LARGE)


def test_a_run_without_memory_says_how_to_add_it(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "M")
        assert "--init RUN --set model.memory=8 adds it" in text_of(pilot.app).replace("\n", " ")
        assert not screen.options.watched

    browsed(run, fork, play, LARGE)


def test_side_by_side_with_constant_velocity_and_alone_again(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "v")
        assert screen.second.forecaster == "cv"
        assert re.search(r"energy score +\S+ +\S+", text_of(pilot.app))
        heads = [line for line in lines_of(pilot.app) if re.search(r"(^|│) +cv ", line)]
        assert heads, text_of(pilot.app)
        await press(pilot, screen, "v")
        assert screen.second is None

    browsed(run, fork, play, LARGE)


def test_windows_are_sorted_by_what_the_run_gains_on_another_forecaster(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "W")
        assert "gain" not in text_of(pilot.app)
        await press(pilot, screen, "tab", "v")
        await until(pilot, lambda: "gain" in text_of(pilot.app))
        screen.windows.sort_by("gain")
        await pilot.pause()
        screen.windows.focus()
        await press(pilot, screen, "g")
        best = screen.second.mean("energy_score") - screen.view.mean("energy_score")
        assert screen._scores["gain"].max() == pytest.approx(best)
        await press(pilot, screen, "G")
        worst = screen.second.mean("energy_score") - screen.view.mean("energy_score")
        assert worst < best
        await press(pilot, screen, "v")
        assert "gain" not in text_of(pilot.app)

    browsed(run, fork, play, LARGE)


def test_another_run_is_chosen_from_a_list(run, fork, tmp_path):
    async def play(pilot, screen):
        await press(pilot, screen, "V")
        await until(pilot, lambda: len(pilot.app.screen.choices) > 2)
        assert "[red]twin" in text_of(pilot.app)
        await pilot.press("down", "down", "enter")
        await until_idle(pilot, screen)
        assert screen.second.forecaster == "[red]twin"

    for name in ("one", "[red]twin"):
        (tmp_path / name).symlink_to(run)
    copied = tmp_path / "[red]twin"
    copied.unlink()
    copied.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (copied / file.name).write_bytes(file.read_bytes())
    base = tmp_path / "base"
    base.mkdir()
    for file in copied.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    assert copied in runs_beside(base)
    browsed(base, fork, play, LARGE)


def test_choosing_nobody_leaves_what_is(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "v", "V")
        assert isinstance(pilot.app.screen, CompareDialog)
        await pilot.press("escape")
        await until_idle(pilot, screen)
        assert screen.second is not None

    browsed(run, fork, play)


def test_a_number_leads_to_its_window(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "slash", "9", "9", "9", "enter")
        assert isinstance(pilot.app.screen, PromptDialog)
        await press(pilot, screen, *["backspace"] * 3, "3", "enter")
        assert screen.view.index == 2

    browsed(run, fork, play)


def test_agents_stand_out_in_turn(run, fork):
    async def play(pilot, screen):
        targets = np.flatnonzero(screen.view.target).tolist()
        found = []
        for _ in range(len(targets) + 1):
            await press(pilot, screen, "a")
            found.append(screen.agent)
        assert found == [*targets, None]
        await press(pilot, screen, "up")
        assert screen.agent == targets[-1]

    browsed(run, fork, play)


def test_an_edited_past_is_forecast_at_once_and_put_back(run, fork):
    async def play(pilot, screen):
        first = screen.view
        await press(pilot, screen, "e", "left", "left", "up")
        assert screen.edit.changed.sum() == 1
        assert screen.view.edited[screen.edit.agent, -1]
        agent = screen.edit.agent
        assert not np.allclose(screen.view.samples[:, agent], first.samples[:, agent])
        assert re.search(r"point 8 of 8 +moved \d", text_of(pilot.app))
        await press(pilot, screen, "left_square_bracket", "x")
        assert "missing" in text_of(pilot.app)
        await press(pilot, screen, "z")
        assert screen.edit.changed.sum() == first.history
        await press(pilot, screen, "R")
        assert np.array_equal(screen.view.samples, first.samples, equal_nan=True)
        await press(pilot, screen, "h", "e")
        assert screen.edit is None
        assert np.array_equal(screen.view.samples, first.samples, equal_nan=True)
        assert np.array_equal(screen.view.past, first.past, equal_nan=True)

    browsed(run, fork, play, LARGE)


def test_keys_have_another_meaning_only_while_editing(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "e", "right", "x")
        assert screen.view.index == 0
        assert "Nudge" in lines_of(pilot.app)[-1]
        await press(pilot, screen, "escape", "right")
        assert screen.view.index == 1
        assert "Next" in lines_of(pilot.app)[-1]

    browsed(run, fork, play)


def test_a_point_is_moved_by_the_mouse(run, fork):
    async def play(pilot, screen):
        await press(pilot, screen, "e", "0")
        canvas, agent = screen.scene, screen.edit.agent
        right, down = canvas.port.dots(screen.view.past[agent, 3])
        await pilot.mouse_down(canvas, offset=(int(right) // 2, int(down) // 4))
        await pilot.pause()
        assert screen.edit.step in (2, 3, 4)
        canvas.post_message(canvas.Dragged(1.5, -2.5))
        await until_idle(pilot, screen)
        assert screen.view.past[agent, screen.edit.step] == pytest.approx([1.5, -2.5])
        await pilot.mouse_up(canvas)

    browsed(run, fork, play)


def test_what_cannot_be_opened_is_said(run, tmp_path):
    async def play(pilot, screen):
        await until(pilot, lambda: "nothing to show" in text_of(pilot.app))
        said = pilot.app._notifications
        await until(pilot, lambda: any("not a store" in each.message for each in said))
        await pilot.press("right", "w", "e", "space", "a", "v", "slash", "V", "escape")

    browsed(run, tmp_path, play, LARGE, waits=False)


def test_a_worker_that_still_loads_leaves_every_key_alive(run, fork):
    async def play(pilot, screen):
        assert "loading the model" in text_of(pilot.app)
        await pilot.press("right", "w", "x", "r", "a", "e", "space", "v", "d", "plus", "0")
        assert screen.is_current

    browsed(run, fork, play, engine=Busy, waits=False)


def shown(size, name, keys=(), **given):
    """The screen with a window that is the same everywhere."""

    async def play(pilot, screen):
        view = view_of(agents=3, beside=1, **given)
        screen.summary = SplitSummary(40, ("kmeans",))
        screen.show(view)
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        matches(pilot.app, name)

    browsed(Path("runs/a run"), Path("plaza.zarr"), play, size, engine=Busy, waits=False)


def test_snapshot_small():
    shown(SMALL, "forecast-small", ["o", "a"])


def test_snapshot_large():
    strange = np.array([0.2, 0.97, 0.5, np.nan])
    reasons = ("", "walks at 3.1 times the usual pace", "", "")
    shown(LARGE, "forecast-large", ["a", "a"], ood_score=strange, ood_reasons=reasons)


def test_snapshot_edit():
    shown(LARGE, "forecast-edit", ["e", "h", "k"])


def test_names_from_data_are_only_shown():
    evil = "[red]x[/]\x1b]0;owned\x07"

    async def play(pilot, screen):
        view = view_of(
            agents=3, scene=evil, labels=(evil,) * 5, agent_types=(evil,) * 5, forecaster=evil
        )
        view = replace(view, ood_score=np.full(5, 0.99), ood_reasons=(evil,) * 5)
        screen.show(view, view)
        await pilot.press("a")
        await pilot.pause()
        text = text_of(pilot.app)
        assert "\x1b" not in text
        assert "[red]x[/]\\x1b" in text

    for size in (SMALL, LARGE):
        browsed(Path("runs/[b]"), Path("plaza.zarr"), play, size, engine=Busy, waits=False)


def test_random_keys_and_sizes_never_end_it(run, fork):
    keys = "right left w b u x r less_than_sign greater_than_sign 1 2 s v a A space full_stop comma"
    keys += " d o m y i e h j k l z x backspace R plus minus 0 H J K L left_square_bracket"
    keys = [*keys.split(), "right_square_bracket", "pagedown", "home", "end"]

    async def play(pilot, screen):
        chance = np.random.default_rng(7)
        for count in range(60):
            screen.app.simulate_key(str(chance.choice(keys)))
            if count % 15 == 0:
                await pilot.resize_terminal(*map(int, chance.integers(20, 180, 2)))
            if count % 5 == 0:
                await pilot.pause()
        await pilot.resize_terminal(*LARGE)
        screen.action_end_edit()
        await press(pilot, screen, "home")
        assert "window 1 of" in text_of(pilot.app)

    browsed(run, fork, play)


@pytest.mark.slow
def test_keys_are_answered_while_the_model_works(run, fork):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.view is not None, 60)
        for _ in range(6):
            await press(pilot, screen, "greater_than_sign")
        times = []
        for key in ["plus", "minus", "a", "d", "L", "H"] * 6:
            screen.action_resample()
            begin = time.thread_time()
            await pilot.press(key)
            times.append(time.thread_time() - begin)
        assert np.median(times) < 0.05

    browsed(run, fork, play, LARGE, engine=Engine)


def test_bookmarks_have_notes_outlive_the_screen_and_are_walked_through(run, fork, tmp_path):
    copy = tmp_path / run.name
    shutil.copytree(run, copy)

    async def mark(pilot, screen):
        await press(pilot, screen, "right", "right", "B", *"late", "enter")
        assert "bookmark: late" in text_of(pilot.app)
        await press(pilot, screen, "pagedown", "B", "enter")

    async def walk(pilot, screen):
        visited = []
        for key in ("apostrophe", "apostrophe", "apostrophe", "quotation_mark"):
            await press(pilot, screen, key)
            visited.append(screen.view.index)
        assert visited == [2, 8, 2, 8]
        await press(pilot, screen, "apostrophe")
        assert "bookmark: late" in text_of(pilot.app)
        await press(pilot, screen, "B")
        assert "bookmark removed: late" in text_of(pilot.app)

    browsed(copy, fork, mark, LARGE)
    lines = [json.loads(line) for line in (copy / "bookmarks.jsonl").read_text().splitlines()]
    assert [(line["window"], line["note"]) for line in lines] == [(3, "late"), (9, "")]
    browsed(copy, fork, walk, LARGE)
    assert len((copy / "bookmarks.jsonl").read_text().splitlines()) == 1


def test_bookmarks_that_are_damaged_are_kept_and_their_line_is_named(run, fork, tmp_path):
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    damaged = '{"window": 1}\n'
    (copy / "bookmarks.jsonl").write_text(damaged)

    async def play(pilot, screen):
        await press(pilot, screen, "B")
        # Not the screen's text: where it is wrapped depends on the length of the path.
        notes = pilot.app._notifications
        await until(pilot, lambda: any("line 1 is not a bookmark" in n.message for n in notes))

    browsed(copy, fork, play, LARGE)
    assert (copy / "bookmarks.jsonl").read_text() == damaged


def test_a_window_is_saved_as_picture_and_as_numbers(run, fork, tmp_path, monkeypatch):
    async def play(pilot, screen):
        monkeypatch.chdir(tmp_path)
        await press(pilot, screen, "P", "C", "C")
        await until(pilot, lambda: len(list(tmp_path.iterdir())) == 3)
        await until(pilot, lambda: ".csv" in text_of(pilot.app))

    browsed(run, fork, play, LARGE)
    names = sorted(path.suffix for path in tmp_path.iterdir())
    assert names == [".csv", ".csv", ".png"]
    assert (next(tmp_path.glob("*.png"))).read_bytes().startswith(b"\x89PNG")
