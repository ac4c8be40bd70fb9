r"""Compare runs with and without scene memory and earlier paths, and with the memory removed.

    trajflow train ethucy.zarr --config examples/benchmarks/pedestrians.toml -o none \
        --set data.fold=zara1 --set 'data.validation=["biwi_hotel"]'
    trajflow train ethucy.zarr ... -o memory --set model.memory=8
    python examples/benchmarks/memory.py ethucy.zarr --runs none memory [--minutes 0,1,5,15]

Scores are on the validation split, never on the test split: "held" are recordings held out of
training, "others" the ends of training recordings. Scores are means over windows with 20 plain
samples; intervals are of the difference from the first run, by bootstrap over people.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from trajflow import Predictor
from trajflow.datasets import open_store
from trajflow.datasets.loader import TrackData
from trajflow.earlier_paths import TRACKS
from trajflow.evaluation.earlier_paths import WithEarlierPaths
from trajflow.metrics import energy_score, min_ade, min_fde
from trajflow.runs import RunFolder, run_data
from trajflow.types import Batch, Bools, Floats, Forecaster, Ints

SAMPLES, BATCH_SIZE = 20, 256
Scores = dict[str, Floats]


def score_windows(forecaster: Forecaster, batches: Iterator[Batch], seed: int) -> Scores:
    """Scores, recording and person of each window, [N], by name; and milliseconds per agent."""
    parts: list[Scores] = []
    seconds = 0.0
    for number, batch in enumerate(batches):
        hidden = replace(batch, future=np.full_like(batch.future, np.nan))
        start = time.process_time()
        drawn = forecaster.forecast(hidden, SAMPLES, seed + number)[:, batch.target]
        seconds += time.process_time() - start
        truth, scene = batch.future[batch.target], np.nonzero(batch.target)[0]
        part = {"energy score": energy_score(drawn, truth), "minADE": min_ade(drawn, truth)}
        part |= {"minFDE": min_fde(drawn, truth), "scene": batch.scene[scene]}
        parts.append(part | {"agent": batch.agent[batch.target]})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return joined | {"ms": np.array([1000 * seconds / len(joined["agent"])])}


def without_memory(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches without their memory."""
    return (replace(batch, memory=None) for batch in batches)


def interval(difference: Floats, agent: Ints, resamples: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean of a difference [N] by bootstrap over agents [N]."""
    _, person = np.unique(agent, return_inverse=True)
    total, count = np.bincount(person, difference), np.bincount(person)
    rows = np.random.default_rng(0).integers(0, len(count), (resamples, len(count)))
    means = total[rows].sum(1) / count[rows].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def table_row(name: str, scores: Scores, reference: Scores, windows: Bools) -> str:
    """A row of the table for some of the windows, [N]."""
    energy, base = (s["energy score"][windows] for s in (scores, reference))
    low, high = interval(energy - base, scores["agent"][windows])
    change = [100 * v / base.mean() for v in (energy.mean() - base.mean(), low, high)]
    means = [scores[key][windows].mean() for key in ("energy score", "minADE", "minFDE")]
    cells = "  ".join(f"{value:.4f}" for value in means)
    percent = f"{change[0]:+.1f} % [{change[1]:+.1f}, {change[2]:+.1f}]"
    return f"{name:28}  {cells}  {percent}  {scores['ms'][0]:.2f}"


def data_of(run: Path, data: Path, predictor: Predictor) -> TrackData:
    """The splits of a run, with the scene memory that its network uses."""
    result = run_data(open_store(data), RunFolder.open(run))
    result.watch(predictor.format.memory, predictor.displacement_scale)
    return result


def _batches(tracks: TrackData) -> Iterator[Batch]:
    """The windows in the order of time, in which earlier paths are learned."""
    return tracks.batches("val", BATCH_SIZE, by_time=True)


def run_rows(
    run: Path, data: Path, minutes: list[float], seed: int
) -> Iterator[tuple[str, Scores]]:
    """Score a run: as trained, with earlier paths, and without its memory or with a shorter one."""
    predictor = Predictor.load(run)
    tracks = data_of(run, data, predictor)
    memory, scale = predictor.format.memory, predictor.displacement_scale
    yield run.name, score_windows(predictor, _batches(tracks), seed)
    for length in (None, *minutes):
        age = None if length is None else round(60 * length / tracks.store.dt)
        tracks.watch(memory or TRACKS, scale, age)
        forecaster = WithEarlierPaths(predictor, tracks.store.scenes)
        batches = forecaster.watching(_batches(tracks))
        name = f"{run.name}, paths" + ("" if length is None else f" of {length:g} min")
        yield name, score_windows(forecaster, batches, seed)
    if not memory:
        return
    tracks.watch(memory, scale)
    batches = without_memory(_batches(tracks))
    yield f"{run.name}, no memory", score_windows(predictor, batches, seed)
    for length in minutes:
        tracks.watch(memory, scale, round(60 * length / tracks.store.dt))
        batches = _batches(tracks)
        yield f"{run.name}, {length:g} min", score_windows(predictor, batches, seed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="store of the tracks")
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders")
    parser.add_argument(
        "--minutes", default="", help="also with a memory of these minutes only, like 1,5"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed; 0")
    options = parser.parse_args()
    minutes = [float(word) for word in filter(None, options.minutes.split(","))]
    rows = [
        row for run in options.runs for row in run_rows(run, options.data, minutes, options.seed)
    ]
    store = open_store(options.data)
    print(f"tracks {store.fingerprint()[:12]}, samples {SAMPLES}, seed {options.seed}")
    validation = run_data(store, RunFolder.open(options.runs[-1])).split.validation
    first = rows[0][1]
    held = np.isin(first["scene"], [store.scenes.index(name) for name in validation])
    for title, windows in (("held", held), ("others", ~held)):
        if windows.any():
            people = len(np.unique(first["agent"][windows]))
            print(f"\n{title}: {windows.sum()} windows, {people} people")
            print(f"{'':28}  energy  minADE  minFDE  change             ms per agent")
            print("\n".join(table_row(name, scores, first, windows) for name, scores in rows))


if __name__ == "__main__":
    main()
