"""Give tables that do not fit to a run and to its export: each is refused by name, in one line.

    python examples/faults/wrong_tables.py [--json]

A run is trained on a table in metres, every 0.4 s, with columns of its own names. Then
`trajflow predict` gets tables in pixels, with other clocks, columns and coordinates. Whatever does
not fit must end in exit code 2, one line that has the value and the way out, and no forecasts;
whatever fits must be forecast without an option, and no row of a forecast may repeat the key of
another.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import measured
from tiny_run import SIZES, TIMES

COLUMNS = ["who", "clock", "u", "v"]
KEY = ["scene", "agent", "issued_at", "lead", "sample"]
DT = 0.4
Change = Callable[[pd.DataFrame], pd.DataFrame]
WRONG: dict[str, tuple[Change, list[str], list[str]]] = {
    "pixels": (lambda t: times(t, 40), [], ["another unit", "--scale"]),
    "pixels by name": (
        lambda t: times(t, 40).rename(columns={"u": "x_px", "v": "y_px"}),
        ["--columns", "x=x_px,y=y_px"],
        ["'px'", "'m'", "--unit m"],
    ),
    "degrees by name": (
        lambda t: t.rename(columns={"u": "lon", "v": "lat"}),
        ["--columns", "x=lon,y=lat"],
        ["'degree'", "'m'", "--unit m"],
    ),
    "pixels by the user's word": (lambda t: t, ["--unit", "px"], ["'px'", "'m'"]),
    "millimetres": (lambda t: times(t, 1000), [], ["another unit", "--scale"]),
    "every 0.5 s": (
        lambda t: t.assign(clock=t.clock * 1.25),
        [],
        ["every 0.5 s", "every 0.4 s", "resample"],
    ),
    "milliseconds": (
        lambda t: t.assign(clock=t.clock * 1000),
        [],
        ["every 400 s", "every 0.4 s"],
    ),
    "another --dt": (lambda t: t, ["--dt", "0.5"], ["every 0.5 s", "every 0.4 s"]),
    "frames for seconds": (
        lambda t: t.assign(clock=(t.clock / DT).round()).rename(columns={"clock": "frame"}),
        ["--columns", "frame=frame"],
        ["frames", "--dt"],
    ),
    "no agent": (lambda t: t.drop(columns="who"), [], ["'who' for agent", "--columns agent="]),
    "another x": (lambda t: t.rename(columns={"u": "x"}), [], ["'u' for x", "--columns x="]),
    "two columns u": (lambda t: t.assign(w=t.u).set_axis([*COLUMNS, "u"], axis=1), [], ["'u'"]),
    "an escape for a column": (
        lambda t: t.rename(columns={"u": "\x1b]0;u\x07"}),
        [],
        ["'u' for x"],
    ),
}
"""How the table is changed, the options beside it, and what must be said."""
RIGHT: dict[str, tuple[Change, list[str]]] = {
    "a table like that of the run": (lambda t: t, []),
    "a clock that jitters": (lambda t: t.assign(clock=t.clock + noise(t, 0.004)), []),
    "heights": (lambda t: t.assign(z=1.7), []),
    "other columns beside": (lambda t: t.assign(x=t.u * 99, y=t.v * 99, time=0, id=1), []),
    "a renamed column": (lambda t: t.rename(columns={"u": "x"}), ["--columns", "x=x"]),
    "a clock of the day": (lambda t: t.assign(clock=t.clock + 86_000.15), []),
    "fast agents whose unit is given": (lambda t: times(t, 40), ["--unit", "m"]),
}


def times(table: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The table with its positions multiplied."""
    return table.assign(u=table.u * factor, v=table.v * factor)


def noise(table: pd.DataFrame, deviation: float) -> np.ndarray:
    """Normal noise for each row."""
    return np.random.default_rng(1).normal(0, deviation, len(table))


def walkers(agents: int, steps: int) -> pd.DataFrame:
    """Rows of people who walk about 1 m/s."""
    chance = np.random.default_rng(0)
    velocity, start = chance.normal(0, 0.9, (agents, 2)), chance.uniform(0, 9, (agents, 2))
    agent, step = np.indices((agents, steps)).reshape(2, -1)
    place = start[agent] + velocity[agent] * step[:, None] * DT
    place += chance.normal(0, 0.02, place.shape)
    values = {"who": agent, "clock": step * DT, "u": place[:, 0], "v": place[:, 1]}
    return pd.DataFrame(values)


def prepare(folder: Path) -> list[Path]:
    """Train a run on a table, and export it."""
    walkers(8, 80).to_csv(folder / "train.csv", index=False)
    columns = "agent=who,time=clock,x=u,y=v"
    cut = ("data.split=time", "data.horizon=4", "data.fractions=[0.6,0.4,0.0]", "train.epochs=1")
    settings = [word for setting in (*SIZES, *TIMES, *cut) for word in ("--set", setting)]
    imported = ["data", "import", "table", "train.csv", "-o", "t.zarr", "--unit", "m"]
    trained = ["train", "t.zarr", "--out", "run", "-q", *settings]
    exported = ["export", "run", "-o", "run.onnx", "-q"]
    for words in ([*imported, "--columns", columns], trained, exported):
        done = measured(words, cwd=folder, seconds=600)
        if done.code:
            sys.exit(f"trajflow {' '.join(words)}: exit code {done.code}, {done.said}")
    return [folder / "run", folder / "run.onnx"]


def refused(run: Path, name: str) -> list[str]:
    """What was wrong with how a table was refused."""
    change, words, told = WRONG[name]
    done, out = predict(run, change(walkers(3, 12)), words)
    lines = done.said.strip().splitlines()
    checks = {
        f"exit code {done.code}": done.code == 2,
        f"{len(lines)} lines": len(lines) == 1 and lines[0].startswith("error"),
        "an escape": not any(ord(c) < 32 and c != "\n" for c in done.said),
        "forecasts": not out.exists(),
    }
    checks |= {f"nothing of {word}": word in done.said for word in told}
    return [what for what, holds in checks.items() if not holds]


def forecast(run: Path, name: str) -> list[str]:
    """What was wrong with the forecasts of a table that fits."""
    change, words = RIGHT[name]
    done, out = predict(run, change(walkers(3, 12)), [*words, "--every", "2"])
    if done.code:
        return [f"exit code {done.code}: {done.said.strip()}"]
    futures = pd.read_csv(out)
    checks = {
        "a word on stderr": not done.said,
        f"{futures.agent.nunique()} agents": futures.agent.nunique() == 3,
        "a key twice": not futures.duplicated(KEY).any(),
    }
    return [what for what, holds in checks.items() if not holds]


def predict(run: Path, table: pd.DataFrame, words: list[str]):
    """Forecast a table; how the command ended, and where forecasts are if there are any."""
    path, out = run.parent / "now.csv", run.parent / "out.csv"
    table.to_csv(path, index=False)
    out.unlink(missing_ok=True)
    return measured(["predict", run, path, "-o", out, "-q", "--samples", "2", *words]), out


def main() -> None:
    """Try all tables on both and say which failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="wrong-tables-") as place:
        for run in prepare(Path(place)):
            for judge, names in ((refused, WRONG), (forecast, RIGHT)):
                for name in names:
                    found[f"{run.name}: {name}"] = faults = judge(run, name)
                    if not asked.json:
                        print(f"{run.name:9} {name:32} {'; '.join(faults) or 'ok'}", flush=True)
    failed = sum(bool(faults) for faults in found.values())
    if asked.json:
        print(json.dumps({"tables": len(found), "failed": failed, "faults": found}, indent=1))
    else:
        print(f"{len(found)} tables, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
