"""Forecasts written, drawn, exported and timed: predict, plot, export and bench."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trajflow.cli.console import ProgressBar, say, say_json
from trajflow.cli.options import (
    Address,
    DataPath,
    Device,
    Draws,
    Engine,
    Json,
    Loud,
    Overwrite,
    PictureOut,
    RunPath,
    Samples,
    Seed,
    Select,
    Split,
    Steps,
    Workers,
    assignments,
    jobs_of,
    split,
)
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, TrajflowError

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


def predict(
    run: RunPath,
    tracks: Annotated[
        Path, typer.Argument(metavar="TRACKS", help="A store, or a table: CSV, TSV, Parquet.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="Forecasts: .zarr, .csv, .parquet.")
    ],
    samples: Samples = 20,
    select: Select = None,
    draws: Draws = None,
    steps: Steps = 1,
    seed: Seed = 0,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Forecast all agents at every so many steps."),
    ] = None,
    split_name: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="train|val|test",
            help="Forecast only from steps of this split of the run; pasts reach further back.",
        ),
    ] = None,
    scene: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only of a recording; repeatable.")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL", help="Also write regions that hold this share, as 0.9, of the futures."
        ),
    ] = None,
    path: Annotated[
        bool, typer.Option("--path", help="Regions that hold all steps of a future at once.")
    ] = False,
    ood: Annotated[
        bool,
        typer.Option(
            "--ood", help="Also write OOD scores of the pasts, reasons, and the error to expect."
        ),
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x=lon,y=lat,...",
            help="Columns of a table, where they are not those that the run was trained on.",
        ),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Seconds between two rows of an agent in a table."),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Unit of a table; that of the run if left.")
    ] = None,
    dates: Annotated[
        str | None,
        typer.Option(metavar="dmy|mdy|ymd", help="Order of day, month and year in a table."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that forecast parts of the tracks; finished parts are kept in "
            "OUT.shards until OUT is written.",
        ),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Compute one of N shares of these parts and leave it in OUT.shards; without it, "
            "the command then writes OUT.",
        ),
    ] = None,
    engine: Engine = None,
    workers: Workers = None,
    address: Address = None,
    device: Device = "auto",
    backend: Annotated[
        str,
        typer.Option(
            metavar="auto|torch|onnx",
            help="What computes the forecasts of a run: its weights (torch), or the export in its "
            "folder (onnx); auto takes the export where it can.",
        ),
    ] = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Forecast what follows each agent's last step, or all agents at every so many steps.

    A table is read as the one that the run was trained on: with its columns, unit, step and number
    of coordinates. What does not fit is refused.
    """
    from trajflow.inference.predict import PredictOptions, predict_tracks

    processes = jobs_of(jobs, engine, workers, address)
    options = PredictOptions(
        samples=samples,
        select=select,
        draws=draws,
        steps=steps,
        seed=seed,
        every=every,
        split=split_name,
        scenes=tuple(scene or ()),
        level=coverage,
        path=path,
        ood=ood,
        columns=assignments(split(columns), "--columns"),
        dt=dt,
        unit=unit,
        dates=dates,
        backend=backend,
    )
    with ProgressBar("agents") as progress:
        facts = predict_tracks(
            run,
            tracks,
            out,
            options,
            device=device,
            overwrite=overwrite,
            progress=lambda agents: progress.report("agents", agents),
            jobs=processes,
            only=_share(shard),
            on_shards=progress.report,
        )
    if as_json:
        say_json(facts)
    else:
        say(facts["out"])


def _share(text: str | None) -> tuple[int, int] | None:
    """The numbers of "2/8".

    Raises:
        ConfigError: There are no such numbers.
    """
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard is K/N with K from 1 to N, as 2/8; got {text!r}")
    return int(number), int(count)


def plot(
    run: RunPath,
    data: DataPath,
    out: PictureOut,
    split: Split = "test",
    panels: Annotated[int, typer.Option(min=1, max=30, help="Windows drawn.")] = 6,
    scene: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only of a recording; repeatable.")
    ] = None,
    window: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Only this window of the split, numbered as in `trajflow tui`; repeatable.",
        ),
    ] = None,
    samples: Samples = 20,
    steps: Steps = 1,
    seed: Seed = 0,
    coverage: Annotated[
        float | None,
        typer.Option(metavar="LEVEL", help="Also draw what holds this share, as 0.9, of the ends."),
    ] = None,
    device: Device = "auto",
    loud: Loud = None,
) -> None:
    """Draw histories, truths and sampled futures, of windows spread over a split or by number."""
    from trajflow.inference.plot import plot_forecasts

    plot_forecasts(
        run,
        data,
        out,
        split=split,
        panels=panels,
        scenes=scene,
        windows=[number - 1 for number in window or ()],
        samples=samples,
        steps=steps,
        seed=seed,
        level=coverage,
        device=device,
    )
    say(str(out))


def export(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="With --check: tracks to compare scores on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The .onnx file; default: model.onnx in the run folder, where forecasts of the "
            "run use it, or model-int8.onnx.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="fp32|int8", help="Precision of large matrix products.")
    ] = "fp32",
    check: Annotated[
        bool,
        typer.Option("--check", help="First compare forecasts, and scores on DATA, with the run."),
    ] = False,
    ood: Annotated[
        bool, typer.Option("--ood/--no-ood", help="Whether to include the OOD detector.")
    ] = True,
    steps: Steps = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Export a run as an ONNX graph from pasts and noise to futures.

    Running the file needs numpy and onnxruntime only. With --check, the file is written only if its
    forecasts, and its scores on DATA, agree with those of the run.
    """
    from trajflow.export import ExportOptions, export_run

    options = ExportOptions(precision, check, steps, ood)
    exported = export_run(run, out, options, data, overwrite=overwrite)
    if as_json:
        say_json(exported)
    else:
        say(pairs(exported))


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
    if as_json:
        say_json(rows)
        return
    keys = [key for key in HEADERS if any(key in row for row in rows)]
    say(table([HEADERS[key] for key in keys], [[row.get(key) for key in keys] for row in rows]))


def _show_budget(
    budget: str, best: dict[str, Any] | None, rows: list[dict[str, Any]], timed: Any, as_json: bool
) -> None:
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
    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise ConfigError(f"{option} takes whole numbers of at least 1, such as 1,64; got {text!r}")
    return counts
