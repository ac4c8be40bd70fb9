"""`trajflow export`: a run as one file that needs no torch."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.console import say, say_json
from trajflow.cli.options import Json, Loud, Overwrite, RunPath, Steps
from trajflow.cli.tables import pairs


def export(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="With --check: also compare scores on these tracks."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="The file: .onnx, or .pt2 for torch.")
    ] = Path("model.onnx"),
    precision: Annotated[
        str, typer.Option(metavar="fp32|bf16|int8", help="What large products are computed in.")
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

    `trajflow.runtime.Predictor` forecasts from an .onnx file with numpy and onnxruntime alone; for
    a .pt2 file it needs torch. bf16 is for .pt2 files, int8 for .onnx files. With --check nothing
    is kept whose forecasts or, on the validation part of DATA, whose scores are farther from the
    run's than allowed.
    """
    from trajflow.cli.exporting import Wanted, export_run

    how = Wanted(precision, check, steps, surprise)
    told = export_run(run, data, out, how, overwrite)
    if as_json:
        say_json(told)
        return
    say(pairs(told))
