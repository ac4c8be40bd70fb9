"""Pasts that end where the tracks end."""

from pathlib import Path

import numpy as np
import pytest

from trajflow.datasets import import_tracks, open_store
from trajflow.datasets.report import TableLayout
from trajflow.datasets.schema import Tracks
from trajflow.errors import ConfigError
from trajflow.inference.tables import run_columns
from trajflow.inference.tracks import outlooks

HISTORY, HORIZON = 4, 6


def tracks_of(*walks: tuple[int, list[int]]) -> Tracks:
    """Tracks of (scene, steps); agent k is at (k, step)."""
    step = np.concatenate([steps for _, steps in walks]).astype(np.int64)
    track = np.repeat(np.arange(len(walks)), [len(steps) for _, steps in walks])
    scene = np.array([scene for scene, _ in walks])
    return Tracks(
        position=np.stack([track, step], 1).astype(float),
        step=step,
        split=np.zeros(len(step), np.int8),
        track=track,
        scene=scene,
        agent=100 + np.arange(len(walks)),
        kind=np.zeros(len(walks), np.int64),
        scenes=["hall", "yard"],
        splits=["all"],
        types=["pedestrian"],
        dt=0.4,
    )


TRACKS = tracks_of(
    (0, [0, 1, 2, 3, 4, 5, 6]),
    (0, [3, 4, 6]),
    (0, [0, 1, 2]),
    (1, [11]),
    (1, [7, 8, 9, 10, 11]),
)


def test_every_agent_is_forecast_once_from_its_own_last_step():
    (batch,) = outlooks(TRACKS, HISTORY, HORIZON)
    assert batch.agent.tolist() == [[100, 102], [100, 101], [103, 104]]
    assert batch.target.tolist() == [[False, True], [True, True], [True, True]]
    assert (batch.start + HISTORY - 1).tolist() == [2, 6, 11]
    assert batch.future.shape == (3, 2, HORIZON, 2)
    assert not np.isfinite(batch.future).any()


def test_steps_that_were_not_seen_are_empty():
    (batch,) = outlooks(TRACKS, HISTORY, HORIZON)
    steps = np.where(np.isnan(batch.past[..., 1]), -1, batch.past[..., 1])
    assert steps[1:].tolist() == [[[3, 4, 5, 6], [3, 4, -1, 6]], [[-1, -1, -1, 11], [8, 9, 10, 11]]]
    own = np.broadcast_to(batch.agent[..., None] - 100, batch.past.shape[:-1])
    seen = batch.seen
    assert (batch.past[..., 0][seen] == own[seen]).all()


def test_more_presents_are_counted_back_from_the_last():
    batches = list(outlooks(TRACKS, HISTORY, HORIZON, every=4, size=3))
    moments = [(int(s), int(p) + 3) for b in batches for s, p in zip(b.scene, b.start, strict=True)]
    assert moments == [(0, 2), (0, 6), (1, 7), (1, 11)]
    agents = [row[row >= 0].tolist() for b in batches for row in b.agent]
    assert agents == [[100, 102], [100, 101], [104], [103, 104]]
    assert [b.targets for b in batches] == [2, 3, 2]


def test_nothing_after_the_present_is_looked_at():
    late = TRACKS.position.copy()
    late[TRACKS.step > 2] = np.nan
    batches = outlooks(TRACKS, HISTORY, HORIZON, every=4, size=1)
    blind = outlooks(
        Tracks(**{**vars(TRACKS), "position": late}), HISTORY, HORIZON, every=4, size=1
    )
    seen = next(batches)
    np.testing.assert_array_equal(seen.past, next(blind).past)
    assert seen.past[0, 0, :, 1].tolist()[1:] == [0, 1, 2]


def test_every_must_be_positive():
    with pytest.raises(ConfigError, match="at least 1 step, got 0"):
        next(outlooks(TRACKS, HISTORY, HORIZON, every=0))


def test_a_step_of_long_ago_is_not_in_the_past():
    (batch,) = outlooks(tracks_of((0, [1, 2, 6]), (1, [0])), HISTORY, HORIZON)
    assert batch.past[0, 0, :, 1].tolist()[3] == 6
    assert batch.seen[0, 0].tolist() == [False, False, False, True]


def test_a_run_of_a_file_without_names_takes_a_table_with_names(tmp_path):
    rows = [f"{10 * step}\t{agent}\t{step}.0\t{agent}.0" for step in range(5) for agent in (1, 2)]
    (tmp_path / "biwi.txt").write_text("\n".join(rows) + "\n")
    import_tracks("ethucy", tmp_path / "biwi.txt", tmp_path / "biwi.zarr")
    layout = TableLayout.of_store(open_store(tmp_path / "biwi.zarr"))
    assert set(layout.columns.values()) == {"1", "2", "3", "4"}
    table, own = Path("walk.csv"), {"agent": "agent", "time": "time", "x": "x", "y": "y"}
    assert run_columns(table, list(own), layout, {}, 2).names == own
    assert run_columns(table, ["1", "2", "3", "4"], layout, {}, 2).names == layout.columns
