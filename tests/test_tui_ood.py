"""The out-of-distribution screen: what is shown of a report, and what keys ask of the worker."""

import asyncio
import json
from dataclasses import replace
from functools import cache

import pytest
from ood_support import untrained
from tui_support import LARGE, SMALL, app_on, lines_of, make_run, piloted, text_of, until

from trajflow.browse.corrupted import CorruptedBrowser
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.ood.evaluate import evaluate_ood, report_bytes
from trajflow.ood.report import OODTerms, Stage, by_hidden_cost, hidden_summary, report_name
from trajflow.tui import tasks
from trajflow.tui.engine import Engine
from trajflow.tui.render.colors import Palette
from trajflow.tui.screens.ood import OodScreen
from trajflow.tui.widgets.corruption_table import CorruptionTable
from trajflow.tui.widgets.plots import CostPoint, paint_costs

TERMS = OODTerms(windows=60, samples=4, names=("noise-1", "noise-2", "unit-3", "skip-2"))


@pytest.fixture(scope="module")
def report(fork):
    found = evaluate_ood("it", browser_of(fork).predictor, open_store(fork), Config.load(), TERMS)
    return json.loads(report_bytes(found))


@pytest.fixture
def run(report, tmp_path):
    folder = make_run(tmp_path / "walks[red]")
    (folder / report_name(report["protocol"])).write_text(json.dumps(report))
    return folder


@cache
def browser_of(fork):
    return CorruptedBrowser(untrained(fork), open_store(fork), Config.load(), TERMS)


class Here(Engine):
    """Makes windows again in this process, of a run without weights, and plays an evaluation."""

    def __init__(self, browser, progress=()):
        super().__init__()
        self.browser, self.progress = browser, progress

    async def call(self, task, *args):
        assert task is tasks.show_corrupted
        return self.browser.view(args[-1])

    async def stream(self, task, *args):
        assert task is tasks.evaluate_ood
        for happens, value in self.progress:
            await happens()
            yield value


def on_screen(run, fork, play, size=SMALL, progress=()):
    """Play on the screen."""

    async def main(pilot):
        pilot.app.engine = Here(browser_of(fork), progress)
        screen = OodScreen(run, fork)
        await pilot.app.push_screen(screen)
        shown = lambda: screen.report is not None or "No OOD report" in text_of(pilot.app)  # noqa: E731
        await until(pilot, shown)
        await play(pilot, screen)

    return piloted(app_on(run.parent), main, size)


async def showing(pilot, screen, key):
    """Wait until a window of a corruption is on the map."""
    await until(pilot, lambda: screen.shown is not None and screen.shown[0].key == key)
    await pilot.pause()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_table_holds_every_corruption_with_its_numbers(run, fork, report, size):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.pause()
        text = text_of(pilot.app)
        for corruption in report["corruptions"]:
            assert f"{corruption['name']:10}{corruption['level']}" in text
        auroc = report["corruptions"][0]["detection"]["ood_score"]["auroc"]["value"]
        assert f"{auroc:.3f}" in text
        assert "nobody" in text
        assert "walks[red]" in text
        assert screen.table.chosen == "noise-2"
        share = report["corruptions"][1]["alarms"]["ood_score"]["value"]
        assert f"flagged {100 * share:.0f} % [" in text, "the word of the column, not another one"
        await pilot.press("k")
        await until(pilot, lambda: "false alarms" in text_of(pilot.app))
        assert screen.table.chosen == ""

    on_screen(run, fork, play, size)


def test_a_corruption_shows_its_curves_and_its_windows(run, fork, report):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.press("k", "j", "j")
        await showing(pilot, screen, "noise-1")
        text = text_of(pilot.app)
        assert "noise 2 cm" in text
        assert "highest OOD score 1 of 9" in text
        assert "x [m] →" in text
        examples = report["corruptions"][0]["examples"]
        assert f"agent {examples['most'][0]['label']}" in text
        await pilot.press("right", "right")
        await until(pilot, lambda: "3 of 9" in text_of(pilot.app))
        await pilot.press("m")
        await until(pilot, lambda: "lowest OOD score 1 of 9" in text_of(pilot.app))
        place = examples["least"][0]
        await until(pilot, lambda: screen.shown[0].row == place["row"])
        await pilot.press("down")
        await showing(pilot, screen, "unit-3")
        await pilot.press("h")
        await until(pilot, lambda: "9 of 9" in text_of(pilot.app))

    on_screen(run, fork, play, LARGE)


def test_a_small_screen_turns_its_pages(run, fork):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await showing(pilot, screen, "noise-2")
        text = text_of(pilot.app)
        for label in ("cost", "hurts, not flagged", "0 flagged", "50", "100 %"):
            assert label in text
        await pilot.press("enter")
        await pilot.pause()
        assert "flagged hidden" not in text_of(pilot.app)
        assert screen.scene.size.width == SMALL[0]
        await pilot.press("enter")
        await pilot.pause()
        assert "flagged hidden" in text_of(pilot.app)

    on_screen(run, fork, play)


def test_without_a_report_a_key_makes_one(report, fork, tmp_path):
    bare = make_run(tmp_path / "bare")
    path = bare / report_name(report["protocol"])
    begin, end = asyncio.Event(), asyncio.Event()

    async def play(pilot, screen):
        assert "No OOD report yet: press e" in text_of(pilot.app)
        assert "evaluate" in text_of(pilot.app)
        await pilot.press("e")
        assert screen.evaluating
        assert not screen.check_action("evaluate", ())
        begin.set()
        await until(pilot, lambda: "3/7 noise 2 cm" in text_of(pilot.app))
        path.write_text(json.dumps(report))
        end.set()
        await until(pilot, lambda: screen.report is not None)
        await until(pilot, lambda: "noise" in text_of(pilot.app))
        assert screen.check_action("evaluate", ())

    progress = [(begin.wait, Stage(3, 7, "noise 2 cm")), (end.wait, path)]
    on_screen(bare, fork, play, progress=progress)


def test_a_broken_report_is_told(fork, tmp_path):
    bare = make_run(tmp_path / "bare")
    (bare / "ood-test.json").write_text("[]")

    async def play(pilot, screen):
        # One word, because a long path wraps the sentence anywhere.
        await until(pilot, lambda: "version;" in text_of(pilot.app))

    on_screen(bare, fork, play)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_most_dangerous_corruption_is_first_and_counted(run, fork, report, size):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.pause()
        app = pilot.app
        first = by_hidden_cost(report)[0]
        assert screen.table.chosen == first["key"]
        summary = " ".join(text_of(app).split())
        assert hidden_summary(report) in summary
        assert next(iter(screen.table.rows)).value == ""

    on_screen(run, fork, play, size)


def test_a_header_sorts_the_corruptions(run, fork, report):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.pause()
        flagged = {
            one["key"]: one["alarms"]["ood_score"]["value"]
            for one in report["corruptions"]
            if one["windows"]
        }
        head = next(line for line in lines_of(pilot.app) if "flagged" in line and "AUROC" in line)
        row = lines_of(pilot.app).index(head) - screen.table.region.y
        await pilot.click(CorruptionTable, offset=(head.index("flagged") + 1, row))
        await pilot.pause()
        keys = [key.value for key in screen.table.rows]
        shown = [flagged[key] for key in keys if key in flagged]
        assert shown == sorted(shown, reverse=True)
        await pilot.click(CorruptionTable, offset=(head.index("flagged") + 1, row))
        await pilot.pause()
        shown = [flagged[key.value] for key in screen.table.rows if key.value in flagged]
        assert shown == sorted(shown)

    on_screen(run, fork, play, LARGE)


def test_help_defines_the_columns(run, fork):
    async def play(pilot, screen):
        await until(pilot, lambda: screen.report is not None)
        await pilot.press("question_mark")
        await until(pilot, lambda: "above the threshold" in " ".join(text_of(pilot.app).split()))

    on_screen(run, fork, play, LARGE)


def test_the_dangerous_corner_is_marked():
    points = [CostPoint("a", 0.05, 8.0, True, "a"), CostPoint("b", 0.9, 8.0, False, "b")]
    lines = paint_costs(points, "a", (12, 40), Palette()).lines
    assert "not flagged" in lines[0]
    row, column = next((r, line.index("●")) for r, line in enumerate(lines) if "●" in line)
    assert column < 20
    assert row < 6


def test_an_evaluation_goes_on_while_another_screen_is_shown(report, fork, tmp_path):
    bare = make_run(tmp_path / "bare")
    end = asyncio.Event()

    async def play(pilot, screen):
        await pilot.press("e", "q")
        again = OodScreen(bare, fork)
        await pilot.app.push_screen(again)
        assert again.evaluating
        end.set()
        await until(pilot, lambda: "3/7 noise 2 cm" in text_of(pilot.app))
        await pilot.press("s")
        await until(pilot, lambda: not again.evaluating)

    progress = [(end.wait, Stage(3, 7, "noise 2 cm")), (asyncio.Event().wait, None)]
    on_screen(bare, fork, play, progress=progress)


def test_an_evaluation_says_how_far_it_is_and_ends_in_the_run(fork, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "evaluated")

    class Opened:
        def store(self, data):
            return open_store(data)

        def browser(self, run, data, split):
            return None

        def predictor(self, run, steps):
            return untrained(fork)

    monkeypatch.setattr(tasks, "OODTerms", lambda: replace(TERMS, names=("noise-1",)))
    *progress, path = tasks.evaluate_ood(Opened(), folder, fork)
    assert [stage.note for stage in progress] == ["ordinary windows", "noise 2 cm"]
    assert [stage.done for stage in progress] == [0, 1]
    assert json.loads(path.read_text())["corruptions"][0]["key"] == "noise-1"


def test_corruptions_are_shown_while_others_are_evaluated(report, fork, tmp_path):
    bare = make_run(tmp_path / "bare")
    begin, more, end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    first = report | {"corruptions": report["corruptions"][:1]}

    async def play(pilot, screen):
        await pilot.press("e")
        begin.set()
        await until(pilot, lambda: screen.report is not None)
        await until(pilot, lambda: "left" in screen.title_bar.state)
        assert [key.value for key in screen.table.rows] == ["", "noise-1"]
        assert screen.table.chosen == "noise-1"
        more.set()
        await until(pilot, lambda: len(screen.table.rows) == 3)
        await until(pilot, lambda: screen.table.chosen == "noise-2")

    second = report | {"corruptions": report["corruptions"][:2]}
    stages = [Stage(1, 5, "noise 5 cm", first), Stage(2, 5, "unit cm", second)]
    progress = [(begin.wait, stages[0]), (more.wait, stages[1]), (end.wait, None)]
    on_screen(bare, fork, play, progress=progress)
