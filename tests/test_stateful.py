"""Import, check, window, predict, repair, in any order and on any tracks: what was said holds."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trajflow.baselines import load
from trajflow.datasets.doctor import check, doctor
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.loader import TrackData
from trajflow.datasets.repair import repair_store
from trajflow.datasets.store import open_store
from trajflow.errors import DataError

DT = 0.5
LABELS = st.text(st.characters(codec="utf-8"), max_size=6)
NUMBERS = st.floats(-50, 50).map(lambda x: round(x, 3)) | st.sampled_from(["", "nan", "soon", 1e9])
ROWS = st.lists(st.tuples(LABELS, LABELS, st.integers(0, 30), NUMBERS, NUMBERS), max_size=12)


class Data(RuleBasedStateMachine):
    """One folder with a table that grows and a store that is made, hurt and saved."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        steps = np.arange(30)
        self.table = pd.DataFrame(
            {"scene": "hall", "agent": "w", "time": steps * DT, "x": 0.6 * steps, "y": 1.0}
        )
        self.store, self.hurt = None, False

    @rule(rows=ROWS)
    def more_rows(self, rows):
        found = pd.DataFrame(rows, columns=["scene", "agent", "step", "x", "y"])
        found["time"] = found.pop("step") * DT
        self.table = pd.concat([self.table, found], ignore_index=True)

    @rule()
    def import_it(self):
        path = self.folder / "t.csv"
        self.table.to_csv(path, index=False)
        try:
            report = import_tracks("table", path, self.folder / "s.zarr", dt=DT, overwrite=True)
        except DataError:
            return
        self.store, self.hurt = open_store(self.folder / "s.zarr"), False
        apart = sum(report.quarantined.values())
        assert report.rows_kept == self.store.rows
        assert report.rows_read == report.rows_kept + apart + sum(report.dropped.values())

    @precondition(lambda self: self.store and not self.hurt)
    @rule()
    def a_whole_store_is_found_whole(self):
        assert [one.level for one in check(self.store.path)] == ["ok"]
        assert doctor(self.store)

    @precondition(lambda self: self.store and not self.hurt)
    @rule(history=st.integers(2, 9), horizon=st.integers(1, 6), stride=st.integers(1, 3))
    def windows_hold_rows_and_are_forecast(self, history, horizon, stride):
        data = TrackData(self.store, history=history, horizon=horizon, stride=stride)
        tracks = self.store.tracks()
        for part in ("train", "val", "test"):
            try:
                batches = list(data.batches(part, 64, shuffle=False))
            except DataError:
                continue
            for batch in batches:
                target = batch.target
                assert np.isfinite(batch.past[target]).all()
                assert np.isfinite(batch.future[target]).all()
                assert np.isin(batch.past[target].ravel(), tracks.position.ravel()).all()
                ahead = load("cv")([batch]).forecast(batch, 3, 1)
                assert ahead.shape[0] == 3
                assert np.isfinite(ahead[:, target]).all()

    @precondition(lambda self: self.store and not self.hurt)
    @rule(choice=st.integers(0), place=st.integers(0), bit=st.integers(0, 7))
    def hurt_it(self, choice, place, bit):
        files = sorted(p for p in self.store.path.rglob("*") if p.is_file())
        file = files[choice % len(files)]
        raw = bytearray(file.read_bytes())
        raw[place % len(raw)] ^= 1 << bit
        file.write_bytes(raw)
        self.hurt = True

    @precondition(lambda self: self.store and self.hurt)
    @rule()
    def damage_is_found_and_what_is_saved_is_true(self):
        assert [one.level for one in check(self.store.path)] == ["error"]
        saved = self.folder / "saved.zarr"
        try:
            told = repair_store(self.store.path, saved, overwrite=True)
        except DataError:
            return
        assert [one.level for one in check(saved)] == ["ok"]
        assert told.trajectories + told.lost_trajectories == self.store.trajectories

    @invariant()
    def nothing_lies_about(self):
        names = {path.name for path in getattr(self, "folder", Path("/nowhere")).glob("*")}
        assert names <= {"t.csv", "s.zarr", "saved.zarr"}

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class TestData(Data.TestCase):
    settings = settings(max_examples=5, stateful_step_count=8, deadline=None)


@pytest.mark.slow
class TestDataForLong(Data.TestCase):
    settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
