"""The map: where lines fall on cells, what density keeps, what is shown and what never is."""

import gc
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from textual.app import App
from textual.events import MouseScrollUp
from tui_support import LARGE, SMALL, inks_of, lines_of, piloted

from trajflow.browse.view import View
from trajflow.errors import DataError
from trajflow.tui.export import file_stem, forecast_csv, forecast_rrd, write_new
from trajflow.tui.render.canvas import Canvas, dither
from trajflow.tui.render.colors import Palette, quantize, unpack_rgb
from trajflow.tui.render.raster import circles, density, smooth, spots, trace
from trajflow.tui.render.scene import Highlight, Layers, ScenePainter
from trajflow.tui.render.viewport import (
    Panes,
    Viewport,
    fit_scene,
    nice_step,
    scene_points,
)
from trajflow.tui.screens.edit_past import PastEdit
from trajflow.tui.widgets.scene_view import SceneView

PAST, FUTURE, SAMPLES = 5, 7, 11


def view_of(agents=3, beside=2, samples=SAMPLES, seed=0, **given):
    """Walkers to the right, each on a line of its own, and neighbors nobody forecasts."""
    chance = np.random.default_rng(seed)
    count = agents + beside
    steps = np.arange(1 - PAST, FUTURE + 1)
    path = np.stack(np.broadcast_arrays(0.5 * steps, 2.0 * np.arange(count)[:, None]), -1)
    target = np.arange(count) < agents
    drawn = path[:, PAST:] + 0.1 * chance.normal(size=(samples, count, FUTURE, 2)).cumsum(2)
    drawn[:, ~target] = np.nan
    values = {
        "past": path[:, :PAST],
        "future": path[:, PAST:],
        "target": target,
        "samples": drawn,
        "labels": tuple(f"id{k}" for k in range(count)),
        "agent_types": ("walker",) * count,
        "scene": "plaza",
        "start": 30,
        "index": 3,
        "count": 40,
        "dt": 0.4,
        "unit": "m",
        "metrics": {"min_ade": np.where(target, 0.25, np.nan)},
        "forecaster": "a run",
    }
    return View(**(values | given))


def port_of(view, columns=60, rows=20):
    return Viewport.fit(scene_points(view), 2 * columns, 4 * rows)


def dots_of(found):
    return sorted(zip(found.column.tolist(), found.row.tolist(), strict=True))


def test_a_level_line_takes_every_dot_once():
    found = trace(np.array([[[3.0, 3.5], [10.0, 3.5]]]), 20, 8)
    assert dots_of(found) == [(column, 3) for column in range(3, 10)]


@pytest.mark.parametrize("end", [(17.2, 5.1), (3.3, 30.9), (0.2, 0.4), (18.0, 31.0)])
def test_lines_have_no_gaps_and_keep_to_their_course(end):
    begin = np.array([5.5, 11.5])
    found = trace(np.array([[begin, end]]), 20, 32)
    order = np.argsort(found.along)
    jumps = np.abs(np.diff(np.stack([found.column, found.row])[:, order], axis=1))
    assert jumps.max() == 1
    way = (np.array(end) - begin) / np.linalg.norm(np.array(end) - begin)
    off = np.stack([found.column, found.row], -1) + 0.5 - begin
    assert np.abs(off[:, 0] * way[1] - off[:, 1] * way[0]).max() < 1


def test_clipping_shows_what_the_whole_line_shows_there():
    lines = np.random.default_rng(1).uniform(-40, 60, (30, 4, 2))
    small = set(dots_of(trace(lines, 20, 16)))
    large = trace(lines + 100, 400, 400)
    inside = {(x - 100, y - 100) for x, y in dots_of(large)}
    expected = {(x, y) for x, y in inside if 0 <= x < 20 and 0 <= y < 16}
    assert len(small ^ expected) <= 0.25 * len(expected)
    assert all(0 <= x < 20 and 0 <= y < 16 for x, y in small)


def test_a_line_of_any_length_costs_what_is_seen_of_it():
    far = np.array([[[-1e7, 4.0], [1e7, 4.0]]])
    assert len(trace(far, 20, 8).column) == pytest.approx(20, abs=2)


def test_pieces_with_an_unknown_end_are_left_out():
    lines = np.array([[[1.0, 1.0], [5.0, 1.0], [np.nan, 1.0], [9.0, 1.0], [13.0, 1.0]]])
    assert {x for x, _ in dots_of(trace(lines, 20, 8))} == {1, 2, 3, 4, 9, 10, 11, 12}
    assert not len(trace(np.full((2, 3, 2), np.nan), 20, 8).column)
    assert not len(spots(np.array([[np.nan, 1.0], [-1.0, 2.0]]), 20, 8).column)


def test_dashes_go_on_where_a_line_enters_the_picture():
    whole = trace(np.array([[[0.0, 2.5], [40.0, 2.5]]]), 40, 4).dashed(3, 2)
    assert {x for x in whole.column.tolist()} == {x for x in range(40) if x % 5 < 3}
    later = trace(np.array([[[-10.0, 2.5], [30.0, 2.5]]]), 40, 4).dashed(3, 2)
    assert {x for x in later.column.tolist()} == {x for x in range(30) if (x + 10) % 5 < 3}


def test_a_circle_is_as_wide_as_high():
    found = trace(circles(np.array([[30.0, 30.0]]), np.array([20.0])), 60, 60)
    wide = found.column.max() - found.column.min()
    assert wide == found.row.max() - found.row.min() == 39


def test_a_circle_without_end_is_not_drawn():
    assert not len(trace(circles(np.zeros((1, 2)), np.array([np.inf])), 60, 60).column)


def test_density_keeps_its_mass():
    lines = np.random.default_rng(2).uniform(0, 30, (9, 6, 2))
    found = trace(lines, 40, 40)
    plane, weight = np.arange(9) % 4, np.linspace(0.1, 1, 9)
    planes = density(found, plane, weight, 4, (10, 20))
    for one in range(4):
        mass = weight[found.line][plane[found.line] == one].sum()
        assert planes[one].sum() == pytest.approx(mass)
        assert smooth(planes, 3)[one].sum() == pytest.approx(mass)


def test_smoothing_favours_no_side():
    plane = np.zeros((1, 9, 13))
    plane[0, 4, 6] = 1
    found = smooth(plane, 2)[0]
    assert found == pytest.approx(found[::-1])
    assert found == pytest.approx(found[:, ::-1])
    assert found.max() == found[4, 6]


def test_strokes_are_braille():
    strokes = Canvas(2, 3, Palette())
    strokes.stroke(spots(np.array([[0.0, 0.0], [1.0, 3.0], [5.0, 7.0]]), 6, 8), np.array([7, 8, 9]))
    assert strokes.bits.tolist() == [0x01 | 0x80, 0, 0, 0, 0, 0x80]
    assert strokes.ink.tolist() == [8, 0, 0, 0, 0, 9]


def test_more_density_is_more_dots():
    counts = [bin(int(dither(np.full((2, 1), s))[0])).count("1") for s in np.linspace(0, 1, 9)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 8)


def test_a_right_angle_stays_one():
    port = Viewport.fit(np.array([[0.0, 0.0], [30.0, 4.0]]), 100, 40)
    corner, right, up = port.dots(np.array([[3.0, 1.0], [5.0, 1.0], [3.0, 3.0]]))
    assert np.linalg.norm(right - corner) == pytest.approx(np.linalg.norm(up - corner))
    assert up[1] < corner[1]


def test_fit_shows_every_point():
    points = np.random.default_rng(3).normal(size=(50, 3)) * [40, 3, 1]
    points[7] = np.nan
    dots = Viewport.fit(points, 80, 60).dots(points[np.isfinite(points).all(1)])
    assert ((dots > 0) & (dots < [80, 60])).all()


@pytest.mark.parametrize("points", [np.full((3, 2), np.nan), np.zeros((0, 2)), np.zeros((4, 2))])
def test_fit_of_nothing_or_one_place_is_a_viewport(points):
    port = Viewport.fit(points, 80, 60)
    assert np.isfinite([port.x, port.y, port.scale]).all()
    assert port.scale > 0


def test_zoom_keeps_the_place_under_the_mouse():
    port = Viewport(3.0, -2.0, 0.1, 80, 60)
    before = port.world(13, 41)
    closer = port.zoom(1.7, (13, 41))
    assert closer.world(13, 41) == pytest.approx(before)
    assert closer.zoom(1 / 1.7, (13, 41)).world(0, 0) == pytest.approx(port.world(0, 0))


def test_zoom_has_bounds():
    port = Viewport(0.0, 0.0, 1.0, 80, 60)
    for factor in (1e-3, 1e3):
        for _ in range(50):
            port = port.zoom(factor)
        assert 0 < port.scale < np.inf


def test_world_undoes_dots():
    port = Viewport(3.0, -2.0, 0.1, 80, 60).pan(5, 7)
    right, down = port.dots(np.array([1.25, 0.5]))
    assert port.world(right, down) == pytest.approx((1.25, 0.5))


@pytest.mark.parametrize(("length", "found"), [(7.3, 5), (0.2, 0.2), (1999, 1000), (10, 10)])
def test_nice_lengths(length, found):
    assert nice_step(length) == pytest.approx(found)


def test_the_map_letters_who_is_forecast():
    view = view_of()
    lines = ScenePainter(view, port_of(view), Palette()).paint().lines
    text = "".join(lines)
    assert [text.count(one) for one in "ABC"] == [1, 1, 1]
    assert text.count("o") == 2
    assert "2 m ├" in text
    there = [next(k for k, line in enumerate(lines) if one in line) for one in "ABC"]
    assert there == sorted(there, reverse=True), "y goes up"


def test_layers_are_drawn_or_not():
    view = view_of()
    bare = Layers(samples="none", truth=False, neighbors=False, regions=False, axes=False)
    lines = "".join(ScenePainter(view, port_of(view), Palette(), bare).paint().lines)
    assert "x" not in lines
    assert "o" not in lines
    assert "├" not in lines
    assert "▀" not in lines
    assert "▀" in "".join(
        ScenePainter(view, port_of(view), Palette(), replace(bare, samples="density")).paint().lines
    )
    assert "x" in "".join(
        ScenePainter(view, port_of(view), Palette(), replace(bare, truth=True)).paint().lines
    )


def test_the_order_of_samples_does_not_matter():
    view = view_of()
    turned = replace(view, samples=view.samples[::-1])
    one, other = (ScenePainter(each, port_of(view), Palette()).paint() for each in (view, turned))
    assert one.lines == other.lines
    assert (one.back == other.back).all()


def test_the_map_moves_with_the_world():
    view = view_of()
    shift = np.array([1000.0, -500.0])
    moved = replace(
        view, past=view.past + shift, future=view.future + shift, samples=view.samples + shift
    )
    bare = Layers(axes=False)
    one, other = (
        ScenePainter(each, port_of(each), Palette(), bare).paint() for each in (view, moved)
    )
    assert sum(a != b for a, b in zip("".join(one.lines), "".join(other.lines), strict=True)) < 12


@pytest.mark.parametrize("depth", ["full", "256", "16"])
@pytest.mark.parametrize("dark", [True, False])
def test_every_depth_shows_letters_and_only_its_colours(depth, dark):
    view = view_of()
    look = Palette.of(
        0x121212 if dark else 0xF7F7F7, 0xDADADA if dark else 0x222222, dark, depth, False
    )
    cells = ScenePainter(view, port_of(view), look).paint()
    text = "".join(cells.lines)
    assert all(one in text for one in "ABC")
    if depth != "full":
        assert "▀" not in text
        drawn = cells.code >= 0x2800
        found = np.unique(cells.fore[drawn])
        assert (quantize(unpack_rgb(found), depth) == found).all()


def test_hues_of_sixteen_colours_stand_out():
    for dark in (True, False):
        look = Palette.of(0, 0, dark, "16", False)
        assert len(set(look.hues)) == len(look.hues)
        assert look.background not in look.hues


@pytest.mark.parametrize("dark", [True, False])
def test_hues_are_different_ones_in_256_colours(dark):
    hues = Palette.of(0, 0, dark, "256", False).hues
    assert len(set(quantize(unpack_rgb(np.array(hues)), "256").tolist())) == len(hues)


def test_the_agent_that_stands_out_is_brighter_than_others():
    view = view_of()
    cells = ScenePainter(view, port_of(view), Palette(), highlight=Highlight(agent=1)).paint()
    back = {cells.lines[row][column]: cells.back[row, column] for row, column in _letters(cells)}
    assert back["B"] == Palette().hue(1)
    assert back["A"] != Palette().hue(0)


def _letters(cells):
    return [
        (r, c) for r, line in enumerate(cells.lines) for c, one in enumerate(line) if one in "AB"
    ]


def test_words_of_data_are_only_shown():
    evil = "[red]x[/]\x1b]0;y\x07\u202e\u4e2d"
    view = view_of(unit=evil, scene=evil, forecaster=evil)
    cells = ScenePainter(view, port_of(view), Palette(), caption=evil).paint()
    text = "".join(cells.lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\u4e2d" not in text
    assert "[red]x[/]" in text
    assert all(len(line) == 60 for line in cells.lines)


def test_a_played_future_ends_where_it_is():
    view = view_of()
    port = port_of(view)
    ends = []
    for moment in (1.0, 2.5, 7.0, 99.0):
        cells = ScenePainter(
            view, port, Palette(), Layers(axes=False), Highlight(moment=moment)
        ).paint()
        ends.append(max(line.rfind("C") for line in cells.lines))
    assert ends == sorted(ends)
    assert len(set(ends)) == 3


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 3), (300, 2), (3, 80)])
def test_any_size_can_be_painted(size):
    view = view_of(samples=1)
    cells = ScenePainter(view, Viewport.fit(view.past, 2 * size[0], 4 * size[1]), Palette()).paint()
    assert cells.code.shape == (size[1], size[0])
    assert [strip.cell_length for strip in cells.strips()] == [size[0]] * size[1]


def test_nobody_and_nothing_known_can_be_painted():
    view = view_of()
    lost = replace(
        view, past=np.full_like(view.past, np.nan), future=None, samples=view.samples[:0]
    )
    for each in (lost, replace(view, target=np.zeros(5, bool)), view_of(agents=80, beside=0)):
        assert (
            ScenePainter(each, port_of(view), Palette(), highlight=Highlight(agent=0, step=2))
            .paint()
            .strips()
        )


def test_strips_say_what_the_cells_say():
    view = view_of()
    cells = ScenePainter(view, port_of(view), Palette()).paint()
    for strip, line in zip(cells.strips(), cells.lines, strict=True):
        assert strip.text == line.replace("\u2800", " ")


def test_a_new_window_moves_the_map_only_if_it_must():
    view = view_of()
    port = port_of(view)
    panes = Panes(60, 20)
    assert fit_scene(view, port, panes) is port
    near = replace(view, past=view.past + 0.05, future=view.future + 0.05)
    assert fit_scene(near, port, panes) is port
    far = replace(view, past=view.past + 50, future=view.future + 50, samples=view.samples + 50)
    assert fit_scene(far, port, panes) is not port


def test_edits_change_one_point_and_nothing_stored():
    stored = view_of().past
    kept = stored.copy()
    edit = PastEdit.of(stored, 1).select(2).nudged(0.3, -0.4)
    assert edit.moved_by == pytest.approx(0.5)
    assert edit.changed.sum() == 1
    assert edit.changed[1, 2]
    assert not edit.restored().changed.any()
    assert not edit.noised(1, 0.1).reset().changed.any()
    assert (stored == kept).all()


def test_a_deleted_point_is_missing_and_comes_back_when_moved():
    edit = PastEdit.of(view_of().past, 0).select(3).dropped()
    assert np.isnan(edit.past[0, 3]).all()
    assert np.isfinite(edit.past[0, 2]).all()
    assert np.isfinite(edit.nudged(0.1, 0).past[0, 3]).all()


def test_the_last_point_cannot_be_deleted():
    edit = PastEdit.of(view_of().past, 0)
    for step in range(PAST):
        edit = edit.select(step).dropped()
    assert np.isfinite(edit.past[0]).all(-1).sum() == 1


class MapApp(App):
    """Nothing but a map."""

    def compose(self):
        yield SceneView()


def played(view, *steps, second=None, size=SMALL):
    """The application and its map after some keys, or functions of the pilot and the map."""

    async def play(pilot):
        canvas = pilot.app.query_one(SceneView)
        canvas.show(view, second)
        canvas.focus()
        await pilot.pause()
        for step in steps:
            await (step(pilot, canvas) if callable(step) else pilot.press(step))
        await pilot.pause()
        kept.extend([lines_of(pilot.app), inks_of(pilot.app), canvas])

    kept = []
    piloted(MapApp(), play, size)
    return kept


def test_the_canvas_shows_the_painted_map():
    view = view_of()
    lines, _, canvas = played(view)
    look = look_of_dark(canvas)
    assert lines == [
        line.replace("\u2800", " ").rstrip()
        for line in ScenePainter(view, canvas.port, look).paint().lines
    ]


def look_of_dark(canvas):
    return Palette(background=0x121212)


def test_keys_zoom_and_pan_and_fit():
    view = view_of()
    first = played(view)[2].port
    closer = played(view, "plus")[2].port
    assert closer.scale == pytest.approx(first.scale / 1.25)
    assert played(view, "plus", "minus")[2].port.scale == pytest.approx(first.scale)
    assert played(view, "L")[2].port.x > first.x
    assert played(view, "shift+up")[2].port.y > first.y
    assert played(view, "L", "J", "plus", "0")[2].port == first


def test_a_moved_map_stays_where_it_is():
    async def again(pilot, canvas):
        canvas.show(view_of(seed=5))

    moved = played(view_of(), "plus", "L")[2].port
    assert played(view_of(), "plus", "L", again)[2].port == moved


def test_the_mouse_zooms_where_it_is_and_drags():
    async def wheel(pilot, canvas):
        before.append(canvas.port.world(*canvas.panes.under(10, 5)))
        await pilot._post_mouse_events([MouseScrollUp], offset=(10, 5))
        await pilot.pause()
        after.append(canvas.port.world(*canvas.panes.under(10, 5)))

    before, after = [], []
    port = played(view_of())[2].port
    assert played(view_of(), wheel)[2].port.scale < port.scale
    assert before[0] == pytest.approx(after[0])


def test_clicking_picks_an_agent():
    picked = []

    class Hearing(MapApp):
        def on_scene_view_picked(self, message):
            picked.append((message.agent, message.step))

    view = view_of()

    async def play(pilot):
        canvas = pilot.app.query_one(SceneView)
        canvas.show(view)
        await pilot.pause()
        right, down = canvas.port.dots(view.present[2])
        await pilot.click(SceneView, offset=(int(right) // 2, int(down) // 4))
        canvas.select(1, 2)
        right, down = canvas.port.dots(view.past[1, 3])
        await pilot.click(SceneView, offset=(int(right) // 2, int(down) // 4))

    piloted(Hearing(), play)
    assert picked == [(2, None), (1, 3)]


def test_two_stand_side_by_side_where_there_is_room():
    second = replace(view_of(seed=9), forecaster="another")
    lines = played(view_of(), second=second, size=LARGE)[0]
    assert "a run" in lines[0]
    assert "another" in lines[0]
    assert sum("A" in half for line in lines for half in (line[:79], line[80:])) >= 2
    assert "another" not in "".join(played(view_of(), second=second, size=(50, 20))[0])


def test_the_future_is_played_and_can_be_halted():
    async def play(pilot, canvas):
        canvas.play(True)
        await pilot.pause(0.3)
        moments.append(canvas.highlight.moment)
        canvas.step_moment(1)
        moments.append(canvas.highlight.moment)
        canvas.play(False)
        moments.append(canvas.highlight.moment)

    moments = []
    played(view_of(), play)
    assert 0 < moments[0] < FUTURE
    assert moments[1] == round(moments[0]) + 1
    assert moments[2] is None


def test_a_theme_changes_the_map():
    async def light(pilot, canvas):
        before.append(inks_of(pilot.app))
        pilot.app.theme = "textual-light"
        await pilot.pause()

    before = []
    assert played(view_of(), light)[1] != before[0]


def test_resizing_never_fails():
    async def resize(pilot, canvas):
        chance = np.random.default_rng(4)
        for width, height in [(0, 0), (1, 1), (300, 100), *chance.integers(1, 200, (20, 2))]:
            await pilot.resize_terminal(int(width), int(height))
        await pilot.resize_terminal(*SMALL)

    assert "A" in "".join(played(view_of(), resize, second=view_of(seed=2))[0])


def test_a_long_animation_keeps_its_memory():
    async def play(pilot, canvas):
        canvas.play(True)
        for round_ in range(3):
            for _ in range(40):
                canvas._next_frame()
                assert canvas.strips
            gc.collect()
            sizes.append(len(gc.get_objects()))
            assert round_ >= 0

    sizes = []
    played(view_of(), play)
    assert sizes[2] - sizes[1] < 0.02 * sizes[1]


def test_ten_agents_of_twenty_samples_are_painted_quickly():
    view = view_of(agents=10, beside=3, samples=20)
    port, times = port_of(view, 140, 45), []
    for _ in range(15):
        begin = time.thread_time()
        ScenePainter(view, port, Palette()).paint().strips()
        times.append(time.thread_time() - begin)
    begin = time.thread_time()
    sum(k * k for k in range(400_000))
    assert min(times) < 2 * (time.thread_time() - begin), "a loop of 400 000 takes some 16 ms"


def test_a_spread_narrower_than_a_cell_is_a_line():
    view = view_of(agents=1, beside=0, samples=40)
    path = view.future[None] + np.linspace(-1, 1, 40)[:, None, None, None] * [0.0, 0.07]
    port = Viewport(1.0, 0.0, 0.05, 120, 80)
    layers = Layers(truth=False, axes=False)
    lines = ScenePainter(replace(view, samples=path), port, Palette(), layers).paint().lines
    assert not any("▀" in line for line in lines)
    wide = view.future[None] + np.linspace(-1, 1, 40)[:, None, None, None] * [0.0, 0.4]
    lines = ScenePainter(replace(view, samples=wide), port, Palette(), layers).paint().lines
    assert any("▀" in line for line in lines)


def test_files_are_never_overwritten(tmp_path):
    names = [write_new(tmp_path, "a", ".csv", b"x").name for _ in range(3)]
    assert names == ["a.csv", "a-2.csv", "a-3.csv"]


def test_names_of_files_hold_no_path():
    assert file_stem(view_of(scene="../../etc/pass wd\n")) == "trajflow-etc-pass-wd-4"


def test_the_csv_has_every_number_and_no_formula():
    view = view_of(labels=("=1+1", "id1", "id2", "id3", "id4"))
    lines = forecast_csv(view).decode().splitlines()
    assert lines[0] == "sample,agent,step,seconds,x,y"
    assert len(lines) == 1 + SAMPLES * 3 * FUTURE
    assert lines[1].split(",")[:4] == ["0", "'=1+1", "1", "0.4"]
    assert float(lines[1].split(",")[4]) == view.samples[0, 0, 0, 0]


def test_a_window_is_a_recording_of_rerun():
    pytest.importorskip("rerun", reason="needs the extra rerun")
    recording = forecast_rrd(view_of())
    assert recording.startswith(b"RRF")
    for name in (b"/past", b"/future", b"/samples"):
        assert name in recording


def test_without_rerun_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(DataError, match=r"trajflow\[rerun\]"):
        forecast_rrd(view_of())


def test_following_keeps_the_agent_in_the_middle():
    async def follow(pilot, canvas):
        canvas.select(2)
        canvas.toggle_follow()

    view = view_of()
    port = played(view, follow)[2].port
    assert (port.x, port.y) == pytest.approx(tuple(view.present[2]))
