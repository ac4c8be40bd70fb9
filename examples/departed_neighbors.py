"""What neighbors who have left before the present step do to a run's forecasts.

    python examples/departed_neighbors.py RUN DATA [--split test] [--seeds 3]

Every window of a part is forecast three times from the same noise: as windows are cut (neighbors
are those seen at the present step), with everybody who was seen at any past step, and with nobody
else at all. Printed is the energy score of the targets, over all windows and over those in which
somebody has left. A predictor that leaves out who has left gives the first two the same score.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from trajflow import Predictor
from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import Tracks
from trajflow.datasets.store import open_store
from trajflow.metrics import energy_score
from trajflow.runs import RunFolder
from trajflow.types import Batch


def departed(batch: Batch, tracks: Tracks) -> np.ndarray:
    """Pasts of those who were seen before the present step but not at it, [B, N, T, D]."""
    length = batch.past.shape[2]
    found = []
    for scene, start in zip(batch.scene, batch.start, strict=True):
        ago = tracks.step - start
        rows = (tracks.scene[tracks.track] == scene) & (ago >= 0) & (ago < length)
        gone = np.setdiff1d(tracks.track[rows], tracks.track[rows & (ago == length - 1)])
        past = np.full((len(gone), length, batch.past.shape[3]), np.nan)
        rows &= np.isin(tracks.track, gone)
        place = np.searchsorted(gone, tracks.track[rows])
        past[place, ago[rows]] = tracks.position[rows]
        found.append(past)
    most = max(map(len, found))
    full = np.full((len(found), most, *batch.past.shape[2:]), np.nan)
    for row, past in zip(full, found, strict=True):
        row[: len(past)] = past
    return full


def widened(batch: Batch, past: np.ndarray) -> Batch:
    """The batch with more neighbors, [B, N, T, D]."""
    shape = past.shape[:2]
    future = np.full((*shape, *batch.future.shape[2:]), np.nan)
    return replace(
        batch,
        past=np.concatenate([batch.past, past], 1),
        future=np.concatenate([batch.future, future], 1),
        target=np.concatenate([batch.target, np.zeros(shape, bool)], 1),
        agent=np.concatenate([batch.agent, np.full(shape, -1)], 1),
    )


def scores(predictor: Predictor, batch: Batch, seeds: int) -> np.ndarray:
    """Energy score of each target, [N], a mean over seeds."""
    future = batch.future[batch.target]
    drawn = (predictor.forecast(batch, 20, seed)[:, batch.target] for seed in range(seeds))
    return np.mean([energy_score(one, future) for one in drawn], 0)


def main() -> None:
    """Forecast the windows of a part and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    predictor, config = Predictor.load(given.run), RunFolder.open(given.run).config
    store = open_store(given.data)
    data = TrackData(store, **config.data.model_dump())
    tracks = store.tracks()
    found, left = [], []
    for batch in data.batches(given.split, 256):
        gone = departed(batch, tracks)
        here = np.where(batch.target[..., None, None], batch.past, np.nan)
        ways = (batch, widened(batch, gone), replace(batch, past=here))
        found.append([scores(predictor, way, given.seeds) for way in ways])
        some = np.isfinite(gone).any((1, 2, 3))
        left.append(some[np.nonzero(batch.target)[0]])
    each, some = np.concatenate(found, 1), np.concatenate(left)
    print(f"{len(some)} windows of {given.split}, somebody has left in {some.mean():.1%} of them")
    print("| windows | present neighbors | and those who left | change | no neighbors |")
    print("|---|---|---|---|---|")
    for name, rows in (("all", some >= 0), ("somebody has left", some)):
        present, everybody, nobody = each[:, rows].mean(1)
        change = everybody / present - 1
        print(f"| {name} | {present:.5f} | {everybody:.5f} | {change:+.2%} | {nobody:.5f} |")


if __name__ == "__main__":
    main()
