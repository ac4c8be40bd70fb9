"""`trajflow predict` and `trajflow plot`: forecasts of a run, written or drawn."""

from pathlib import Path
from typing import Annotated

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
from trajflow.errors import ConfigError


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
    samples: Annotated[int, typer.Option(min=1, help="Futures drawn of each agent.")] = 20,
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
