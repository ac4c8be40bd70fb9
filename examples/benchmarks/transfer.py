"""Do other tracks help? Runs from random and pretrained weights, and forecasts of unseen places.

    python examples/benchmarks/transfer.py ethucy.zarr --sdd sdd_trajnet.csv.gz -o results
    python examples/benchmarks/transfer.py ... --updates 4000 --rows pretrained

Stanford Drone is imported in metres (the file says metres per pixel) and trained on first; then
each fold of ETH/UCY is trained twice with the settings of pedestrians.toml, from random weights and
with `--init` from the drone run. Two rows judge runs on the other data set without any training
there. All runs have the same number of updates on ETH/UCY, so the pretrained ones have seen more in
all. Weights are chosen on validation splits; the drone run has whole recordings for that. What is
in the folder already is not done again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from commands import trajflow

from trajflow.datasets import open_store

FOLDS = ("eth", "hotel", "univ", "zara1", "zara2")
HELD = ("bookstore_0", "deathCircle_1", "hyang_0", "nexus_0")
"""Training recordings of Stanford Drone that weights are chosen by."""
ROWS = ("random", "pretrained", "transfer")
SETTINGS = Path(__file__).with_name("pedestrians.toml")
SCORES = ("energy_score", "min_ade", "min_fde", "coverage_90")


def import_in_metres(table: Path, store: Path) -> None:
    """Import Stanford Drone with each recording's own metres per pixel."""
    if store.exists():
        return
    frame = pd.read_csv(table)
    frame[["x", "y"]] = frame[["x", "y"]].mul(frame["m_per_px"], axis=0)
    plain = store.with_suffix(".csv")
    frame.drop(columns="m_per_px").to_csv(plain, index=False)
    trajflow("data", "import", plain, "-o", store, "--unit", "m", "--speed-limit", "inf", "-q")


def train(store: Path, run: Path, updates: str, *words: str | Path) -> None:
    """Train a run, or go on with it, unless it is there whole."""
    if (run / "run.json").exists():
        trajflow("train", store, "--out", run, "--resume", "-q")
    else:
        words = ("--updates", updates, *words)
        trajflow("train", store, "--out", run, "--config", SETTINGS, "--no-race", "-q", *words)


def evaluate(run: Path, store: Path, result: Path, *words: str) -> dict[str, Any]:
    """Scores of a run on a test split; kept in a file."""
    if not result.exists():
        report = trajflow("evaluate", run, store, "--no-baselines", "--json", "-q", *words)
        result.write_text(report)
    return dict(json.loads(result.read_text()))


def main() -> None:
    """Train, judge and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ethucy", type=Path, help="the ETH/UCY store")
    parser.add_argument("--sdd", type=Path, required=True, help="sdd_trajnet.csv.gz")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--updates", default="2000", help="updates of each training; 2000")
    parser.add_argument("--rows", nargs="*", default=ROWS, choices=ROWS, help="rows of the table")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    drone, first = out / "sdd.zarr", out / f"sdd-{options.seed}"
    import_in_metres(options.sdd, drone)
    held = [name for name in HELD if name in open_store(drone).scenes]
    validation = f"data.validation={json.dumps(held)}"
    train(drone, first, options.updates, "--seed", options.seed, "--set", validation)
    rows: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in options.rows}
    for fold in FOLDS:
        for kind, words in (("random", ()), ("pretrained", ("--init", first))):
            if kind not in rows:
                continue
            run = out / f"{fold}-{kind}-{options.seed}"
            words = ("--seed", options.seed, "--set", f"data.fold={fold}", *words)
            train(options.ethucy, run, options.updates, *words)
            kept = out / f"{run.name}.json"
            rows[kind][fold] = evaluate(run, options.ethucy, kept, "--fold", fold)
        if "transfer" in rows:
            kept = out / f"transfer-{fold}-{options.seed}.json"
            rows["transfer"][fold] = evaluate(first, options.ethucy, kept, "--fold", fold)
    print("| weights | " + " | ".join(FOLDS) + " | mean: energy score, minADE / minFDE |")
    print("|---" * (len(FOLDS) + 2) + "|")
    for kind, reports in rows.items():
        scores = {fold: report["mean"] for fold, report in reports.items()}
        cells = [f"{scores[fold]['energy_score']:.3f}" for fold in FOLDS]
        energy, ade, fde = (
            np.mean([scores[fold][name] for fold in FOLDS])
            for name in ("energy_score", "min_ade", "min_fde")
        )
        print(f"| {kind} | {' | '.join(cells)} | {energy:.4f}, {ade:.3f} / {fde:.3f} |")
    judged = {"Stanford Drone, its own run": (first, "sdd")}
    if "random" in rows:
        judged["the zara1 run on it"] = (out / f"zara1-random-{options.seed}", "zara1")
    for name, (run, source) in judged.items():
        kept = out / f"{source}-sdd-{options.seed}.json"
        mean = evaluate(run, drone, kept)["mean"]
        shown = [f"{score} {mean[score]:.3f}" for score in SCORES]
        print(f"{name} (metres): {', '.join(shown)}")


if __name__ == "__main__":
    main()
