"""What the terminal application reads and starts: events, runs, stores, processes, the demo."""

import json
import math
import os
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tui_support import (
    append,
    evaluated,
    finished,
    make_run,
    started,
    step,
    whole_training,
)

from trajflow import jobs
from trajflow.browse.view import View
from trajflow.errors import RunError
from trajflow.history import EventReader, TrainingHistory, TrainingWatcher
from trajflow.library import (
    PRESETS,
    LibraryScanner,
    encoders,
    free_run,
    kind_of,
    read_run,
    read_store,
    store_of_run,
)
from trajflow.tui import demo
from trajflow.tui.demo import load_preview, pack
from trajflow.tui.tasks import scene_tracks


def steps_of(fresh):
    return [event["step"] for event in fresh.events]


class TestTail:
    def test_a_file_cut_at_any_byte_is_read_whole_in_the_end(self, tmp_path):
        raw = "".join(json.dumps(step(n)) + "\n" for n in range(3)).encode()
        path = tmp_path / "events.jsonl"
        for cut in range(0, len(raw) + 1, 7):
            path.write_bytes(raw[:cut])
            tail = EventReader(path)
            first = steps_of(tail.read())
            with path.open("ab") as file:
                file.write(raw[cut:])
            assert first + steps_of(tail.read()) == [0, 1, 2]
            assert not tail.invalid

    def test_nothing_is_read_twice(self, tmp_path):
        path = tmp_path / "events.jsonl"
        tail = EventReader(path)
        assert tail.read().events == ()
        append(tmp_path, step(1))
        assert steps_of(tail.read()) == [1]
        assert tail.read().events == ()

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_file_that_was_cut_or_replaced_is_read_anew(self, tmp_path, replace):
        path = tmp_path / "events.jsonl"
        tail = EventReader(path)
        append(tmp_path, step(1), step(2))
        tail.read()
        if replace:
            (tmp_path / "other").mkdir()
            append(tmp_path / "other", step(7), step(8), step(9))
            (tmp_path / "other" / "events.jsonl").replace(path)
        else:
            path.write_text(json.dumps(step(7)) + "\n")
        fresh = tail.read()
        assert fresh.restarted
        assert steps_of(fresh)[0] == 7
        assert not tail.read().restarted

    def test_lines_that_are_no_events_are_counted_and_passed_over(self, tmp_path):
        path = tmp_path / "events.jsonl"
        odd = [b"\xff\xfe{", b"[1, 2]", b'{"event": 3}', b"", b"[" * 100_000]
        path.write_bytes(b"\n".join([*odd, json.dumps(step(4)).encode(), b""]))
        tail = EventReader(path)
        assert steps_of(tail.read()) == [4]
        assert tail.invalid == len(odd)


class TestHistory:
    def test_it_knows_where_a_training_stands(self):
        history = TrainingHistory.of(whole_training())
        assert (history.step, history.steps, history.share) == (100, 100, 1.0)
        assert (history.epoch, history.epochs) == (5.0, 5.0)
        assert history.best("energy_score") == pytest.approx(0.4)
        assert history.best_epoch == 5.0
        assert history.reason == "done"

    def test_in_parts_is_as_at_once(self):
        events = whole_training()
        parts = TrainingHistory()
        for event in events:
            parts.add([event])
        assert parts == TrainingHistory.of(events)

    def test_a_resumed_training_forgets_what_it_does_again(self):
        said = [started(), step(10), step(20), step(30), evaluated(30, 0.5)]
        history = TrainingHistory.of([*said, finished(30, "stopped"), started(20), step(25)])
        assert [point.step for point in history.points] == [10, 20, 25]
        assert history.validations == []
        assert history.reason == ""

    @pytest.mark.parametrize("name", ["_init__", "_dict__", "_class__", ["step"], None, {}])
    def test_a_name_in_a_file_calls_nothing(self, name):
        history = TrainingHistory.of([started(), step(10), {"event": name, "step": 99, "other": 3}])
        assert history == TrainingHistory.of([started(), step(10)])

    def test_odd_values_do_no_harm(self):
        odd = {"event": "step", "step": "x", "loss": None, "weight": [], "rate": float("inf")}
        strange = [odd, {"event": "evaluated", "metrics": 3}, {"event": "add"}, {"event": "__x"}]
        history = TrainingHistory.of(
            [*strange, {"event": "evaluated", "metrics": {"energy_score": "no"}}]
        )
        assert math.isnan(history.points[0].loss)
        assert math.isnan(history.best("energy_score"))
        assert history.share == 0.0


class TestInventory:
    def test_it_finds_runs_and_stores_newest_first(self, tmp_path, fork):
        make_run(tmp_path / "a" / "old", whole_training(), age=9000)
        make_run(tmp_path / "b" / "c" / "new", [started(), step(5)], age=1000)
        shutil.copytree(fork, tmp_path / "fork.zarr")
        found = LibraryScanner(tmp_path).scan()
        assert [run.name for run in found.runs] == ["new", "old"]
        assert [run.state for run in found.runs] == ["stopped", "done"]
        assert [one.name for one in found.stores] == ["fork.zarr"]

    def test_depth_hidden_folders_and_circles_are_bounds(self, tmp_path):
        make_run(tmp_path / "1" / "2" / "deep")
        make_run(tmp_path / ".hidden" / "run")
        (tmp_path / "1" / "back").symlink_to(tmp_path)
        assert [run.name for run in LibraryScanner(tmp_path).scan().runs] == ["deep"]
        assert not LibraryScanner(tmp_path, depth=2).scan().runs

    def test_a_run_belongs_to_the_store_it_learned_from(self, tmp_path, fork):
        shutil.copytree(fork, tmp_path / "one.zarr")
        known = read_store(tmp_path / "one.zarr")
        make_run(tmp_path / "run", learned=known.fingerprint)
        make_run(tmp_path / "stranger", record={"dt": 9.0, "dims": 3})
        found = LibraryScanner(tmp_path).scan()
        run, stranger = sorted(found.runs, key=lambda one: one.name)
        assert found.store_of(run) == known
        assert found.store_of(stranger) is None
        assert store_of_run(tmp_path / "run") == tmp_path / "one.zarr"
        with pytest.raises(RunError, match="--resume"):
            store_of_run(tmp_path / "stranger")

    def test_the_fingerprint_is_that_of_the_opened_store(self, fork):
        from trajflow.datasets.store import open_store

        assert read_store(fork).fingerprint == open_store(fork).fingerprint()

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("run.json", b"{"),
            ("run.json", b"[]"),
            ("run.json", b'{"dt": 1' + b"0" * 400 + b"}"),
            ("run.json", b'{"dims": 1e400}'),
            ("run.json", b"[" * 100_000),
            ("config.toml", b"\xff"),
            ("config.toml", b"[model]\n"),
            ("events.jsonl", b"\x00" * 99),
        ],
    )
    def test_a_damaged_run_is_listed_as_such(self, tmp_path, name, content):
        run = make_run(tmp_path / "run", whole_training())
        (run / name).write_bytes(content)
        found = LibraryScanner(tmp_path).scan().runs[0]
        assert (found.state == "damaged") == (name != "events.jsonl")
        assert bool(found.problem) == (name != "events.jsonl")

    def test_a_foreign_zarr_group_is_not_ours_and_a_damaged_store_is(self, tmp_path, fork):
        (tmp_path / "foreign.zarr").mkdir()
        (tmp_path / "foreign.zarr" / "zarr.json").write_text('{"attributes": {}}')
        shutil.copytree(fork, tmp_path / "bad.zarr")
        (tmp_path / "bad.zarr" / "zarr.json").write_text("{")
        found = LibraryScanner(tmp_path).scan()
        assert [one.name for one in found.stores] == ["bad.zarr"]
        assert "damaged" in found.stores[0].problem
        assert kind_of(tmp_path / "foreign.zarr") is None

    def test_what_grows_is_read_again(self, tmp_path):
        run = make_run(tmp_path / "run", [started(), step(5)])
        inventory = LibraryScanner(tmp_path)
        assert inventory.scan().runs[0].history.step == 5
        append(run, step(10))
        assert inventory.scan().runs[0].history.step == 10

    def test_a_training_that_falls_silent_has_stopped(self, tmp_path):
        make_run(tmp_path / "now", [started(), step(5)], age=1)
        make_run(tmp_path / "then", [started(), step(5)], age=1000)
        states = {run.name: run.state for run in LibraryScanner(tmp_path).scan().runs}
        assert states == {"now": "training", "then": "stopped"}


class TestProcesses:
    def wait(self, holds, seconds=60.0):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.02)

    def test_a_command_that_fails_is_gone_and_its_words_stay(self, tmp_path):
        run = tmp_path / "runs" / "r"
        job = jobs.start_training(run, [str(tmp_path / "nothing.zarr")])
        self.wait(lambda: jobs.running_job(run) is None)
        assert any("no store at" in line for line in jobs.last_words(run))
        assert not run.exists()
        assert jobs.last_job(run) == job

    def test_a_reused_number_is_not_taken_for_the_training(self, tmp_path):
        run = tmp_path / "r"
        told = {"pid": os.getpid(), "command": [sys.executable, "-m", "trajflow", "train"]}
        jobs.log_path(run).write_bytes(jobs.MARK + json.dumps(told).encode() + b"}\n")
        assert jobs.last_job(run).pid == os.getpid()
        assert jobs.running_job(run) is None

    @pytest.mark.parametrize("raw", [b"", b"{", jobs.MARK, jobs.MARK + b"3}\n"])
    def test_a_log_of_something_else_does_no_harm(self, tmp_path, raw):
        jobs.log_path(tmp_path / "r").write_bytes(raw)
        assert jobs.last_job(tmp_path / "r") is None
        assert jobs.last_words(tmp_path / "r") == []


class Followed:
    """A training as a watch hears it."""

    def __init__(self, run):
        self.run, self.watch, self.history = run, TrainingWatcher(run), TrainingHistory()

    def until(self, holds):
        """Wait for as long as the process lives, and look once more at what it wrote last."""
        alive = True
        while True:
            news = self.watch.update()
            self.history.add(news.events)
            if holds(news):
                return news
            assert alive, jobs.last_words(self.run)
            alive = news.job is not None
            time.sleep(0.1)


def long_training(run, fork, tiny):
    long = [word.replace("epochs=2", "epochs=4000") for word in tiny]
    return jobs.start_training(run, [str(fork), *long])


def test_a_training_outlives_the_terminal_and_saves_when_stopped(tmp_path, fork, tiny):
    run = tmp_path / "runs" / "r"
    job, followed = long_training(run, fork, tiny), Followed(run)
    assert os.getsid(job.pid) == job.pid, "it would end with the terminal"
    followed.until(lambda _: followed.history.step > 0).job.stop()
    followed.until(lambda news: news.job is None and followed.history.reason)
    assert followed.history.reason == "stopped"
    assert any("--resume" in line for line in jobs.last_words(run))


@pytest.mark.slow
def test_a_stopped_training_goes_on_where_it_was(tmp_path, fork, tiny):
    run = tmp_path / "runs" / "r"
    long_training(run, fork, tiny)
    followed = Followed(run)
    followed.until(lambda _: followed.history.step > 0)
    with pytest.raises(RunError, match="is being trained"):
        jobs.start_training(run, [str(fork)])
    followed.until(lambda news: news.job is not None).job.stop()
    followed.until(lambda news: news.job is None)
    stopped = followed.history.step
    jobs.start_training(run, [str(store_of_run(run)), "--resume"])
    followed.until(lambda _: followed.history.step > stopped)
    assert followed.history.reason == ""
    followed.until(lambda news: news.job is not None).job.stop()
    followed.until(lambda news: news.job is None)


class TestDemo:
    def test_it_is_small_and_unpacked_whole(self, tmp_path):
        there = demo.unpack_demo(tmp_path)
        assert demo.unpack_demo(tmp_path) == there
        found = LibraryScanner(there).scan()
        assert [run.path for run in found.runs] == [there / demo.RUN]
        assert found.runs[0].weights
        assert found.store_of(found.runs[0]).path == there / demo.STORE
        assert list(tmp_path.iterdir()) == [there]

    def test_package_data_are_at_most_2_mb(self):
        folder = demo.ASSETS
        assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) <= 2e6

    def test_every_byte_of_its_store_is_what_was_written(self, tmp_path):
        from trajflow.datasets.store import open_store

        open_store(demo.unpack_demo(tmp_path) / demo.STORE).verify()

    def test_an_unpacking_that_fails_leaves_nothing(self, tmp_path, monkeypatch):
        def broken(self, place):
            raise OSError("disk full")

        monkeypatch.setattr(zipfile.ZipFile, "extractall", broken)
        with pytest.raises(ValueError, match="disk full"):
            demo.unpack_demo(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_the_preview_is_a_window_with_a_forecast(self):
        view = load_preview(demo.PREVIEW)
        assert view.samples.shape[:2] == (20, view.agents)
        assert np.isfinite(view.samples[:, view.target]).all()

    def test_its_run_forecasts_the_window_of_the_preview(self, tmp_path):
        from trajflow.browse.browser import Session

        there, known = demo.unpack_demo(tmp_path), load_preview()
        view = Session().browser(there / demo.RUN, there / demo.STORE, "test").view(known.index)
        np.testing.assert_allclose(view.samples, known.samples, atol=1e-3)

    def test_a_view_survives_the_file(self, tmp_path):
        rng = np.random.default_rng(3)
        view = View(
            past=rng.normal(size=(3, 5, 2)),
            future=rng.normal(size=(3, 4, 2)),
            target=np.array([True, False, True]),
            samples=rng.normal(size=(7, 3, 4, 2)),
            labels=("a", "[red]b[/]", ""),
            agent_types=("x", "y", "z"),
            scene="s",
            start=2,
            index=1,
            count=9,
            dt=0.5,
            unit="m",
        )
        np.savez(tmp_path / "v.npz", **pack(view))
        read = load_preview(tmp_path / "v.npz")
        np.testing.assert_allclose(read.past, view.past, rtol=1e-6)
        np.testing.assert_allclose(read.future, view.future, rtol=1e-6)
        assert (read.labels, read.scene, read.start) == (view.labels, "s", 2)

    def test_a_damaged_preview_is_none(self, tmp_path):
        (tmp_path / "v.npz").write_bytes(b"PK\x03\x04 no")
        assert load_preview(tmp_path / "v.npz") is None
        assert load_preview(tmp_path / "missing.npz") is None


class TestTracks:
    def test_tracks_are_counted_and_their_steps_drawn(self, tracks_of):
        tracks = tracks_of([(0, range(5)), (1, [0, 1, 3])])
        found = scene_tracks(tracks, "", "m")
        assert (found.tracks, found.steps.shape) == (2, (6, 2, 2))
        assert np.allclose(found.steps[0], tracks.position[:2])


def test_the_names_in_the_form_are_those_that_there_are():
    from trajflow.flow.presets import PRESETS as known
    from trajflow.nn import encoders as room

    # Other tests may have registered encoders of their own.
    shipped = [
        name for name in room.available() if (Path(room.__file__).parent / f"{name}.py").exists()
    ]
    assert encoders() == sorted(shipped)
    assert set(PRESETS) == set(known)


def test_a_new_run_takes_a_free_folder(tmp_path):
    first = free_run(tmp_path / "s.zarr", "gru", "mmf")
    make_run(first)
    second = free_run(tmp_path / "s.zarr", "gru", "mmf")
    assert first.parent == second.parent == tmp_path / "runs"
    assert not second.exists()


def test_reading_a_run_never_waits_for_a_pipe(tmp_path):
    run = make_run(tmp_path / "run", whole_training())
    (run / "events.jsonl").unlink()
    os.mkfifo(run / "events.jsonl")
    signal.alarm(5)
    try:
        assert read_run(run).history.step == 0
    finally:
        signal.alarm(0)
