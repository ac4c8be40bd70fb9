"""`trajflow bench`: what a forecast and a training step cost here."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.options import Device, Json, Loud, Samples


def bench(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN|MODEL.onnx ...]",
            help="Runs and exported models; none: a new network of the default size.",
        ),
    ] = None,
    show: Annotated[
        str,
        typer.Option(
            metavar="latency,sets,training,evaluations,footprint", help="What to measure."
        ),
    ] = "latency,sets,training,evaluations,footprint",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="10ms", help="Find what fits into this time for --agents, and say how."
        ),
    ] = None,
    agents: Annotated[
        str, typer.Option(metavar="1,64", help="Agents that are forecast in one call.")
    ] = "1,64",
    neighbours: Annotated[int, typer.Option(min=0, help="Others around them.")] = 60,
    samples: Samples = 20,
    draws: Annotated[int, typer.Option(min=1, help="Draws that a set is chosen of.")] = 400,
    threads: Annotated[str, typer.Option(metavar="1,2", help="Processor threads.")] = "1",
    hog: Annotated[
        int, typer.Option(min=0, help="Also time with so many busy processes beside it.")
    ] = 0,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="A store: energy scores on its validation part."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Time for each case, in turns with the others.")
    ] = 2.0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="REPORT.json", help="Keep the report.")
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Time forecasts and training steps beside this machine's own floors.

    All cases of a section take turns, so their ratios hold also on a busy machine: "x plain" and
    the like are medians of ratios within a turn. The floor of a forecast is what its matrix
    products take alone here, one by one, or its weights once through memory.
    """
    from trajflow.cli.benching import Terms, measured, show_report, told

    terms = Terms(models or [], show, agents, neighbours, samples, draws, threads)
    if budget is not None:
        told(terms, budget, seconds, device, as_json, out)
        return
    report = measured(terms, seconds, hog, data, device)
    show_report(report, as_json, out)
