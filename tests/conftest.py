"""Fixtures of several files: tracks, stores, commands that run in this process, a trained run."""

import gc
import io
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from trajflow.cli import main
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.schema import TrackBlock, Tracks
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter

LONGEST = (
    "test_distributed",
    "test_datasets_import",
    "test_tui_forecast",
    "test_cli_train",
    "test_tui_training",
    "test_training",
    "test_benchmark",
    "test_sklearn",
    "test_datasets_formats",
    "test_tutorials",
    "test_predict_tables",
    "test_datasets_quality",
    "test_memory",
    "test_scale",
    "test_remote",
    "test_tui_app",
    "test_tui_home",
    "test_workers",
    "test_race",
    "test_examples_service",
    "test_cli_calibrate",
    "test_tui_engine",
    "test_hub",
    "test_imports",
    "test_tui_cli",
)
"""Files that take longest. They come first, so that no process of `-n 2` works on one alone at the
end."""


def pytest_configure():
    """Hear Ctrl-C also where the tests run in the background, whose shell ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish():
    """Keep garbage collections from visiting all that was imported, which stays in any case."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def research_data():
    """The folder of the research data, which is no part of this project."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    for folder in (os.environ.get("TRAJFLOW_DATA"), beside):
        if folder and (Path(folder) / "ethucy_raw").is_dir():
            return Path(folder)
    pytest.skip(f"no research data: TRAJFLOW_DATA is not set to it and {beside} is not there")


@pytest.fixture(scope="session")
def ethucy(research_data, tmp_path_factory):
    """A store of the eight ETH/UCY recordings."""
    path = tmp_path_factory.mktemp("stores") / "ethucy.zarr"
    import_tracks("ethucy", research_data / "ethucy_raw", path)
    return open_store(path)


@pytest.fixture
def tracks_of():
    """Makes tracks in memory: `tracks_of([(scene, steps), ...])`, one random walk each."""

    def make(walks, dims=2, seed=0):
        chance = np.random.default_rng(seed)
        sizes = [len(steps) for _, steps in walks]
        count = len(walks)
        scenes = 1 + max(scene for scene, _ in walks)
        return Tracks(
            position=chance.normal(size=(sum(sizes), dims)).cumsum(0),
            step=np.concatenate([np.asarray(steps, np.int64) for _, steps in walks]),
            split=np.zeros(sum(sizes), np.int8),
            track=np.repeat(np.arange(count), sizes),
            scene=np.array([scene for scene, _ in walks]),
            agent=np.arange(count) + 100,
            kind=np.zeros(count, np.int64),
            scenes=[f"scene{i}" for i in range(scenes)],
            splits=["all"],
            types=["walker"],
            dt=0.5,
        )

    return make


@pytest.fixture
def store_of(tmp_path):
    """Writes a store: `store_of({scene: (split, [steps of an agent, ...])}, folds=None)`."""

    def make(scenes, folds=None, name="tracks.zarr"):
        with StoreWriter(tmp_path / name, dims=2, dt=0.5, unit="m", folds=folds) as writer:
            for scene, (split, walks) in scenes.items():
                steps = np.concatenate([np.asarray(walk) for walk in walks])
                writer.append(
                    TrackBlock(
                        scene=scene,
                        labels=list(range(len(walks))),
                        types=["walker"] * len(walks),
                        rowsize=np.array([len(walk) for walk in walks]),
                        time=steps * 0.5,
                        position=np.random.default_rng(len(steps)).normal(size=(len(steps), 2)),
                        split=split,
                    )
                )
        return open_store(tmp_path / name)

    return make


@pytest.fixture
def trajflow(capsys, monkeypatch):
    """Run a command in this process: its exit code, what it printed and what it said."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        out, said = capsys.readouterr()
        return int(left.value.code or 0), out, said

    return run


@pytest.fixture(scope="session")
def command():
    """As `trajflow`, for fixtures that several tests share; the command must succeed."""

    def run(*words: object) -> tuple[str, str]:
        out, said = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(said), pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        assert not left.value.code, said.getvalue()
        return out.getvalue(), said.getvalue()

    return run


@pytest.fixture(scope="session")
def fork(command, tmp_path_factory):
    """A small store of the fork: 40 walkers to learn from, 12 to choose by, 9 to judge on."""
    path = tmp_path_factory.mktemp("data") / "fork.zarr"
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9"]
    command("data", "make", "fork", "-o", path, "--seed", "3", *sizes)
    return path


@pytest.fixture(scope="session")
def tiny():
    """Words that make a training take seconds."""
    sizes = ("model.width=16", "model.decoder_width=16", "model.decoder_depth=1")
    times = ("train.epochs=2", "train.batch_size=20", "train.samples=5")
    return [word for setting in (*sizes, *times) for word in ("--set", setting)]


@pytest.fixture(scope="session")
def trained(command, fork, tiny, tmp_path_factory):
    """A run of two epochs, and what its training printed on stdout and stderr."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return path, *command("train", fork, "--out", path, "--seed", "5", *tiny)


@pytest.fixture
def walk(tmp_path):
    """Writes a CSV of two walkers, 30 steps of 0.5 s; the second one may jump away and back."""

    def write(jump=0.0):
        rows = ["id,t,lon,lat"]
        for step in range(30):
            rows.append(f"a,{step * 0.5},{step * 0.6},{0.01 * step}")
            rows.append(f"b,{step * 0.5},{step * 0.5},{5 + jump * (step == 15)}")
        (tmp_path / "walk.csv").write_text("\n".join(rows) + "\n")
        return tmp_path / "walk.csv"

    return write
