"""`trajflow evaluate`: scores of a run or a baseline."""

from collections.abc import Mapping, Sequence
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
from trajflow.cli.tables import ood_lines, score_lines
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.ood.report import OODTerms, Stage


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
    earlier_paths: Annotated[
        bool,
        typer.Option(
            "--earlier-paths",
            help="Also score forecasts in which paths that others walked in the same recording "
            "before replace some samples, as often as that was right so far.",
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
        from trajflow.ood.report import WINDOWS, OODTerms

        _refuse(
            "does not go with --ood, which evaluates plain draws of a run on the fold that it left "
            "out; leave it out",
            **{"baseline": baseline, "fold": fold, "set": set_, "select": select, "draws": draws},
            **{"joint": joint, "earlier-paths": earlier_paths},
        )
        _check_paths(paths, 2, "--ood needs RUN DATA")
        names = tuple(name.strip() for name in (corruptions or "").split(",") if name.strip())
        terms = OODTerms(split, windows or WINDOWS, samples, steps, seed, names)
        _show(_evaluate_ood(paths[0], paths[1], terms, against, out, device), as_json, ood=True)
        return
    from trajflow.evaluation.comparison import beside_baselines
    from trajflow.evaluation.evaluate import evaluate_baseline, evaluate_run
    from trajflow.evaluation.scores import SHUFFLES, EvaluationOptions

    _refuse(
        "is for --ood; add it or leave this out",
        **{"against": against, "corruptions": corruptions, "windows": windows, "out": out},
    )
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
        earlier_paths=earlier_paths,
    )
    with ProgressBar("windows") as bar:
        if baseline is not None:
            _check_paths(paths, 1, "--baseline needs DATA alone")
            report = evaluate_baseline(
                baseline, paths[0], options, settings=set_ or (), on_progress=bar.report
            )
        else:
            _check_paths(paths, 2, "evaluate needs RUN DATA, or --baseline NAME DATA")
            if set_:
                raise ConfigError("--set is for a baseline; a run keeps the windows it has")
            run, data = paths
            report = evaluate_run(
                run, data, options, device=device, jobs=processes, on_progress=bar.report
            )
            if baselines and select is None:
                report |= beside_baselines(run, data, report, options, on_progress=bar.report)
    _show(report, as_json)


def _evaluate_ood(
    run: Path, data: Path, terms: "OODTerms", against: Path | None, out: Path | None, device: str
) -> dict[str, Any]:
    from trajflow.evaluation.ood import evaluate_run_ood

    with ProgressBar("sets of windows") as progress:

        def update(stage: "Stage") -> None:
            progress.total = stage.total
            progress.update(stage.done, stage.note)

        return evaluate_run_ood(
            run, data, terms, against=against, out=out, device=device, on_stage=update
        )


def _show(report: Mapping[str, Any], as_json: bool, ood: bool = False) -> None:
    if as_json:
        say_json(report)
        return
    for line in ood_lines(report) if ood else score_lines(report):
        say(line)


def _refuse(why: str, **options: object) -> None:
    """Refuse the first option that is set."""
    for name, value in options.items():
        if value:
            raise ConfigError(f"--{name} {why}")


def _check_paths(paths: Sequence[Path], count: int, need: str) -> None:
    if len(paths) != count:
        raise ConfigError(f"{need}; got {', '.join(map(str, paths)) or 'nothing'}")
