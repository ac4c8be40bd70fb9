"""`trajflow fit`: what a trained run carries beside its weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import Progress, say, say_json
from trajflow.cli.options import DataPath, Device, Json, Loud, RunPath, Seed
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trajflow.calibration import Reliability

PARTS = ("calibration", "ood", "samples")
USUAL = ("calibration", "ood")
"""What is fitted if nothing is named, as at the end of a training."""
ONLY = {
    "part": ("calibration",),
    "check": ("calibration",),
    "out": ("calibration",),
    "samples": ("calibration",),
    "steps": ("calibration", "ood"),
    "windows": ("calibration", "ood"),
    "seed": ("calibration", "ood"),
    "without": ("ood",),
    "count": ("samples",),
    "set": ("samples",),
}
"""What each option is for."""
SHOWN = slice(1, None, 2)
"""Every other level, 10 % to 90 %."""


def fit(
    run: RunPath,
    data: DataPath,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[calibration|ood|samples]...",
            help="What is fitted; calibration and ood if not.",
            autocompletion=lambda: list(PARTS),
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            "--split",
            metavar="val|test",
            help="calibration: split that it is fitted on; val if not.",
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="val|test",
            help="calibration: another split to check it on; halves of the same people if not.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="OUT.png", help="calibration: its reliability as a picture."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="calibration: futures drawn of each agent; 20 if not.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Network evaluations per draw; calibration: 1 if not, ood: as in the training.",
        ),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(min=1, help="Most windows of a split; calibration: 2000, ood: 4000 if not."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="CORRUPTION", help="ood: one not to learn from; repeatable."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=2, help="samples: futures in the set; 20 if not.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="samples.NAME=VALUE", help="samples: a setting; repeatable."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Fit what a run carries beside its weights, and keep it in the run.

    calibration: regions that hold for new people. Fitted on people of the split who were not
    trained on and had no part in choosing weights, temperature or learned samples: a half of the
    validation people, by a hash of their id, is kept back for that. Where fewer than 60 could be
    halved, all are fitted on, and the output says so. Every person counts once, however many
    windows they have. The table sets a level against the share of truths inside: by the samples'
    own radius, and calibrated, each time on people the calibration was not fitted on.

    ood: the detector of pasts that are out of distribution, and the error to expect. Fitted on
    training people, whose tracks are also shown corrupted, and calibrated on the people that
    calibration is fitted on. `predict --ood` then writes the score of each past, and why.

    samples: the K futures whose best is nearest to what happens, learned on the training split.
    The network stays as it is: only the noise it starts from is chosen, agent by agent. What is
    kept did best on the validation split. Use it with `--select learned`.
    """
    parts = list(dict.fromkeys(what or USUAL))
    for name in parts:
        if name not in PARTS:
            raise ConfigError(did_you_mean("part of a run", name, PARTS))
    _refuse_idle(
        parts,
        part=part,
        check=check,
        out=out,
        samples=samples,
        steps=steps,
        windows=windows,
        without=without,
        count=count,
        set=set_,
        seed=seed,
    )
    if out is not None:
        from trajflow.plotting import check_suffix

        check_suffix(out)
    report: dict[str, Any] = {}
    with Progress("windows") as progress:
        if "calibration" in parts:
            from trajflow.fitting.calibration import CalibrationOptions, calibrate_run

            report["calibration"], reliability = calibrate_run(
                run,
                data,
                CalibrationOptions(part or "val", windows or 2000, samples or 20, steps or 1, seed),
                check_split=check,
                device=device,
                on_progress=progress.report,
            )
            _draw(reliability, report["calibration"]["unit"], out)
            if not as_json:
                _show_calibration(report["calibration"], reliability, out)
        if "ood" in parts:
            from trajflow.fitting.ood import OODOptions, fit_ood

            report["ood"] = fit_ood(
                run,
                data,
                OODOptions(windows or 4000, tuple(without or ()), seed, steps),
                device=device,
                on_progress=progress.report,
            )
            if not as_json:
                _show_ood(report["ood"], f"trajflow predict {run} {data} --ood -o ...")
        if "samples" in parts:
            from trajflow.fitting.samples import fit_learned_samples

            words = [*(set_ or ()), *([f"samples.count={count}"] if count else ())]
            report["samples"] = fit_learned_samples(
                run, data, words, device=device, on_progress=progress.report
            )
            if not as_json:
                following = f"trajflow evaluate {run} {data} --select learned"
                say(pairs(report["samples"] | {"next": following}))
    if as_json:
        say_json(report if len(parts) > 1 else report[parts[0]])


def _refuse_idle(parts: list[str], **given: object) -> None:
    """Refuse options that are for nothing of what is fitted."""
    for name, value in given.items():
        if value and not set(ONLY[name]) & set(parts):
            raise ConfigError(
                f"--{name} is for {' and '.join(ONLY[name])}, not for {' and '.join(parts)}; "
                f"leave it out, or add {ONLY[name][0]}"
            )


def _draw(reliability: "Reliability", unit: str, out: Path | None) -> None:
    if out is None:
        return
    from trajflow.plotting import draw_reliability, save

    save(draw_reliability(reliability, unit), out)


def _show_calibration(
    summary: Mapping[str, Any], reliability: "Reliability", out: Path | None
) -> None:
    header = ["level %", "endpoint", "calibrated", "by windows", "calibrated", "path", "calibrated"]
    rows = list(zip(*_columns(reliability), strict=True))
    say(table([*header, f"radius ({summary['unit']})", "calibrated"], rows[SHOWN] + rows[-1:]))
    say()
    for line in _notes(summary, reliability):
        say(line)
    if out is not None:
        say(str(out))


def _columns(reliability: "Reliability") -> list[list[object]]:
    inside = reliability.inside
    shares = [
        inside[kind][who][by]
        for kind, by in (("endpoint", "people"), ("endpoint", "windows"), ("path", "people"))
        for who in ("own", "calibrated")
    ]
    radii = [reliability.radius[who].tolist() for who in ("own", "calibrated")]
    return [list(range(5, 100, 5)), *([f"{100 * s:.1f}" for s in one] for one in shares), *radii]


def _notes(summary: Mapping[str, Any], reliability: "Reliability") -> Iterator[str]:
    from trajflow.fitting.calibration import DEPENDENT

    split, checked = summary["part"], summary["checked_on"]
    looked = f"{reliability.people} people, {reliability.windows} windows of part {checked}"
    halves = "fitted on one half of them, looked at on the other, both ways"
    how = halves if checked == split else "looked at"
    yield f"share of truths inside, in %: {looked}, {how}; everybody counts once but by windows"
    yield (
        f"kept in {summary['run']}: fitted on {summary['people']} people of part {split}, enough "
        f"for levels up to {100 * summary['highest_level']:.0f} %"
    )
    if summary["left_out"]:
        yield (
            f"{summary['left_out']} people of part {split} are left out: the run has trained on "
            "them at other times"
        )
    if not summary["independent"]:
        yield f"{DEPENDENT % summary['people']}; --check test looks, once"


def _show_ood(summary: dict[str, Any], following: str) -> None:
    corruptions = ", ".join(summary["corruptions"])
    say(pairs(summary | {"corruptions": corruptions, "next": following}))
