"""`trajflow benchmark`: train, judge and tabulate what a result of the field is made of."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.options import DataPath, Device, Json, Loud

INTERRUPTED, FAILED = 130, 1


def benchmark(
    name: Annotated[str, typer.Argument(metavar="ethucy|sdd", help="Which benchmark.")],
    data: DataPath,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RESULTS", help="Folder of all results.")
    ] = Path("results"),
    folds: Annotated[str, typer.Option(metavar="all|eth,hotel,...", help="Which folds.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each preset and fold.")] = 3,
    presets: Annotated[
        str, typer.Option(metavar="mmf,flow,...", help="What is trained; '' for nothing.")
    ] = "mmf,flow",
    floors: Annotated[
        str, typer.Option(metavar="cv,analog,...", help="Floors beside it; '' for none.")
    ] = "cv,cv-sampled,anchors,analog",
    steps: Annotated[
        str, typer.Option(metavar="1,2,4", help="Network evaluations per draw, same weights.")
    ] = "1",
    select: Annotated[
        str,
        typer.Option(
            metavar="learned,medians,...",
            help="Also judge 20 that are learned as a set, or that a rule chooses of --draws.",
        ),
    ] = "",
    draws: Annotated[int, typer.Option(min=1, help="Draws that a rule chooses 20 of.")] = 1000,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Also judge all seeds together as one forecaster.")
    ] = False,
    clock: Annotated[
        str,
        typer.Option(
            metavar="RECORDING=SECONDS,...",
            help="Also judge with these real seconds per step; needs model.condition_on_dt=true.",
        ),
    ] = "",
    config: Annotated[
        Path | None, typer.Option(metavar="RUN.toml", help="Settings of the trainings.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.NAME=VALUE", help="One setting; may be repeated."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Trials at once.")] = 1,
    stage: Annotated[
        str, typer.Option(metavar="all|train|evaluate|refresh|table", help="Do a part of it only.")
    ] = "all",
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Train on every fold, judge the test part, write the table; asked again, it goes on.

    Weights are chosen on the validation part only. Each trial is a run folder in RESULTS/runs;
    what is finished is not done again, what was interrupted goes on. RESULTS/table.json, .csv,
    .md, .png and .svg hold every row with its protocol, beside what others published.

    --stage refresh judges again, with the weights and the plan that are in RESULTS, what has no
    report or one of an earlier version, whose coverage was taken otherwise; nothing is trained.

    ethucy: a store of `data import ethucy`. sdd: of `data import table --unit px --speed-limit
    inf` with a split column; a tenth of the training agents, in whole recordings, is set apart
    for validation where the store has none.
    """
    from trajflow.benchmark.drafting import Ask
    from trajflow.cli.benchmarking import Doing, carry_out, counts, names, tabulate

    ask = Ask(
        name,
        folds=() if folds == "all" else names(folds),
        seeds=seeds,
        presets=names(presets),
        steps=counts(steps),
        floors=names(floors),
        select=names(select),
        draws=draws,
        ensemble=ensemble,
        clocks=clock,
        file=config,
        words=tuple(set_ or ()),
    )
    standing = carry_out(ask, Doing(data, out, stage, device, jobs))
    tabulate(out, standing.failed, as_json)
    if standing.failed or standing.interrupted:
        raise typer.Exit(FAILED if standing.failed else INTERRUPTED)
