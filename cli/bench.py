"""`trajflow bench`: measures the time of a forecast on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trajflow.cli.options import Device, Json, Loud, Samples

HEADERS = {
    "model": "model",
    "backend": "backend",
    "precision": "precision",
    "threads": "threads",
    "agents": "agents",
    "samples": "samples",
    "least_ms": "least ms",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_ms": "CPU ms",
    "agents_per_s": "agents/s",
    "floor_ms": "floor ms",
    "x_floor": "x floor",
    "x_first": "x first",
}


def bench(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN|MODEL.onnx ...]",
            help="Runs and exported models; none: an untrained network of the default size.",
        ),
    ] = None,
    agents: Annotated[
        str, typer.Option(metavar="1,64", help="Numbers of agents that one call forecasts.")
    ] = "1,64",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="10ms",
            help="Find the settings that fit this time, and print Python code for them.",
        ),
    ] = None,
    neighbors: Annotated[int, typer.Option(min=0, help="Neighbors, which are not forecast.")] = 60,
    samples: Samples = 20,
    threads: Annotated[str, typer.Option(metavar="1,2", help="Numbers of threads.")] = "1",
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Time for each case, in turns with the others.")
    ] = 2.0,
    device: Device = "cpu",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Measure the time of forecasts of runs and exported models, in turns.

    The floor is the time of a forecast's matrix products alone, one by one, in float32.
    """
    from trajflow.cli.console import ProgressBar
    from trajflow.latency import Model, fit_budget, measure_latency, parse_milliseconds

    counts, numbers = _counts(agents, "--agents"), _counts(threads, "--threads")
    timed = [Model(path, device) for path in models or []] or [Model(None, device)]
    with ProgressBar("timed", 100) as bar:
        options: dict[str, Any] = {
            "neighbors": neighbors,
            "seconds": seconds,
            "progress": lambda share: bar.update(int(100 * share), ""),
        }
        if budget is None:
            rows = measure_latency(timed, counts, samples=samples, threads=numbers, **options)
        else:
            limit = parse_milliseconds(budget)
            best, rows = fit_budget(timed, limit, max(counts), samples, **options)
    if budget is None:
        _show(rows, as_json)
    else:
        _show_budget(budget, best, rows, timed, as_json)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    from trajflow.cli.console import say, say_json
    from trajflow.cli.tables import table

    if as_json:
        say_json(rows)
        return
    keys = [key for key in HEADERS if any(key in row for row in rows)]
    say(table([HEADERS[key] for key in keys], [[row.get(key) for key in keys] for row in rows]))


def _show_budget(
    budget: str, best: dict[str, Any] | None, rows: list[dict[str, Any]], timed: Any, as_json: bool
) -> None:
    from trajflow.cli.console import say, say_json
    from trajflow.errors import TrajflowError

    lines = _python(best, timed) if best else []
    if as_json:
        say_json({"fits": best is not None, "chosen": best, "tried": rows, "code": lines})
    else:
        _show(rows, as_json=False)
        say("\n".join(["", *lines]))
    if best is None:
        fastest = min(row["p99_ms"] for row in rows)
        raise TrajflowError(
            f"nothing fits into {budget}: the fastest needs {fastest:.3g} ms (99 of 100 calls); "
            "allow more time or fewer --agents, or `trajflow export` the run and pass the .onnx "
            "file here too"
        )


def _python(row: dict[str, Any], timed: Any) -> list[str]:
    """Python code that forecasts with the settings of a row."""
    path = next(m.path for m in timed if m.facts(row["threads"])["model"] == row["model"]) or "RUN"
    call = f"forecast = predictor.predict(past, neighbors, samples={row['samples']})"
    if row["backend"] == "onnx":
        load = f"predictor = Predictor.load({str(path)!r}, threads={row['threads']})"
        return ["from trajflow import Predictor", load, call]
    lines = ["import torch", "from trajflow import Predictor"]
    lines.append(f"torch.set_num_threads({row['threads']})")
    return [*lines, f"predictor = Predictor.load({str(path)!r}, backend='torch')", call]


def _counts(text: str, option: str) -> tuple[int, ...]:
    from trajflow.errors import ConfigError

    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise ConfigError(f"{option} takes whole numbers of at least 1, such as 1,64; got {text!r}")
    return counts
