"""`trajflow evaluate` and `trajflow compare`: scores of runs and baselines."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import ProgressBar, say, say_json
from trajflow.cli.options import (
    Address,
    Device,
    Draws,
    Engine,
    Fold,
    Json,
    Loud,
    Samples,
    Seed,
    Select,
    Split,
    Steps,
    Workers,
    jobs_of,
)
from trajflow.cli.tables import SCORES, ood_lines, score_lines, score_name, table
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.evaluation.ranking import Difference
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
            help="Evaluate a baseline instead of a run.",
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
        typer.Option("--set", metavar="data.NAME=VALUE", help="Setting of a baseline's windows."),
    ] = None,
    miss: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Distance of a miss, in the unit of the data; default: 2 for people in metres, "
            "else a quarter of the way of a fast training agent.",
        ),
    ] = None,
    collide: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Distance of a collision, in the unit of the data; default: 0.2 for people in "
            "metres, else what a fast training agent moves in 0.15 s.",
        ),
    ] = None,
    min_agents: Annotated[
        int,
        typer.Option(
            "--min-agents",
            min=1,
            help="Leave out moments with fewer agents to score.",
        ),
    ] = 1,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            help="Also score the samples shuffled between agents; always done for joint models.",
        ),
    ] = False,
    clock: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECORDING=SECONDS",
            help="Real seconds per step of a recording, for models trained on several intervals.",
        ),
    ] = None,
    ood: Annotated[
        bool,
        typer.Option(
            "--ood",
            help="Evaluate on corrupted windows: detection, accuracy and coverage.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER.zarr", help="With --ood: use other tracks as one more corruption."
        ),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="With --ood: corruptions, such as noise,glitch-2."),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(min=20, help="With --ood: number of ordinary windows; default: 600."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="With --ood: also write report and picture here.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes that score a run; the scores stay the same.")
    ] = 1,
    engine: Engine = None,
    workers: Workers = None,
    address: Address = None,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Score a run or a baseline, with intervals over people.

    Windows are cut as for the training of the run. A baseline is fitted on the training split
    first; if the tracks have leave-one-out folds and no test split, it is evaluated on each fold in
    turn. Means give every recording or fold the same weight; the mean over windows is shown beside
    them. coverage@90 is the share of truths inside the 90 % region of the samples: 90 % for a
    perfect forecaster. Unless samples are selected, all baselines are evaluated on the same windows
    and shown beside the run. The report is also written to the run, for `trajflow compare`. With
    --ood the report is another one: how well the OOD score detects corrupted windows, how good
    forecasts are under each corruption, and how well the expected error predicts the real one.
    """
    processes = jobs_of(jobs, engine, workers, address)
    if processes != 1 and (ood or baseline is not None):
        raise ConfigError(
            f"{'--ood' if ood else '--baseline'} runs in one process; leave out --jobs and --engine"
        )
    if ood:
        from trajflow.evaluation.ood import evaluate_run_ood
        from trajflow.ood.report import WINDOWS, OODTerms

        _refuse_beside_ood(
            baseline=baseline, fold=fold, set=set_, select=select, draws=draws, joint=joint
        )
        if len(paths) != 2:
            raise ConfigError(f"--ood needs RUN DATA; got {_listed(paths)}")
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
        min_agents=min_agents,
    )
    baseline_reports: dict[str, dict[str, Any]] = {}
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
                raise ConfigError("--set is for a baseline; a run keeps the windows it has")
            report = evaluate_run(
                paths[0],
                paths[1],
                options,
                device=device,
                jobs=processes,
                on_progress=progress.report,
            )
            if baselines and select is None:
                baseline_reports = evaluate_baselines(
                    paths[0], paths[1], options, on_progress=progress.report
                )
    if baseline_reports:
        report |= _compared(paths[0], paths[1], report, baseline_reports)
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
        typer.Option("--anyway", help="If protocols differ, show groups without ranks."),
    ] = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Rank runs by the energy score of their evaluations, or else of their best validation.

    Scores are ranked only if tracks, split, windows, samples, draws and selection are the same;
    otherwise the fields that differ are named. "=" marks ties: the 95 % interval of the difference
    to the best row of the rank contains 0. The interval is by bootstrap over people and includes
    the variance of the seeds; "behind" shows it. Reports of earlier versions have no scores of
    people: they are tied if the score of one is within the interval of the other, and their
    coverage is left out. Evaluate again to update them, for benchmarks with --stage refresh.
    All scores are means that give every recording or fold the same weight; --json also has the
    means over windows.
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
        say_json(
            {
                "rows": shown,
                "ranks": ranks,
                "differences": [str(difference) for difference in differing],
            }
        )
        return
    if not differing:
        lines = [
            [
                f"{p.rank}{' =' if p.tied else ''}",
                *_row(p.row),
                None if p.behind is None else "{:.3g} .. {:.3g}".format(*p.behind),
            ]
            for p in places
        ]
        say(table(["rank", "name", *_column_names(rows), "behind"], lines))
        for line in _miss_lines(rows):
            say(line)
        return
    for number, group in enumerate(by_protocol(rows), 1):
        say(f"protocol {number}, not to be compared with the others:")
        say(table(["name", *_column_names(group)], list(map(_row, group))))
        say()
    say("\n".join(str(difference) for difference in differing))


def _show(report: Mapping[str, Any], as_json: bool, ood: bool = False) -> None:
    if as_json:
        say_json(report)
        return
    for line in ood_lines(report) if ood else score_lines(report):
        say(line)


def _compared(
    run: Path,
    data: Path,
    report: Mapping[str, Any],
    baseline_reports: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Means of the baselines, and a sentence on whether the run beats them."""
    from trajflow.evaluation.comparison import verdict
    from trajflow.runs import RunFolder

    scores = {name: baseline["mean"]["energy_score"] for name, baseline in baseline_reports.items()}
    folder, unit = RunFolder.open(run), report["protocol"]["unit"]
    sentence = verdict(folder, report["mean"]["energy_score"], scores, unit, data)
    return {
        "baselines": {name: baseline["mean"] for name, baseline in baseline_reports.items()},
        "verdict": sentence,
    }


def _need_ood(**options: object) -> None:
    for name, value in options.items():
        if value:
            raise ConfigError(f"--{name} is for --ood; add it or leave --{name} out")


def _refuse_beside_ood(**options: object) -> None:
    for name, value in options.items():
        if value:
            raise ConfigError(
                f"--{name} does not go with --ood, which evaluates plain draws of a run on the "
                "fold that it left out; leave it out"
            )


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "nothing"


def _refusal(differing: Sequence["Difference"]) -> str:
    return (
        f"these cannot be ranked: they differ in {'; in '.join(map(str, differing))}. "
        "Evaluate them with equal options by `trajflow evaluate`, name reports of one protocol "
        "(RUN/evaluation-....json), or show them unranked by --anyway"
    )


def _column_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {key: {score_name(key, row) for row in rows} for key in COMPARED}
    shown = [one.pop() if len(one) == 1 else SCORES[key] for key, one in names.items()]
    return ["split", "windows", "K", "draws", "selection", "steps", *shown]


def _miss_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The distance of a miss of each row, where they differ."""
    names = {str(row["name"]): score_name("miss_rate", row) for row in rows}
    if len(set(names.values())) > 1:
        yield "; ".join(f"{name}: {text}" for name, text in names.items())


def _row(result: Mapping[str, Any]) -> list[object]:
    protocol, mean = result["protocol"], result["mean"]
    part = " ".join(str(protocol[key]) for key in ("split", "fold") if protocol.get(key))
    terms = [result.get(key) for key in TERMS]
    return [result["name"], part, *terms, *(mean.get(key) for key in COMPARED)]
