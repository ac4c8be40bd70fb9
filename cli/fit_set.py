"""`trajflow fit-set`: learn which futures of a run serve best as a set."""

from typing import Annotated

import typer

from trajflow.cli.console import say, say_json
from trajflow.cli.options import DataPath, Device, Json, Loud, RunPath
from trajflow.cli.tables import pairs


def fit_set(
    run: RunPath,
    data: DataPath,
    count: Annotated[int | None, typer.Option(min=2, help="Futures in the set; 20.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="samples.NAME=VALUE", help="One setting; may be repeated."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Learn the K futures whose best is nearest to what happens, from the training part.

    The run's network stays as it is: only the noise it starts from is chosen, agent by agent, so a
    set costs K evaluations and no more. What is kept did best on the validation part. Use it with
    `--select learned`.
    """
    from trajflow.cli.fitting_sets import fit_run

    words = [*(set_ or ()), *([f"samples.count={count}"] if count else ())]
    told = fit_run(run, data, words, device)
    if as_json:
        say_json(told)
        return
    say(pairs(told | {"next": f"trajflow evaluate {run} {data} --select learned"}))
