r"""What it is worth to have watched a place: scores of runs with, without and with emptied memory.

    trajflow train ethucy.zarr --config examples/benchmarks/pedestrians.toml -o none \
        --set data.fold=zara1 --set 'data.validation=["biwi_hotel"]'
    trajflow train ethucy.zarr ... -o memory --set model.memory=8
    python examples/benchmarks/memory.py ethucy.zarr --runs none memory [--minutes 0,1,5,15]

The validation split is judged, never the test split: "held" are recordings that were taken whole
out of training, "others" the late parts of recordings that were trained on. Scores are means over
windows of 20 plain draws; intervals are of the difference to the first run, by bootstrap over
people.
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
from trajflow.metrics import energy_score, min_ade, min_fde
from trajflow.runs import RunFolder, run_data
from trajflow.types import Batch, Bools, Floats, Ints

DRAWS, SIZE = 20, 256
Scores = dict[str, Floats]


def scores(predictor: Predictor, batches: Iterator[Batch], seed: int) -> Scores:
    """Scores of each window of the batches, their recordings and people, by name, [N]."""
    found: list[Scores] = []
    seconds = 0.0
    for number, batch in enumerate(batches):
        hidden = replace(batch, future=np.full_like(batch.future, np.nan))
        began = time.process_time()
        drawn = predictor.forecast(hidden, DRAWS, seed + number)[:, batch.target]
        seconds += time.process_time() - began
        truth, scene = batch.future[batch.target], np.nonzero(batch.target)[0]
        one = {"energy score": energy_score(drawn, truth), "minADE": min_ade(drawn, truth)}
        one |= {"minFDE": min_fde(drawn, truth), "scene": batch.scene[scene]}
        found.append(one | {"agent": batch.agent[batch.target]})
    joined = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    return joined | {"ms": np.array([1000 * seconds / len(joined["agent"])])}


def emptied(batches: Iterator[Batch]) -> Iterator[Batch]:
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


def report(name: str, one: Scores, first: Scores, kept: Bools, ms: bool = True) -> str:
    """A row of the table for the windows that are kept, [N]."""
    mean, base = one["energy score"][kept], first["energy score"][kept]
    low, high = interval(mean - base, one["agent"][kept])
    share = [100 * v / base.mean() for v in (mean.mean() - base.mean(), low, high)]
    means = [one[key][kept].mean() for key in ("energy score", "minADE", "minFDE")]
    words = "  ".join(f"{value:.4f}" for value in means)
    slow = f"  {one['ms'][0]:.2f}" if ms else ""
    return f"{name:28}  {words}  {share[0]:+.1f} % [{share[1]:+.1f}, {share[2]:+.1f}]{slow}"


def data_of(run: Path, data: Path, predictor: Predictor) -> TrackData:
    """The splits of a run, whose batches bring the memory that it looks at."""
    result = run_data(open_store(data), RunFolder.open(run))
    result.watch(predictor.format.memory, predictor.displacement_scale)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", default="", help="also with so many minutes watched alone")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    minutes = [float(word) for word in filter(None, asked.minutes.split(","))]
    rows: list[tuple[str, Scores]] = []
    for run in asked.runs:
        predictor = Predictor.load(run)
        data = data_of(run, asked.data, predictor)

        def windows(data: TrackData = data) -> Iterator[Batch]:
            return data.batches("val", SIZE)

        rows.append((run.name, scores(predictor, windows(), asked.seed)))
        if predictor.format.memory:
            rows.append((f"{run.name}, emptied", scores(predictor, emptied(windows()), asked.seed)))
        for late in minutes if predictor.format.memory else ():
            steps = round(60 * late / data.store.dt)
            data.watch(predictor.format.memory, predictor.displacement_scale, steps)
            rows.append((f"{run.name}, {late:g} min", scores(predictor, windows(), asked.seed)))
    print(f"tracks {data.store.fingerprint()[:12]}, draws {DRAWS}, seed {asked.seed}")
    held = [data.store.scenes.index(name) for name in data.split.validation]
    first = rows[0][1]
    for title, kept in (
        ("held", np.isin(first["scene"], held)),
        ("others", ~np.isin(first["scene"], held)),
    ):
        if kept.any():
            people = len(np.unique(first["agent"][kept]))
            print(f"\n{title}: {kept.sum()} windows, {people} people")
            print(f"{'':28}  energy  minADE  minFDE  to the first row  ms an agent")
            print("\n".join(report(name, one, first, kept) for name, one in rows))


if __name__ == "__main__":
    main()
