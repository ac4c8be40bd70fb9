"""`trajflow evaluate` and `trajflow compare`: how good runs and baselines are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import ProgressBar, say, say_json
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
from trajflow.cli.tables import SCORES, ood_lines, score_lines, table
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.evaluation.ranking import Difference, Ranked
    from trajflow.ood.report import Stage

COMPARED = (
    "energy_score",
    "min_ade",
    "min_fde",
    "mean_ade",
    "mean_fde",
    "miss_rate",
    "coverage_90",
)
TERMS = ("windows", "samples", "draws", "selection", "steps")


def _baselines() -> list[str]:
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
            help="Evaluate a baseline that needs no network, not a run.",
            autocompletion=_baselines,
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines/--no-baselines", help="Show all baselines beside a run."),
    ] = True,
    split: Split = "test",
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
    ood: Annotated[
        bool,
        typer.Option(
            "--ood",
            help="Corrupt the windows: how well the run detects it, and how it forecasts then.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER.zarr", help="With --ood: other tracks, as one more corruption."
        ),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="With --ood: only these, as noise,glitch-2."),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(min=20, help="With --ood: ordinary windows looked at; 600 if not given."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="With --ood: also gets the report and its picture.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Score plain draws or chosen samples, with intervals over people.

    Windows are cut as the run was trained; a baseline learns from the training split first. Where
    the tracks have leave-one-out folds and no test split, it is judged on each fold in turn.
    In a mean every recording or fold weighs the same; beside it is the mean over windows.
    "inside 90 %" is the share of truths whose rank among truth and samples, by the distance of each
    to the mean of the others, is within the level; a perfect forecaster has exactly 90 %.
    The baselines are judged on the same windows and shown beside a run whose samples are plain
    draws. The report is also kept in the run, for `trajflow compare`. With --ood it is another one:
    how well the OOD score tells corrupted windows from ordinary ones, how well the run forecasts
    under each corruption, and how well the expected error predicts the real one.
    """
    if ood:
        from trajflow.evaluation.ood import evaluate_run_ood
        from trajflow.ood.report import WINDOWS, OODTerms

        _refuse_beside_ood(
            baseline=baseline, fold=fold, set=set_, select=select, draws=draws, joint=joint
        )
        if len(paths) != 2:
            raise ConfigError("--ood needs RUN DATA: a run that was trained, and its tracks")
        names = tuple(name.strip() for name in (corruptions or "").split(",") if name.strip())
        terms = OODTerms(split, windows or WINDOWS, samples, steps, seed, names)
        with ProgressBar("sets of windows") as progress:

            def update(stage: "Stage") -> None:
                progress.total = stage.total
                progress.update(stage.done, stage.note)

            report = evaluate_run_ood(
                paths[0],
                paths[1],
                terms,
                against=against,
                out=out,
                device=device,
                on_stage=update,
            )
        _show(report, as_json, ood=True)
        return
    from trajflow.evaluation.comparison import evaluate_baselines
    from trajflow.evaluation.evaluate import evaluate_baseline, evaluate_run
    from trajflow.evaluation.scores import SHUFFLES, EvaluationOptions

    _need_ood(against=against, corruptions=corruptions, windows=windows, out=out)
    options = EvaluationOptions(
        split=split,
        fold=fold,
        samples=samples,
        steps=steps,
        seed=seed,
        miss=miss,
        collide=collide,
        shuffles=SHUFFLES if joint else 0,
        selection=select or "plain",
        draws=draws or 0,
        clocks=",".join(clock or ()),
    )
    beside: dict[str, dict[str, Any]] = {}
    with ProgressBar("windows") as progress:
        if baseline is not None:
            if len(paths) != 1:
                raise ConfigError(f"--baseline needs DATA alone; got {_listed(paths)}")
            report = evaluate_baseline(
                baseline, paths[0], options, settings=set_ or (), on_progress=progress.report
            )
        else:
            if len(paths) != 2:
                raise ConfigError(
                    f"evaluate needs RUN DATA, or --baseline NAME DATA; got {_listed(paths)}"
                )
            if set_:
                raise ConfigError("--set is for a baseline; a run is judged with its own windows")
            report = evaluate_run(
                paths[0], paths[1], options, device=device, on_progress=progress.report
            )
            if baselines and select is None:
                beside = evaluate_baselines(
                    paths[0], paths[1], options, on_progress=progress.report
                )
    if beside:
        report |= _compared(paths[0], paths[1], report, beside)
    _show(report, as_json)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, reports of `evaluate --json`, or results folders of benchmarks.",
        ),
    ],
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Show what cannot be compared too: in groups, unranked."),
    ] = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Rank runs by energy score: their evaluations, or their best validation if there is none.

    Scores are ranked only if they are of the same tracks, split, windows, samples, draws
    and choice of samples; where they are not, nothing is ranked and the fields that differ are
    named. "=" marks rows that cannot be told apart: the 95 % interval of the difference to the best
    of the rank, by bootstrap over the people of both and with the variance of the seeds, holds 0;
    "behind" is that interval. Reports of earlier versions do not tell of people: they are tied if
    the score of one is within the interval of the other, and their coverage is left out.
    `trajflow evaluate`, and the scripts of benchmarks with --stage refresh, judge them again.
    Energy scores and all others are means over recordings or folds that each weigh the same;
    --json also has the means over windows.
    """
    from trajflow.evaluation.ranking import by_protocol, differences, ranked
    from trajflow.evaluation.report import results_of

    rows = [result for path in runs for result in results_of(path)]
    differing = differences(rows)
    if differing and not anyway:
        raise ConfigError(_refusal(differing))
    places = [] if differing else ranked(rows)
    if as_json:
        ranks = [
            {"name": p.row["name"], "rank": p.rank, "tied": p.tied, "behind": p.behind}
            for p in places
        ]
        shown = [{k: v for k, v in row.items() if k != "per_person"} for row in rows]
        say_json({"rows": shown, "ranks": ranks, "differences": [str(one) for one in differing]})
        return
    if not differing:
        lines = [[f"{p.rank}{' =' if p.tied else ''}", *_row(p.row), _behind(p)] for p in places]
        say(table(["rank", "name", *_heads(), "behind"], lines))
        return
    for number, group in enumerate(by_protocol(rows), 1):
        say(f"protocol {number}, not to be compared with the others:")
        say(table(["name", *_heads()], list(map(_row, group))))
        say()
    say("\n".join(str(one) for one in differing))


def _show(report: Mapping[str, Any], as_json: bool, ood: bool = False) -> None:
    if as_json:
        say_json(report)
        return
    for line in ood_lines(report) if ood else score_lines(report):
        say(line)


def _compared(
    run: Path, data: Path, report: Mapping[str, Any], beside: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The means of baselines beside a report, and a sentence on whether the run beats them."""
    from trajflow.evaluation.comparison import verdict
    from trajflow.runs import RunFolder

    scores = {name: one["mean"]["energy_score"] for name, one in beside.items()}
    folder, unit = RunFolder.open(run), report["protocol"]["unit"]
    said = verdict(folder, report["mean"]["energy_score"], scores, unit, data)
    return {"baselines": {name: one["mean"] for name, one in beside.items()}, "verdict": said}


def _need_ood(**given: object) -> None:
    """Refuse options that are only for --ood."""
    for name, value in given.items():
        if value:
            raise ConfigError(f"--{name} is for --ood; add it or leave --{name} out")


def _refuse_beside_ood(**given: object) -> None:
    """Refuse options that have no meaning beside --ood."""
    for name, value in given.items():
        if value:
            raise ConfigError(
                f"--{name} does not go with --ood, which looks at plain draws of a run on the "
                "fold that it left out; leave it out"
            )


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "nothing"


def _refusal(differing: Sequence["Difference"]) -> str:
    """Why rows are not ranked, and what can be done."""
    return (
        f"these cannot be ranked: they differ in {'; in '.join(map(str, differing))}. "
        "Evaluate them alike with `trajflow evaluate`, name the reports of one protocol "
        "(RUN/evaluation-....json), or see them unranked with --anyway"
    )


def _heads() -> list[str]:
    names = [SCORES[key] for key in COMPARED]
    return ["split", "windows", "K", "draws", "selection", "steps", *names]


def _row(result: Mapping[str, Any]) -> list[object]:
    protocol, mean = result["protocol"], result["mean"]
    part = " ".join(str(protocol[key]) for key in ("split", "fold") if protocol.get(key))
    terms = [result.get(key) for key in TERMS]
    return [result["name"], part, *terms, *(mean.get(key) for key in COMPARED)]


def _behind(place: "Ranked") -> str | None:
    return None if place.behind is None else "{:.3g} .. {:.3g}".format(*place.behind)
