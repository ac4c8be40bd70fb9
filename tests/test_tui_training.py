"""The training screen: it follows any run, and starts, stops and resumes those of its own."""

import json
import shutil
import sys

import numpy as np
import pytest
from textual.widgets import Button, Input, Select, Static
from tui_support import (
    LARGE,
    SMALL,
    Busy,
    app_on,
    append,
    evaluated,
    finished,
    in_thread,
    make_run,
    matches,
    piloted,
    started,
    step,
    text_of,
    until,
    whole_training,
)

from trajflow.history import TrainingHistory
from trajflow.jobs import running_job
from trajflow.runs import RunFolder
from trajflow.tui.format import duration, short_path
from trajflow.tui.render.colors import Palette
from trajflow.tui.screens.dialogs import StartDialog
from trajflow.tui.screens.new_training import NewTrainingScreen
from trajflow.tui.screens.training import TrainingScreen
from trajflow.tui.widgets.plots import (
    Curve,
    loss_curves,
    paint_curves,
    score_curves,
)


def watching(run, play, size=SMALL):
    """Play on the training screen of a run."""

    async def begin(pilot):
        pilot.app.open_training(run)
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainingScreen))
        await until(pilot, lambda: pilot.app.screen.latest is not None)
        await play(pilot)

    piloted(app_on(run.parent), begin, size)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_finished_training_is_shown_whole(tmp_path, size):
    run = make_run(tmp_path / "done", whole_training())

    async def play(pilot):
        await until(pilot, lambda: "100 %" in text_of(pilot.app))
        await pilot.pause()
        assert "0.400" in text_of(pilot.app)
        matches(pilot.app, f"training-{size[0]}", inks=True)

    watching(run, play, size)


def test_it_follows_while_someone_else_writes(tmp_path):
    run = make_run(tmp_path / "live", [started(), step(5)], age=0)

    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: "step 5 of 100" in text_of(app))
        assert app.screen.state == "training"
        append(run, step(10), evaluated(10, 0.777))
        with (run / "events.jsonl").open("a") as file:
            file.write('{"event": "step", "st')
        await until(pilot, lambda: "0.777" in text_of(app))
        assert "step 10 of 100" in text_of(app)
        with (run / "events.jsonl").open("a") as file:
            file.write('ep": 15, "seconds": 1}\n')
        append(run, finished(100))
        await until(pilot, lambda: "done" in text_of(app))
        assert [point.step for point in app.screen.history.points] == [5, 10, 15]

    watching(run, play)


def test_a_file_that_begins_anew_is_shown_anew(tmp_path):
    run = make_run(tmp_path / "again", [started(), *(step(n) for n in range(5, 60, 5))], age=0)

    async def play(pilot):
        await until(pilot, lambda: "step 55 of 100" in text_of(pilot.app))
        (run / "events.jsonl").write_text("")
        append(run, started(), step(5))
        await until(pilot, lambda: "step 5 of 100" in text_of(pilot.app))

    watching(run, play)


def test_one_that_was_started_elsewhere_cannot_be_stopped_from_here(tmp_path):
    run = make_run(tmp_path / "live", [started(), step(5)], age=0)

    async def play(pilot):
        await pilot.press("s")
        await until(pilot, lambda: "started elsewhere" in text_of(pilot.app))

    watching(run, play)


@pytest.mark.parametrize("events", [[], [{"event": "step"}], [started(steps=0, per_epoch=0)]])
def test_a_run_with_few_events_is_shown(tmp_path, events):
    run = make_run(tmp_path / "new", events)

    async def play(pilot):
        await until(pilot, lambda: "nothing yet" in text_of(pilot.app))

    watching(run, play)


def test_a_missing_run_is_reported(tmp_path):
    async def play(pilot):
        await until(pilot, lambda: "not there" in text_of(pilot.app))

    watching(tmp_path / "nowhere", play)


def test_the_race_before_the_first_step_is_shown(tmp_path):
    race = tmp_path / "run.race"
    race.mkdir()
    race_file = {"key": "", "names": [[], ["model.own_speed"], ["flow.preset"]]}
    (race / "race.json").write_text(json.dumps(race_file | {"updates": [40, 80]}))
    make_run(race / "0", [started(steps=80), step(40)])
    make_run(race / "1", [started(steps=80), step(10)], age=0)

    async def play(pilot):
        await until(pilot, lambda: "candidate 2 of 3  1 min 15 s left" in text_of(pilot.app))
        await pilot.pause()
        assert "25 %" in text_of(pilot.app)
        assert "it changes model.own_speed" in text_of(pilot.app)
        assert "step 0" not in text_of(pilot.app)

    watching(tmp_path / "run", play, LARGE)


def test_a_form_starts_a_training_which_is_watched_and_stopped(tmp_path, fork, tiny):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")
    settings = [word.replace("epochs=2", "epochs=5000") for word in tiny if word != "--set"]
    settings.append("train.race=false")  # it takes half of the limit before the first step
    run = tmp_path / "runs" / "fork-gru-mmf"

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        assert app.screen.query_one("#out", Input).placeholder == short_path(run)
        app.screen.query_one("#more", Input).value = " ".join(settings)
        app.screen.query_one("#limit", Input).value = "9m"
        await pilot.pause()
        app.screen.query_one(Button).press()
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        await until(pilot, lambda: app.screen.history.step > 0, 90)
        assert app.screen.state == "training"
        await pilot.press("s")
        await until(pilot, lambda: app.screen.state == "stopped", 60)
        await until(pilot, lambda: "Resume" in text_of(app))

    piloted(app_on(tmp_path, engine=in_thread), play)
    assert running_job(run) is None
    assert TrainingHistory.of(RunFolder(run).events()).reason == "stopped"


def test_an_error_of_the_command_is_shown(tmp_path, fork):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")
    for chunk in store.glob("*/c/0"):
        chunk.write_bytes(b"damaged")

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        app.screen.query_one("#out", Input).value = str(tmp_path / "mine")
        await until(pilot, lambda: "no plan: " in text_of(app))
        app.screen.query_one(Button).press()
        await until(pilot, lambda: isinstance(app.screen, StartDialog))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        await until(pilot, lambda: app.screen.state == "failed", 60)
        await until(pilot, lambda: "fork.zarr" in " ".join(app.screen.latest.words))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        assert app.screen.query_one("#out", Input).value == str(tmp_path / "mine")
        await until(pilot, lambda: "the training did not start" in text_of(app))

    piloted(app_on(tmp_path, engine=in_thread), play, LARGE)


def test_a_setting_is_checked_while_it_is_typed(tmp_path, fork):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        form, button = app.screen, app.screen.query_one(Button)
        for field, typed, problem in (
            ("more", "model.widht=3", "did you mean 'model.width'"),
            ("lr", "-1", "learning rate: input should be greater than 0"),
            ("epochs", "2.5", "epochs: input should be a valid integer"),
            ("batch", "many", "batch size: input should be a valid integer"),
            ("seed", "-1", "seed: input should be greater"),
            ("limit", "soon", "time limit: "),
            ("more", "model.encoder=tcn", "model.encoder is also set in a field above"),
            ("more", "data.horizon=0", "data.horizon: input should be greater"),
            ("more", "train.time_stretch=[1,2]", "train.time_stretch up to 2 needs positions"),
        ):
            line = form.query_one(f"#{field}", Input)
            before, line.value, line.select_on_focus = line.value, typed[:-1], False
            line.focus()
            line.action_end()
            await pilot.press(typed[-1])
            await until(pilot, lambda problem=problem: problem in text_of(app))
            assert button.disabled, typed
            line.value = before
            await until(pilot, lambda: not button.disabled)
            assert problem not in text_of(app)

    piloted(app_on(tmp_path, engine=Busy), play, LARGE)


def test_epochs_and_updates_together_are_refused_while_they_are_typed(tmp_path, fork):
    async def play(pilot):
        app = pilot.app
        app.open_new_training(fork)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        app.screen.query_one("#epochs", Input).value = "3"
        app.screen.query_one("#more", Input).value = "train.updates=9"
        await until(pilot, lambda: "both say how long" in text_of(app))
        assert app.screen.query_one(Button).disabled

    piloted(app_on(tmp_path, engine=Busy), play, LARGE)


def test_a_store_that_goes_away_is_a_problem_of_the_form(tmp_path, fork):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        shutil.rmtree(store)
        app.screen.query_one("#seed", Input).value = "4"
        # One word, because a long path wraps the sentence anywhere.
        await until(pilot, lambda: "more;" in text_of(app))
        assert app.screen.query_one(Button).disabled

    piloted(app_on(tmp_path, engine=Busy), play, LARGE)


def test_the_form_shows_the_plan_and_its_time_and_asks_before_a_long_training(tmp_path, fork, tiny):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")
    settings = [word for word in tiny if word != "--set" and "epochs" not in word]
    torch_was_there = "torch" in sys.modules

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        form, epochs = app.screen, app.screen.query_one("#epochs", Input)
        form.query_one("#more", Input).value = " ".join(settings)
        await until(pilot, lambda: "seconds" in form.plan, 240)
        await until(pilot, lambda: f"about {duration(form.plan['seconds'])} on" in text_of(app))
        assert "chosen from the training tracks" in text_of(app)
        assert "model.own_speed=true: " in text_of(app)
        assert epochs.placeholder == f"{form.plan['epochs']:.3g} chosen from the tracks"
        assert "torch" not in sys.modules or torch_was_there
        epochs.value = "900000"
        await until(pilot, lambda: form.plan.get("epochs") == 900000, 240)
        await until(pilot, lambda: "seconds" in form.plan, 240)
        form.query_one(Button).press()
        await until(pilot, lambda: isinstance(app.screen, StartDialog))
        question = f"This takes {duration(form.plan['seconds'])}, about."
        await until(pilot, lambda: question in text_of(app))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is form)
        assert epochs.value == "900000"
        assert not (tmp_path / "runs").exists()

    piloted(app_on(tmp_path), play, LARGE)


def test_enter_in_a_text_field_never_starts(tmp_path, fork):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        form = app.screen
        for field in ("epochs", "more", "out"):
            form.query_one(f"#{field}", Input).focus()
            await pilot.press("enter")
            await pilot.pause()
        await pilot.pause(0.3)
        assert app.screen is form
        assert not (tmp_path / "runs").exists()

    piloted(app_on(tmp_path, engine=Busy), play)


def test_a_folder_that_was_typed_stays_when_another_encoder_is_chosen(tmp_path, fork):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        out = app.screen.query_one("#out", Input)
        app.screen.query_one("#encoder", Select).value = "tcn"
        await until(pilot, lambda: out.placeholder.endswith("fork-tcn-mmf"))
        out.value = str(tmp_path / "mine")
        app.screen.query_one("#encoder", Select).value = "gru"
        await pilot.pause()
        assert out.value == str(tmp_path / "mine")

    piloted(app_on(tmp_path, engine=Busy), play)


def test_a_folder_that_is_taken_is_refused_in_the_form(tmp_path, fork):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")
    taken = make_run(tmp_path / "taken")

    async def play(pilot):
        app = pilot.app
        app.open_new_training(store)
        await until(pilot, lambda: isinstance(app.screen, NewTrainingScreen))
        app.screen.query_one("#out", Input).value = str(taken)
        app.screen.query_one(Button).press()
        problem = app.screen.query_one("#problem", Static)
        await until(pilot, lambda: "choose another folder" in str(problem.render()))
        app.screen.query_one("#out", Input).value = str(tmp_path / "free")
        app.screen.query_one("#more", Input).value = 'a="'
        app.screen.query_one(Button).press()
        await until(pilot, lambda: "quotation" in str(problem.render()))
        assert not (tmp_path / "free").exists()

    piloted(app_on(tmp_path, engine=Busy), play)


class TestCurves:
    def test_a_straight_line_goes_from_corner_to_corner(self):
        x = np.arange(5.0)
        cells = paint_curves([Curve("a", x, x)], "t", (12, 40), Palette())
        drawn = [
            k for k, line in enumerate(cells.lines) if any(0x2800 < ord(c) < 0x28FF for c in line)
        ]
        assert (drawn[0], drawn[-1]) == (1, 10)
        assert cells.lines[0].startswith("t")

    @pytest.mark.parametrize(
        "y", [[np.nan] * 3, [1.0, np.nan, np.inf], [0.0, 0.0, 0.0], [1e300, -1e300, 0], [1e-30] * 3]
    )
    @pytest.mark.parametrize("size", [(4, 16), (9, 39), (40, 200)])
    def test_odd_values_are_drawn_or_left_out(self, y, size):
        cells = paint_curves([Curve("a", np.arange(3.0), np.array(y))], "t", size, Palette())
        assert cells.code.shape == size

    def test_curves_are_told_apart_without_colours(self):
        x = np.arange(3.0)
        curves = [Curve(name, x, x + k) for k, name in enumerate(("one", "two"))]
        shown = "\n".join(paint_curves(curves, "t", (12, 60), Palette()).lines)
        assert shown.count("●") == shown.count("■") == 2

    def test_the_smooth_loss_is_a_mean_of_what_came_before(self):
        history = TrainingHistory.of([started(), *(step(n, loss=float(n)) for n in range(100))])
        _, smooth = loss_curves(history)
        assert smooth.y[0] == 0
        assert smooth.y[-1] == pytest.approx(np.mean([96, 97, 98, 99]))

    def test_scores_are_those_of_the_events(self):
        history = TrainingHistory.of(whole_training())
        energy, ade, fde = score_curves(history)
        np.testing.assert_allclose(energy.x, [1, 2, 3, 4, 5])
        np.testing.assert_allclose(ade.y * 2, energy.y)
        assert len(fde.y) == 5
