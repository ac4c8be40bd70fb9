"""The out-of-distribution screen: what is shown of a report, and what keys ask of the worker."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ood_support import untrained
from test_tui_forecast import Thread
from tui_support import LARGE, SMALL, app_on, make_run, piloted, text_of, until

from trajflow.browsing.shifted import Place, ShiftedBrowser
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.ood.asking import report_on, written
from trajflow.ood.question import Question
from trajflow.ood.reports import report_name
from trajflow.tui.messages import Complain
from trajflow.tui.ood_requests import Examine, Examined, Examining, ShiftedShown, ShowShifted
from trajflow.tui.screens.ood import OodScreen
from trajflow.tui.widgets.histogram import drawn
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.shift_curves import retention_curves, roc_curves
from trajflow.tui.widgets.shift_table import bar
from trajflow.tui.worker import Worker

QUESTION = Question(windows=60, samples=4, names=("noise-1", "noise-2", "unit-3", "skip-2"))


@pytest.fixture(scope="module")
def report(fork):
    found = report_on("it", made_again(fork).predictor, open_store(fork), Config.load(), QUESTION)
    return json.loads(written(found))


@pytest.fixture
def run(report, tmp_path):
    folder = make_run(tmp_path / "walks[red]")
    (folder / report_name(report["protocol"])).write_text(json.dumps(report))
    return folder


@cache
def made_again(fork):
    return ShiftedBrowser(untrained(fork), open_store(fork), Config.load(), QUESTION)


def on_screen(run, fork, play, size=SMALL):
    """Play on the screen; windows are made again in this process, of a run without weights."""
    browser, asked = made_again(fork), []

    class Here(Worker):
        def ask(self, request, to=None):
            asked.append(request)
            if isinstance(request, ShowShifted):
                view, among = browser.view(Place(request.key, *request.place), request.samples)
                number = len(asked)
                shown = ShiftedShown(request.key, request.place, view, among)
                self.answer(to, number, request, shown)
            return len(asked)

        def answer(self, to, number, request, value):
            from trajflow.tui.worker_messages import Answered

            to.post_message(Answered(number, request, value))

    async def main(pilot):
        pilot.app.worker = Here(pilot.app, begin=Thread)
        screen = OodScreen(run, fork)
        screen.asked = asked
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: screen.report is not None or screen.has_class("-empty"))
        await play(pilot, screen)

    return piloted(app_on(run.parent), main, size)


async def showing(pilot, screen, key):
    """Wait until a window of a shift is on the map."""
    await until(pilot, lambda: screen.shown is not None and screen.shown.key == key)
    await pilot.pause()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_table_holds_every_shift_with_its_numbers(run, fork, report, size):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.pause()
        text = text_of(pilot.app)
        for shift in report["shifts"]:
            assert f"{shift['name']:10}{shift['level']}" in text
        auroc = report["shifts"][0]["detection"]["surprise"]["auroc"]["value"]
        assert f"{auroc:.3f}" in text
        assert "nobody" in text
        assert "walks[red]" in text
        assert screen.table.chosen == "noise-1"
        await pilot.press("k")
        await until(pilot, lambda: "false alarms" in text_of(pilot.app))
        assert screen.table.chosen == ""
        await until(pilot, lambda: "kept ●" in text_of(pilot.app))

    on_screen(run, fork, play, size)


def test_a_shift_shows_its_curves_and_its_windows(run, fork, report):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.press("k", "j")
        await showing(pilot, screen, "noise-1")
        text = text_of(pilot.app)
        assert "noise 2 cm" in text
        assert "most surprising 1 of 9" in text
        assert "ROC" in text
        examples = report["shifts"][0]["examples"]
        assert f"agent {examples['most'][0]['label']}" in text
        await pilot.press("right", "right")
        await until(pilot, lambda: "3 of 9" in text_of(pilot.app))
        await pilot.press("m")
        await until(pilot, lambda: "least surprising 1 of 9" in text_of(pilot.app))
        place = examples["least"][0]
        await until(pilot, lambda: screen.shown.place[1] == place["row"])
        await pilot.press("down", "j", "down")
        await showing(pilot, screen, "unit-3")
        await pilot.press("h")
        await until(pilot, lambda: "9 of 9" in text_of(pilot.app))

    on_screen(run, fork, play, LARGE)


def test_why_shows_the_agent_among_its_nearest(run, fork):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await showing(pilot, screen, "noise-1")
        assert screen.canvas.second is None
        await pilot.press("y")
        assert screen.canvas.second is screen.shown.among
        assert screen.canvas.second.labels[1] == "nearest 1"
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        await pilot.press("y", "y")
        assert screen.has_class("-mapping")
        await pilot.press("y")
        assert screen.canvas.view is screen.shown.view

    on_screen(run, fork, play, LARGE)


def test_a_small_screen_turns_its_pages_and_charts(run, fork):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await showing(pilot, screen, "noise-1")
        assert "shifted" in text_of(pilot.app)
        await pilot.press("c")
        await pilot.pause()
        assert "ROC" in text_of(pilot.app)
        await pilot.press("enter")
        await pilot.pause()
        assert "AUROC 0 to 1" not in text_of(pilot.app)
        assert screen.canvas.size.width == SMALL[0]
        await pilot.press("enter")
        await pilot.pause()
        assert "AUROC 0 to 1" in text_of(pilot.app)

    on_screen(run, fork, play)


def test_without_a_report_a_key_makes_one(report, fork, tmp_path):
    bare = make_run(tmp_path / "bare")

    async def play(pilot, screen):
        await until(pilot, lambda: "press e" in text_of(pilot.app))
        assert "evaluate" in text_of(pilot.app)
        await pilot.press("e")
        request = screen.asked[-1]
        assert isinstance(request, Examine)
        assert not screen.check_action("examine", ())
        await pilot.press("e")
        assert sum(isinstance(one, Examine) for one in screen.asked) == 1
        number = len(screen.asked)
        pilot.app.worker.answer(screen, number, request, Examining(3, 7, "noise 2 cm"))
        await until(pilot, lambda: "3/7 noise 2 cm" in text_of(pilot.app))
        path = bare / report_name(report["protocol"])
        path.write_text(json.dumps(report))
        pilot.app.worker.answer(screen, number, request, Examined(path))
        await until(pilot, lambda: screen.report is not None)
        await until(pilot, lambda: "noise" in text_of(pilot.app))

    on_screen(bare, fork, play)


def test_a_broken_report_is_told(fork, tmp_path):
    bare = make_run(tmp_path / "bare")
    (bare / "ood-test.json").write_text("[]")
    told = []

    async def play(pilot, screen):
        pilot.app.on_complain = lambda message: told.append(message)
        await until(pilot, lambda: "press e" in text_of(pilot.app))

    on_screen(bare, fork, play)
    assert not told or isinstance(told[0], Complain)


def test_an_examination_is_told_stage_by_stage_and_ends_in_the_run(fork, tmp_path):
    folder = make_run(tmp_path / "asked")

    class State:
        def store(self, data):
            return open_store(data)

        def browser(self, run, data, part):
            return None

        def predictor(self, run, steps):
            return untrained(fork)

    stages = list(Examine(folder, fork, replace(QUESTION, names=("noise-1",))).answer(State()))
    assert [one.note for one in stages[:-1]] == ["ordinary windows", "noise 2 cm"]
    assert [one.done for one in stages[:-1]] == [0, 1]
    assert json.loads(stages[-1].path.read_text())["shifts"][0]["key"] == "noise-1"


def test_curves_are_those_of_the_report(report):
    shift = report["shifts"][0]
    chance, surprise, *_ = roc_curves(shift)
    assert chance.faint
    assert np.array_equal(np.stack([surprise.x, surprise.y], 1), shift["roc"]["surprise"])
    names = [curve.name for curve in retention_curves(shift)]
    assert names == ["surprise", "risk", "best"]
    assert roc_curves({})[0].faint
    assert retention_curves({}) == []


def test_bars_and_histograms_are_as_high_as_they_should_be():
    assert bar(0, 4).strip() == ""
    assert bar(1, 4) == "━━━━"
    assert bar(0.5, 4) == "━━  "
    look = Look()
    histogram = {"edges": [0, 0.5, 1], "shifted": [0, 1], "ordinary": [0.5, 0.5]}
    lines = drawn("scores", histogram, 0.9, (8, 24), look).plain.split("\n")
    assert len(lines) == 8
    assert lines[3].startswith(" " * 12)
    assert lines[3].rstrip().endswith("█" * 12)
    assert all(line[0] == line[-1] for line in lines[5:7])
    assert "alarm 0.9▲" in lines[7]
