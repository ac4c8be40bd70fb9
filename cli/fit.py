"""`trajflow fit`: fits calibration, OOD detector and learned samples of a trained run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import ProgressBar, say, say_json
from trajflow.cli.options import DataPath, Device, Json, Loud, RunPath, Seed
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trajflow.reliability import Reliability

PARTS = ("calibration", "ood", "samples")
# Parts fitted by default, as at the end of a training.
DEFAULT_PARTS = ("calibration", "ood")
# Parts that each option applies to.
PARTS_OF_OPTION = {
    "split": ("calibration",),
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
# Show every other level, 10 % to 90 %.
SHOWN_LEVELS = slice(1, None, 2)


def fit(
    context: typer.Context,
    run: RunPath,
    data: DataPath,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[calibration|ood|samples]...",
            help="What to fit; default: calibration and ood.",
            autocompletion=lambda: list(PARTS),
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            "--part",
            metavar="val|test",
            help="calibration: split to fit on; default: val.",
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="val|test",
            help="calibration: split to check on; default: the same people, in halves.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="OUT.png", help="calibration: also draw its reliability."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="calibration: futures of each agent; default: 20.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Network evaluations per draw; default: 1 for calibration, as trained for ood.",
        ),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most windows of a split; default: 2000 for calibration, 4000 for ood."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="CORRUPTION", help="ood: do not train on this one; repeatable."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=2, help="samples: futures of each agent; default: 20.")
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
    """Fit calibration, OOD detector or learned samples of a run, and write them to the run.

    calibration: prediction regions with guaranteed coverage for new people. It is fitted on people
    of the split who were not used for training or to choose weights, temperature or learned
    samples: half of the validation people, by a hash of their id, are reserved for that. With fewer
    than 60 people all are used, and the output says so. Every person has the same weight. The table
    compares levels with the measured coverage of uncalibrated and calibrated regions, on people the
    calibration was not fitted on.

    ood: the detector of out-of-distribution pasts, and the expected error. It is fitted on training
    people, with and without corruptions of their tracks; scores are ranks among the people of the
    calibration. `predict --ood` writes the score of each past and the reasons.

    samples: K futures of each agent, trained so that the best of them is near the truth. Only their
    noise is learned, on the training split; the network is not changed. The epoch with the best
    validation score is kept. Use them with `--select learned`.
    """
    parts = list(dict.fromkeys(what or DEFAULT_PARTS))
    for name in parts:
        if name not in PARTS:
            raise ConfigError(did_you_mean("part of a run", name, PARTS))
    _refuse_unused(parts, context.params)
    if out is not None:
        from trajflow.plotting import check_suffix, draw_reliability, save

        check_suffix(out)
    report: dict[str, Any] = {}
    with ProgressBar("windows") as progress:
        if "calibration" in parts:
            from trajflow.fitting import CalibrationOptions, calibrate_run

            report["calibration"], reliability = calibrate_run(
                run,
                data,
                CalibrationOptions(
                    split or "val", windows or 2000, samples or 20, steps or 1, seed
                ),
                check_split=check,
                device=device,
                on_progress=progress.report,
            )
            if out is not None:
                save(draw_reliability(reliability, report["calibration"]["unit"]), out)
            if not as_json:
                _show_calibration(report["calibration"], reliability, out)
        if "ood" in parts:
            from trajflow.fitting import OODOptions, fit_ood

            report["ood"] = fit_ood(
                run,
                data,
                OODOptions(windows or 4000, tuple(without or ()), seed, steps),
                device=device,
                on_progress=progress.report,
            )
            if not as_json:
                summary = report["ood"] | {"corruptions": ", ".join(report["ood"]["corruptions"])}
                say(pairs(summary | {"next": f"trajflow predict {run} {data} --ood -o ..."}))
        if "samples" in parts:
            from trajflow.fitting import fit_learned_samples

            words = [*(set_ or ()), *([f"samples.count={count}"] if count else ())]
            report["samples"] = fit_learned_samples(
                run, data, words, device=device, on_progress=progress.report
            )
            if not as_json:
                command = f"trajflow evaluate {run} {data} --select learned"
                say(pairs(report["samples"] | {"next": command}))
    if as_json:
        say_json(report if len(parts) > 1 else report[parts[0]])


def _refuse_unused(parts: list[str], options: Mapping[str, object]) -> None:
    for name, allowed in PARTS_OF_OPTION.items():
        value = options["set_" if name == "set" else name]
        if value and not set(allowed) & set(parts):
            raise ConfigError(
                f"--{name} is for {' and '.join(allowed)}, not for {' and '.join(parts)}; "
                f"leave it out, or add {allowed[0]}"
            )


def _show_calibration(
    summary: Mapping[str, Any], reliability: "Reliability", out: Path | None
) -> None:
    header = ["level %", "endpoint", "calibrated", "by windows", "calibrated", "path", "calibrated"]
    rows = list(zip(*_columns(reliability), strict=True))
    say(
        table(
            [*header, f"radius ({summary['unit']})", "calibrated"], rows[SHOWN_LEVELS] + rows[-1:]
        )
    )
    say()
    for line in _notes(summary, reliability):
        say(line)
    if out is not None:
        say(str(out))


def _columns(reliability: "Reliability") -> list[list[object]]:
    inside = reliability.inside
    shares = [
        inside[kind][source][by]
        for kind, by in (("endpoint", "people"), ("endpoint", "windows"), ("path", "people"))
        for source in ("own", "calibrated")
    ]
    radii = [reliability.radius[source].tolist() for source in ("own", "calibrated")]
    return [
        list(range(5, 100, 5)),
        *([f"{100 * s:.1f}" for s in shares_at] for shares_at in shares),
        *radii,
    ]


def _notes(summary: Mapping[str, Any], reliability: "Reliability") -> Iterator[str]:
    from trajflow.fitting import DEPENDENT

    split, checked = summary["split"], summary["checked_on"]
    people = f"{reliability.people} people, {reliability.windows} windows of split {checked}"
    halves = ", fitted on one half of them and measured on the other, both ways"
    how = halves if checked == split else ""
    yield (
        f"share of truths inside the regions, in %: {people}{how}. Every person has the same "
        "weight, except in the columns by windows"
    )
    yield (
        f"written to {summary['run']}: fitted on {summary['people']} people of split {split}, "
        f"enough for levels up to {100 * summary['highest_level']:.0f} %"
    )
    if summary["left_out"]:
        yield (
            f"{summary['left_out']} people of split {split} are left out: the run was trained on "
            "them at other times"
        )
    if not summary["independent"]:
        yield f"{DEPENDENT % summary['people']}; measure it once with --check test"
