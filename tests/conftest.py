"""What several tests start from: the research data where there is any, and small made-up tracks."""

import os
from pathlib import Path

import numpy as np
import pytest

from trajflow.datasets.importing import import_tracks
from trajflow.datasets.store import open_store
from trajflow.datasets.tracks import TrackBlock, Tracks
from trajflow.datasets.writer import StoreWriter


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
