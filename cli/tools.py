"""`trajflow export` and `trajflow doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.console import say, say_json, show_findings
from trajflow.cli.options import Json, Loud, Overwrite, RunPath, Steps
from trajflow.cli.tables import pairs


def export(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="With --check: also compare scores on these tracks."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The .onnx file.")] = Path(
        "model.onnx"
    ),
    precision: Annotated[
        str, typer.Option(metavar="fp32|int8", help="What large products are computed in.")
    ] = "fp32",
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare forecasts, and scores on DATA, before it is kept."),
    ] = False,
    surprise: Annotated[
        bool,
        typer.Option(
            "--surprise/--no-surprise",
            help="Whether what says how strange a past is goes along; it is half of the file.",
        ),
    ] = True,
    steps: Steps = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Write a run as a graph that takes pasts and noise and gives futures.

    The file is opened with numpy and onnxruntime alone. With --check it is kept only if its
    forecasts and, on the validation split of DATA, its scores are as near to the run's as allowed.
    """
    from trajflow.export import ExportOptions, export_run

    options = ExportOptions(precision, check, steps, surprise)
    exported = export_run(run, out, options, data, overwrite=overwrite)
    if as_json:
        say_json(exported)
    else:
        say(pairs(exported))


def doctor(
    path: Annotated[
        Path | None, typer.Argument(metavar="[DATA|RUN]", help="A store, or a run folder.")
    ] = None,
    history: Annotated[int, typer.Option(min=1, help="Past steps of the windows counted.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Future steps of these windows.")] = 12,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Examine tracks, a run, or without either the machine, before an hour is spent on them.

    Tracks: units, clock, gaps, jumps, reused ids, standing agents, leaks. A run: whether every
    file is what was written, and loads. The machine: what is installed, device, threads, disk.
    The exit code is 3 if something is an error.
    """
    from trajflow.doctor import check_machine, check_run, is_run

    if path is None:
        show_findings(check_machine(Path()), as_json)
    elif is_run(path):
        show_findings(check_run(path), as_json)
    else:
        from trajflow.datasets.doctor import doctor as check_store
        from trajflow.datasets.store import open_store

        show_findings(check_store(open_store(path), history, horizon), as_json)
