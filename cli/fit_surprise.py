"""`trajflow fit-surprise`: let a run say how strange a past is to it."""

from typing import Annotated

import typer

from trajflow.cli.console import say, say_json
from trajflow.cli.options import DataPath, Device, Json, Loud, RunPath, Seed
from trajflow.cli.tables import pairs


def fit_surprise(
    run: RunPath,
    data: DataPath,
    windows: Annotated[
        int, typer.Option(min=10, help="Most windows of each part that are looked at.")
    ] = 4000,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULT", help="A known fault not to learn from; may be repeated."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Network evaluations of the draws; those of the training if not."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Fit what tells strange pasts from ordinary ones, and keep it in the run.

    Scores are fitted on people of the training part, among them one that is shown known faults of
    tracks; how large they usually are, and what error is to be expected, is taken from people of
    the validation part who were not trained on and had no part in choosing weights, as for
    `trajflow calibrate`; everybody counts once. `predict --surprise` then says how strange each
    past is, and why. The expected error is that of draws as `predict` makes them, at the run's
    temperature and so many evaluations.
    """
    from trajflow.cli.fitting_surprise import Fitting, fit_run

    told = fit_run(run, data, Fitting(windows, tuple(without or ()), seed, steps), device)
    if as_json:
        say_json(told)
        return
    faults = ", ".join(told.pop("faults"))
    say(
        pairs(told | {"faults": faults, "next": f"trajflow predict {run} {data} --surprise -o ..."})
    )
