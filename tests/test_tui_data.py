"""The data screen: scenes and map of a store."""

import shutil

import numpy as np
import pytest
from tui_support import SMALL, app_on, matches, piloted, text_of, until

from trajflow.tui.render.colors import Palette
from trajflow.tui.render.tracks import ARROWS, octants, paint_tracks
from trajflow.tui.screens.dataset import DatasetScreen
from trajflow.tui.screens.new_training import NewTrainingScreen


@pytest.fixture
def store(tmp_path, store_of):
    """Three scenes of walkers."""
    walks = [list(range(20)), list(range(3, 15))]
    made = {"hall": ("train", walks), "[red]gate[/]": ("val", walks), "yard": ("test", walks[:1])}
    return store_of(made, name="walkers.zarr").path


def on_data(store, play, size=SMALL):
    async def begin(pilot):
        pilot.app.open_dataset(store)
        await until(pilot, lambda: isinstance(pilot.app.screen, DatasetScreen))
        await play(pilot)

    piloted(app_on(store.parent), begin, size)


def test_scenes_are_there_before_anything_is_read(store):
    async def play(pilot):
        await until(pilot, lambda: "[red]gate[/]" in text_of(pilot.app))
        shown = text_of(pilot.app)
        assert "all scenes" in shown
        assert "walkers.zarr" in shown

    on_data(store, play)


def test_a_scene_is_read_drawn_and_counted(store):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: "84 rows" in text_of(app), 60)
        await pilot.press("j")
        await until(pilot, lambda: "hall: 2 tracks" in text_of(app), 60)
        matches(app, "data-80", away=[store.parent])

    on_data(store, play)


def test_a_damaged_store_is_told_and_not_read(store, tmp_path):
    bad = shutil.copytree(store, tmp_path / "bad.zarr")
    (bad / "zarr.json").write_text("{")

    async def play(pilot):
        await until(pilot, lambda: "damaged" in text_of(pilot.app))
        await pilot.press("j", "enter")
        assert pilot.app.engine.pid is None

    on_data(bad, play)


def test_a_training_is_begun_from_here(store):
    async def play(pilot):
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewTrainingScreen))

    on_data(store, play)


def test_octants_are_those_of_the_arrows():
    turn = np.arange(8) * np.pi / 4
    ends = np.stack([np.zeros((8, 2)), np.stack([np.cos(turn), np.sin(turn)], 1)], 1)
    assert octants(ends).tolist() == list(range(8))
    assert ARROWS[2] == "↑"


def test_the_map_is_strongest_where_most_people_go():
    rng = np.random.default_rng(0)
    busy = np.array([[[0.0, 0.0], [8.0, 0.0]]]).repeat(90, 0) + rng.normal(0, 0.05, (90, 1, 2))
    lone = np.array([[[0.0, 4.0], [8.0, 4.0]]])
    steps = np.concatenate([busy, lone])
    cells = paint_tracks(steps, np.arange(91), "m", (20, 60), Palette())
    light = (cells.fore & 255) + (cells.fore >> 8 & 255) + (cells.fore >> 16)
    rows = np.where(cells.code >= 0x2580, light, 0).max(1)
    low, high = rows[10:19].max(), rows[1:9].max()
    assert low > high > 0
