"""`trajflow calibrate`: make the regions of a run hold as often as they say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import say, say_json
from trajflow.cli.options import DataPath, Device, Json, Loud, RunPath, Seed, Steps
from trajflow.cli.tables import table

if TYPE_CHECKING:
    from trajflow.calibration import Reliability

SHOWN = slice(1, None, 2)
"""Every other level, 10 % to 90 %."""


def calibrate(
    run: RunPath,
    data: DataPath,
    part: Annotated[
        str, typer.Option("--part", "--split", metavar="val|test", help="Part that is fitted on.")
    ] = "val",
    check: Annotated[
        str | None,
        typer.Option(
            metavar="val|test",
            help="Another part to look at; if not, the same people are, half by half.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="OUT.png", help="A picture: .png, .svg.")
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Futures drawn of each agent.")] = 20,
    steps: Steps = 1,
    windows: Annotated[int, typer.Option(min=1, help="Most windows looked at.")] = 2000,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Fit regions that hold for new people, keep them in the run, and show how reliable they are.

    Fitted on people of the part who were not trained on and had no part in choosing weights,
    temperature or learned samples: a half of the validation people, by a hash of their id, is kept
    back for that. Where fewer than 60 could be halved, all are fitted on, and the output says so.
    Every person counts once, however many windows they have. The table sets a level against the
    share of truths inside: by the samples' own radius, and calibrated, each time on people the
    calibration was not fitted on.
    """
    from trajflow.cli.calibrating import Fitting, calibrate_run

    if out is not None:
        from trajflow.plotting import check_suffix

        check_suffix(out)
    how = Fitting(part, windows, samples, steps, seed)
    told, found = calibrate_run(run, data, how, check, device)
    if out is not None:
        from trajflow.plotting import draw_reliability, save

        save(draw_reliability(found, told["unit"]), out)
    if as_json:
        say_json(told)
        return
    _show(told, found)
    if out is not None:
        say(str(out))


def _show(told: dict[str, Any], found: "Reliability") -> None:
    header = ["level %", "endpoint", "calibrated", "by windows", "calibrated", "path", "calibrated"]
    rows = list(zip(*_columns(found), strict=True))
    say(table([*header, f"radius ({told['unit']})", "calibrated"], rows[SHOWN] + rows[-1:]))
    say()
    for line in _notes(told, found):
        say(line)


def _columns(found: "Reliability") -> list[list[object]]:
    levels = range(5, 100, 5)
    inside = found.inside
    shares = [
        inside[kind][who][by]
        for kind, by in (("endpoint", "people"), ("endpoint", "windows"), ("path", "people"))
        for who in ("own", "calibrated")
    ]
    radii = [found.radius[who].tolist() for who in ("own", "calibrated")]
    return [list(levels), *([f"{100 * s:.1f}" for s in one] for one in shares), *radii]


def _notes(told: dict[str, Any], found: "Reliability") -> list[str]:
    from trajflow.cli.calibrating import DEPENDENT

    looked = f"{found.people} people, {found.windows} windows of part {told['checked_on']}"
    halves = told["checked_on"] == told["part"]
    how = "fitted on one half of them, looked at on the other, both ways" if halves else "looked at"
    lines = [
        f"share of truths inside, in %: {looked}, {how}; everybody counts once but by windows",
        f"kept in {told['run']}: fitted on {told['people']} people of part {told['part']}, enough "
        f"for levels up to {100 * told['highest_level']:.0f} %",
    ]
    if told["left_out"]:
        lines.append(
            f"{told['left_out']} people of part {told['part']} are left out: the run has "
            "trained on them at other times"
        )
    if not told["independent"]:
        lines.append(f"{DEPENDENT % told['people']}; --check test looks, once")
    return lines
