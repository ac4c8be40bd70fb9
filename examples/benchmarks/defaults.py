"""Train each data set once with the default settings, and compare with every baseline.

    python examples/benchmarks/defaults.py -o results --data DATA [--time-limit 10m] [--only pusht]

DATA is a folder of research data, not part of the repository (hurdat2.csv.gz, pusht.csv.gz,
sdd_trajnet.csv.gz, ethucy_raw/). The crowd, the dynamical systems and the vehicles are generated.
Each data set is imported, trained with `trajflow train STORE --time-limit LIMIT`, and evaluated on
its test split with 20 plain samples; "watched" is the score of a run for which the race chose
memory. Selection and calibration use validation people only. Finished data sets are not trained
again, so the command continues after an interruption.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from commands import trajflow

from trajflow.evaluation.comparison import evaluate_baselines

LIMIT = "10m"
SPEEDS = {"bus": 7.0, "car": 11.0, "cyclist": 4.5, "pedestrian": 1.4, "tram": 9.0, "truck": 8.0}
"""Mean speed of each type of vehicle, metres per second."""
VEHICLES, DT = 900, 0.4


@dataclass(frozen=True)
class DataSet:
    """A data set and its split.

    Attributes:
        make: Writes the store, given the folder of research data and the path of the store.
        settings: Settings that define the splits.
    """

    make: Callable[[Path, Path], None]
    settings: tuple[str, ...] = ()


def imported(name: str, *options: str) -> Callable[[Path, Path], None]:
    """A function that imports a file of the research data."""
    return lambda data, store: print(
        trajflow("data", "import", data / name, "-o", store, "-q", *options), end=""
    )


def generated(kind: str, *options: str) -> Callable[[Path, Path], None]:
    """A function that generates a store."""
    return lambda data, store: print(
        trajflow("data", "make", kind, "-o", store, "-q", *options), end=""
    )


def vehicles(data: Path, store: Path) -> None:
    """Generate and import a recording of six types of vehicles on four crossing routes."""
    table = store.with_suffix(".csv")
    vehicle_table(seed=0).to_csv(table, index=False)
    trajflow("data", "import", table, "-o", store, "-q", "--unit", "m")


def vehicle_table(seed: int) -> pd.DataFrame:
    """Generate tracks with columns agent, type, t, x, y.

    A route is an arc, and each type has its own position in the lane. Speeds follow a
    mean-reverting random walk around the mean of the type. Buses and trams stop halfway.
    """
    rng = np.random.default_rng(seed)
    types = sorted(SPEEDS)
    tables = []
    for agent in range(VEHICLES):
        kind = types[rng.integers(len(types))]
        angle = np.pi / 2 * rng.integers(4)
        radius = rng.choice([60.0, 150.0, 1e5])
        side = -2.0 + types.index(kind) * 1.2 + rng.normal(0, 0.25)
        stop = 100.0 if kind in ("bus", "tram") else np.inf
        wait, speed = rng.uniform(3, 9), SPEEDS[kind] * rng.normal(1, 0.12)
        distance, distances = 0.0, []
        while distance < 200 and len(distances) < 200:
            distances.append(distance)
            speed += 0.15 * (SPEEDS[kind] - speed) + rng.normal(0, 0.06 * SPEEDS[kind])
            braking = np.clip((stop - distance) / 15, 0, 1) if distance < stop else 1.0
            if braking < 0.05 and wait > 0:
                wait -= DT
                continue
            distance += max(speed * max(braking, 0.04), 0.0) * DT
        turn = np.array(distances) / radius
        arc = (radius - side) * np.stack([np.sin(turn), 1 - np.cos(turn)], -1)
        lane = arc + np.array([-100.0, side])
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        position = lane @ rotation + rng.normal(0, 0.03, lane.shape)
        start = DT * rng.integers(0, 9000)
        tables.append(
            pd.DataFrame(
                {
                    "agent": f"v{agent}",
                    "type": kind,
                    "t": start + DT * np.arange(len(position)),
                    "x": position[:, 0],
                    "y": position[:, 1],
                }
            )
        )
    return pd.concat(tables).round(4)


SETS = {
    "hurdat2": DataSet(imported("hurdat2.csv.gz", "--unit", "degree")),
    "pusht": DataSet(imported("pusht.csv.gz", "--unit", "px"), ("data.split=scene",)),
    "sdd": DataSet(imported("sdd_trajnet.csv.gz", "--unit", "px", "--speed-limit", "inf")),
    "zara1": DataSet(imported("ethucy_raw"), ("data.fold=zara1",)),
    "eth": DataSet(imported("ethucy_raw"), ("data.fold=eth",)),
    "crowd": DataSet(generated("crowd")),
    "ode": DataSet(generated("ode")),
    "vehicles": DataSet(vehicles, ("data.split=agent",)),
}


def run_set(name: str, folder: Path, data: Path, limit: str) -> dict[str, Any]:
    """Import, train and evaluate a data set, unless its result is in the folder."""
    result = folder / f"{name}.json"
    if result.exists():
        return dict(json.loads(result.read_text()))
    store, run, dataset = folder / f"{name}.zarr", folder / f"{name}.run", SETS[name]
    if not store.exists():
        dataset.make(data, store)
    settings = [word for setting in dataset.settings for word in ("--set", setting)]
    start = time.monotonic()
    new = ["--time-limit", limit, *settings]
    trajflow("train", store, "--out", run, *(["--resume"] if run.exists() else new))
    seconds = time.monotonic() - start
    report = json.loads(trajflow("evaluate", run, store, "--no-baselines", "--json"))
    plain = report.get("unwatched", report)  # what baselines know too
    baselines = evaluate_baselines(run, store)
    scores = ("energy_score", "min_ade", "coverage_90", "spread_ratio")
    values = {
        "set": name,
        "unit": report["protocol"]["unit"],
        "fingerprint": report["protocol"]["fingerprint"],
        "windows": report["windows"],
        "people": report["people"],
        "seconds": seconds,
        "interval": plain["intervals"]["energy_score"],
        "mean": {score: plain["mean"][score] for score in scores},
        "window_mean": {score: plain["window_mean"][score] for score in scores},
        "watched": report["window_mean"]["energy_score"] if plain is not report else None,
        "baselines": {
            baseline: {
                "mean": {score: other["mean"][score] for score in scores},
                "window_mean": {score: other["window_mean"][score] for score in scores},
            }
            for baseline, other in baselines.items()
        },
    }
    result.write_text(json.dumps(values, indent=1))
    return values


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table: energy scores of the run and of the best baseline."""
    lines = [
        "| set | windows (agents) | run | best baseline | gain by window | gain by recording "
        "| coverage@90 | spread ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        window, mean = result["window_mean"], result["mean"]
        baselines = result["baselines"]
        gain = {}
        for kind, own in (("window_mean", window), ("mean", mean)):
            best = min(baselines, key=lambda name: baselines[name][kind]["energy_score"])
            lowest = baselines[best][kind]["energy_score"]
            gain[kind] = (best, lowest, 100 * (1 - own["energy_score"] / lowest))
        best, lowest, percent = gain["window_mean"]
        watched = f", watched {result['watched']:.4g}" if result["watched"] else ""
        lines.append(
            f"| {result['set']} | {result['windows']} ({result['people']}) "
            f"| {window['energy_score']:.4g}{watched} {result['unit']} | {best} {lowest:.4g} "
            f"| {percent:+.1f} % | {gain['mean'][2]:+.1f} % "
            f"| {100 * window['coverage_90']:.1f} % | {window['spread_ratio']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the data sets in turn and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="results folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the research data")
    parser.add_argument("--time-limit", default=LIMIT, help="time of each training; 10m")
    parser.add_argument(
        "--only", default=",".join(SETS), help="data sets, separated by commas; all"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in options.only.split(","):
        results.append(run_set(name, options.out, options.data, options.time_limit))
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
