"""`trajflow evaluate`: how good a run, or a floor, is on a part of the tracks."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.ood_options import (
    Against,
    Ood,
    OutFolder,
    Shifts,
    Windows,
    need_ood,
    refuse_ood,
)
from trajflow.cli.options import (
    Device,
    Draws,
    Fold,
    Json,
    Loud,
    Samples,
    Seed,
    Select,
    Split,
    Steps,
)


def _floors() -> list[str]:
    from trajflow.baselines import available

    return available()


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="[RUN] DATA", help="A run and a store; with --baseline a store."),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="cv|cv-sampled|anchors|analog",
            help="Judge a floor that needs no network, not a run.",
            autocompletion=_floors,
        ),
    ] = None,
    part: Split = "test",
    fold: Fold = None,
    samples: Samples = 20,
    select: Select = None,
    draws: Draws = None,
    steps: Steps = 1,
    seed: Seed = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.NAME=VALUE", help="How a baseline's windows are cut."),
    ] = None,
    miss: Annotated[
        float, typer.Option(min=0, help="A best endpoint farther off is a miss; unit of the data.")
    ] = 2.0,
    collide: Annotated[
        float, typer.Option(min=0, help="Agents nearer than this collide; unit of the data.")
    ] = 0.2,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint", help="Score the samples shuffled between agents too; always done if joint."
        ),
    ] = False,
    clock: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECORDING=SECONDS",
            help="Tell a model of several rates the real seconds per step of a recording.",
        ),
    ] = None,
    ood: Ood = False,
    against: Against = None,
    shifts: Shifts = None,
    windows: Windows = None,
    out: OutFolder = None,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Score plain draws or chosen samples, with intervals over people.

    Windows are cut as the run was trained; a baseline learns from the training part first. Where
    the tracks have leave-one-out folds and no test part, it is judged on each fold in turn.
    In a mean every recording or fold weighs the same; beside it is the mean over windows.
    "inside 90 %" is the share of truths whose rank among truth and samples, by the distance of each
    to the mean of the others, is within the level; a perfect forecaster has exactly 90 %.
    The report is also kept in the run, for `trajflow compare`. With --ood it is another one: how
    well the run's surprise tells shifted windows from ordinary ones, how well it forecasts under
    each shift, and whether surprise predicts error.
    """
    need_ood(ood, against=against, shifts=shifts, windows=windows, out=out)
    if ood:
        from trajflow.cli import evaluating_ood, shifts_table

        refuse_ood(baseline=baseline, fold=fold, set=set_, select=select, draws=draws, joint=joint)
        asked = evaluating_ood.Asked(part, samples, steps, seed, shifts, windows, against, out)
        shifts_table.show(evaluating_ood.of_run(paths, asked, device), as_json)
        return
    from trajflow.cli.evaluating import Protocol, of_baseline, of_run
    from trajflow.cli.scores import show

    clocks = ",".join(clock or ())
    how = Protocol(part, fold, samples, steps, seed, miss, collide, joint, select, draws, clocks)
    if baseline is not None:
        report = of_baseline(baseline, paths, how, tuple(set_ or ()))
    else:
        report = of_run(paths, how, tuple(set_ or ()), device)
    show(report, as_json)
