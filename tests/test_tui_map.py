"""The map of the forecast screen: moments in time, zoom, axes, the side view, the command."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_tui_canvas import FUTURE, PAST, port_of, view_of
from test_tui_forecast import Busy, browsed, press
from tui_support import LARGE, SMALL, lines_of, text_of

from trajflow.datasets.store import open_store
from trajflow.inference.loading import load_predictor
from trajflow.inference.plot import numbered_windows
from trajflow.runs import RunFolder, track_data
from trajflow.tui.render.colors import Palette
from trajflow.tui.render.scene import Highlight, Layers, ScenePainter
from trajflow.tui.render.viewport import FROM_SIDE, Viewport, scene_points


def heights(view):
    """The view with a height of each agent that grows from step to step."""
    steps = np.arange(1 - PAST, FUTURE + 1)
    height = np.broadcast_to(0.3 * steps, (view.agents, len(steps)))[..., None]
    samples = np.broadcast_to(height[:, PAST:], (*view.samples.shape[:3], 1))
    return replace(
        view,
        past=np.concatenate([view.past, height[:, :PAST]], -1),
        future=np.concatenate([view.future, height[:, PAST:]], -1),
        samples=np.concatenate([view.samples, samples], -1),
    )


def on_screen(view, play, size=SMALL):
    """Play on the forecast screen while it shows a window that was made by hand."""

    async def main(pilot, screen):
        for shown in (replace(view, index=9), view):
            screen.show(shown)
        await pilot.pause()
        await play(pilot, screen)

    browsed(Path("runs/a run"), Path("plaza.zarr"), main, size, engine=Busy, waits=False)


def letters_at(app, screen, positions):
    """What is written on the map where agents should be."""
    lines, found = lines_of(app), ""
    for right, down in screen.scene.port.dots(positions):
        row, column = (
            screen.scene.region.y + int(down) // 4,
            screen.scene.region.x + int(right) // 2,
        )
        found += lines[row].ljust(column + 1)[column]
    return found


def test_positions_are_known_at_every_moment_of_a_window():
    view = view_of()
    assert np.array_equal(view.at(0), view.present)
    assert np.array_equal(view.at(1 - PAST), view.past[:, 0])
    assert np.array_equal(view.at(FUTURE + 9.0), view.future[:, -1])
    assert view.at(-0.5) == pytest.approx((view.past[:, -1] + view.past[:, -2]) / 2)
    assert view.at(0.25) == pytest.approx(0.75 * view.present + 0.25 * view.future[:, 0])
    missing = view.past.copy()
    missing[0, :2] = np.nan
    assert np.isnan(replace(view, past=missing).at(-3.0)[0]).all()
    assert np.isnan(replace(view, future=None).at(2)).all()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_keys_move_through_the_past_and_the_forecast(size):
    view = view_of()

    async def play(pilot, screen):
        line = lines_of(pilot.app)[screen.timeline.region.y]
        assert re.match(r" past -1\.6 s \S+ \+2\.8 s forecast +all steps", line)
        await pilot.press("comma", "comma")
        await pilot.pause()
        assert letters_at(pilot.app, screen, view.past[:3, -3]) == "ABC"
        assert text_of(pilot.app).count("-0.8 s") == 2
        assert "past -0.8 s" in text_of(pilot.app)
        assert "▀" not in text_of(pilot.app)
        await pilot.press(*["full_stop"] * 5)
        await pilot.pause()
        assert letters_at(pilot.app, screen, view.future[:, 2]) == "ABCoo"
        assert "forecast +1.2 s" in text_of(pilot.app)
        await pilot.press("right_parenthesis")
        assert screen.scene.highlight.moment == FUTURE
        await pilot.press("left_parenthesis")
        assert screen.scene.highlight.moment == 1 - PAST
        await pilot.press("semicolon")
        await pilot.pause()
        assert "all steps" in text_of(pilot.app)
        assert letters_at(pilot.app, screen, view.present) == "ABCoo"

    on_screen(view, play, size)


def test_the_mouse_drags_through_time():
    async def play(pilot, screen):
        line = lines_of(pilot.app)[screen.timeline.region.y]
        begin, end = line.index("s ") + 2, line.index(" +2.8 s") - 1
        await pilot.mouse_down("Timeline", offset=(begin, 0))
        await pilot.pause()
        assert screen.scene.highlight.moment == 1 - PAST
        await pilot.hover("Timeline", offset=(end, 0))
        await pilot.mouse_up("Timeline", offset=(end, 0))
        await pilot.click("Timeline", offset=(end, 0))
        await pilot.pause()
        assert screen.scene.highlight.moment == FUTURE
        assert lines_of(pilot.app)[screen.timeline.region.y].rstrip().endswith("+2.8 s")
        await pilot.click("Timeline", offset=(line.index("◆"), 0))
        await pilot.pause()
        assert screen.scene.highlight.moment == 0

    on_screen(view_of(), play)


def test_an_agent_without_a_known_future_is_drawn_at_one_of_its_samples():
    view = view_of(samples=5)
    for shown, layers in ((replace(view, future=None), Layers()), (view, Layers(truth=False))):
        port = port_of(view)
        lines = ScenePainter(shown, port, Palette(), layers, Highlight(moment=4.0)).paint().lines
        places = {(int(d) // 4, int(r) // 2) for r, d in port.dots(view.samples[:, 1, 3])}
        assert "B" in {lines[row][column] for row, column in places}
        assert "o" not in "".join(lines[1:])


def test_one_key_zooms_to_the_selected_agent_and_back():
    view = view_of()

    async def play(pilot, screen):
        await pilot.press("plus", "L")
        before = screen.scene.port
        await pilot.press("a", "a", "z")
        port = screen.scene.port
        points = np.concatenate([view.past[1], view.future[1], *view.samples[:, 1]])
        dots = port.dots(points)
        assert ((dots >= 0) & (dots <= [port.columns, port.rows])).all()
        assert max(np.ptp(dots, 0) / [port.columns, port.rows]) > 0.7
        await pilot.press("a")
        assert screen.scene.port.y > port.y
        await pilot.press("z")
        assert screen.scene.port == before

    on_screen(view, play)


def test_axes_have_names_and_the_unit_if_it_is_known():
    for unit, names in (("m", ["x [m] →", "y [m] ↑", "2 m ├"]), ("", ["x →", "y ↑", " 2 ├"])):
        view = view_of(unit=unit)
        lines = ScenePainter(view, port_of(view), Palette()).paint().lines
        assert lines[-1].endswith(names[0])
        assert lines[1].startswith(names[1])
        assert names[2] in lines[0]
    bare = "".join(ScenePainter(view, port_of(view), Palette(), Layers(axes=False)).paint().lines)
    assert "→" not in bare


def test_a_key_shows_the_heights_and_edits_them():
    view = heights(view_of())

    async def play(pilot, screen):
        app = pilot.app
        assert "from above" in text_of(app)
        assert "y [m] ↑" in text_of(app)
        await pilot.press("Z")
        await pilot.pause()
        assert "from the side" in text_of(app)
        assert "z [m] ↑" in text_of(app)
        assert letters_at(app, screen, view.present[2:3]) == "C"
        await pilot.press("e", "k")
        edited = screen.view.past[0, -1]
        assert edited[:2] == pytest.approx(view.past[0, -1, :2])
        assert edited[2] > view.past[0, -1, 2]
        await pilot.press("escape", "Z")
        await pilot.pause()
        assert "y [m] ↑" in text_of(app)

    on_screen(view, play)


def test_positions_without_heights_have_no_side_view():
    async def play(pilot, screen):
        await pilot.press("Z")
        await pilot.pause()
        assert "no height" in text_of(pilot.app)
        assert "y [m] ↑" in text_of(pilot.app)

    on_screen(view_of(), play, LARGE)


def test_the_side_view_is_the_map_of_x_and_z():
    view = heights(view_of())
    port = Viewport.fit(scene_points(view), 120, 80, axes=FROM_SIDE)
    flat = replace(
        view,
        past=view.past[..., [0, 2]],
        future=view.future[..., [0, 2]],
        samples=view.samples[..., [0, 2]],
    )
    plane = Viewport.fit(scene_points(flat), 120, 80)
    layers = Layers(axes=False)
    side = ScenePainter(view, port, Palette(), layers).paint().lines
    assert [line.replace("from the side", " " * 13) for line in side] == ScenePainter(
        flat, plane, Palette(), layers
    ).paint().lines


def test_the_copied_command_draws_the_window_that_is_shown(
    trajflow, trained, fork, tmp_path, monkeypatch
):
    copied = []

    async def play(pilot, screen):
        await press(pilot, screen, "right", "right", "r", "less_than_sign", "2", "o", "c")
        copied.extend([pilot.app.clipboard, screen.view])
        await pilot.pause()
        assert "copied: trajflow plot" in text_of(pilot.app)

    browsed(trained[0], fork, play, LARGE)
    monkeypatch.chdir(tmp_path)
    command, view = copied
    words = shlex.split(command)
    options = dict(zip(words[4::2], words[5::2], strict=True))
    assert (options["--window"], options["--samples"], options["--seed"]) == ("3", "10", "1")
    assert trajflow(*words[1:])[0] == 0
    assert (tmp_path / options["-o"]).read_bytes().startswith(b"\x89PNG")
    tracks = track_data(open_store(fork), RunFolder.open(trained[0]).config)
    batch = numbered_windows(tracks, options["--split"], [int(options["--window"]) - 1])
    assert np.array_equal(batch.past[0], view.past, equal_nan=True)
    samples = load_predictor(trained[0], "auto", 2).forecast(batch, 10, 1)
    assert samples[:, 0] == pytest.approx(view.samples, nan_ok=True, abs=1e-5)


def test_a_window_that_is_not_there_is_refused(trajflow, trained, fork, tmp_path):
    words = ("plot", trained[0], fork, "-o", tmp_path / "a.png", "--window")
    code, _, error = trajflow(*words, "99999")
    assert (code, "there is no window 99999" in error) == (2, True)
    code, _, error = trajflow(*words, "1", "--scene", "x")
    assert (code, "leave out" in error) == (2, True)


def test_the_palette_has_what_the_map_can_do():
    async def play(pilot, screen):
        titles = {command.title for command in pilot.app.get_system_commands(screen)}
        assert titles >= {
            "A step later",
            "First step of the past",
            "The whole forecast at once",
            "Zoom to the agent",
            "Side view (x and z)",
            "Copy the command of this view",
        }

    on_screen(view_of(), play)
