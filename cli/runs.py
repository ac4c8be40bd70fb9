"""Commands that look at what is there: runs, compare, report, push, doctor and tui."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import ProgressBar, log, say, say_json, show_findings, span
from trajflow.cli.options import Device, Json, Loud, RunPath, Samples, Seed, Split, Steps
from trajflow.cli.tables import SCORES, score_name, table
from trajflow.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trajflow.evaluation.ranking import Difference

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
SCORE_COLUMNS = ("energy_score", "min_ade", "min_fde", "coverage_90")
SORTS = ("age", "name", "state", "epoch", *SCORE_COLUMNS, "data", "split")
DESCENDING = {"epoch", "coverage_90"}
"""Columns whose largest value comes first."""


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder to search, with its subfolders.")
    ] = Path("."),
    sort: Annotated[
        str, typer.Option(metavar="|".join(SORTS), help="The column to sort by.")
    ] = "age",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """List the runs below a folder: state, epochs, validation scores, data, split and age.

    Scores are those of the best weights on the validation split. To compare runs on a test split,
    use `trajflow evaluate` and `trajflow compare`. The best or newest run comes first; runs without
    a value in the column come last.
    """
    from trajflow.library import RUN_SCORES, LibraryScanner
    from trajflow.remote import url_of

    if sort not in SORTS:
        raise ConfigError(did_you_mean("column", sort, SORTS))
    if (url := url_of(folder)) is not None:
        raise ConfigError(f"`runs` lists local folders only; copy {url} to this machine first")
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}; give a folder with runs below it")
    library = LibraryScanner(folder).scan()
    rows = _sorted([library.row(run) for run in library.runs], sort)
    if not library.complete:
        log.warning("too many folders below %s; give one nearer to the runs", folder)
    if as_json:
        say_json({"folder": str(folder), "complete": library.complete, "runs": rows})
        return
    if not rows:
        log.warning("no runs below %s; `trajflow train DATA` makes one", folder)
        return
    header = ["run", "state", "epoch", *(SCORES[name] for name in RUN_SCORES)]
    lines = [
        [
            _relative(row["path"], folder),
            row["state"],
            _epochs(row),
            *(row[name] for name in RUN_SCORES),
            row["data"],
            row["split"],
            span(row["age"]),
        ]
        for row in rows
    ]
    say(table([*header, "data", "split", "age"], lines))
    for row in rows:
        if row["problem"]:
            log.warning("%s is damaged: %s", row["path"], row["problem"])


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


def report(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="A store; default: that of the last evaluation."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT.html", help="The file; it is replaced.")
    ] = Path("report.html"),
    split: Split = "test",
    samples: Samples = 20,
    steps: Steps = 1,
    seed: Seed = 0,
    panels: Annotated[int, typer.Option(min=1, max=20, help="Maps per kind of window.")] = 6,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Write an HTML report of a run: scores and baselines, calibration, OOD table, maps.

    It opens in any browser, offline too. The OOD table comes from the last
    `trajflow evaluate RUN DATA --ood`.
    """
    from trajflow.evaluation import EvaluationOptions
    from trajflow.html_report import write_html_report

    options = EvaluationOptions(split=split, samples=samples, steps=steps, seed=seed)
    with ProgressBar("windows") as progress:
        write_html_report(
            run,
            data,
            out,
            options,
            panels=panels,
            device=device,
            on_progress=progress.report,
        )
    if as_json:
        say_json({"out": str(out), "bytes": out.stat().st_size})
    else:
        say(str(out))


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    name: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The repository; it is made if needed.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Upload a run to the Hugging Face Hub with a model card: data, scores and how to use it.

    Weights, settings, calibration, OOD detector and learned samples are uploaded; tracks, events
    and reports are not. Log in by `hf auth login` or HF_TOKEN. `Predictor.from_pretrained` opens
    the run elsewhere. It needs the extra `hub`.
    """
    from trajflow.hub import push_run

    address = push_run(run, name, private=private)
    say_json({"repository": name, "commit": address}) if as_json else say(address)


def doctor(
    path: Annotated[
        Path | None, typer.Argument(metavar="[DATA|RUN]", help="A store, or a run folder.")
    ] = None,
    history: Annotated[int, typer.Option(min=1, help="Past steps of a counted window.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Future steps of a counted window.")] = 12,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Check tracks or a run; without an argument, check the machine.

    Tracks: units, frame interval, gaps, jumps, reused ids, standing agents, leakage. A run: damaged
    files, and whether it loads. The machine: installation, device, threads, disk.
    The exit code is 3 if there is an error.
    """
    from trajflow.doctor import check_machine, check_run, is_run

    if path is None:
        show_findings(check_machine(Path()), as_json)
    elif is_run(path):
        show_findings(check_run(path), as_json)
    else:
        from trajflow.datasets.doctor import doctor as check_store
        from trajflow.datasets.store import open_store

        show_findings(check_store(open_store(path), history, horizon), as_json)


def tui(
    path: Annotated[
        Path,
        typer.Argument(metavar="FOLDER|RUN|STORE", help="A folder to browse, or a run or store."),
    ] = Path("."),
    theme: Annotated[str, typer.Option(help="dark, light, ansi-dark, or a Textual theme.")] = (
        "dark"
    ),
    no_mouse: Annotated[
        bool, typer.Option("--no-mouse", help="Leave the mouse to the terminal, to select text.")
    ] = False,
) -> None:
    """Browse forecasts, watch trainings and look at tracks in the terminal.

    If the folder has neither runs nor stores, a small generated demo is opened.
    """
    from trajflow.remote import url_of

    served = "TEXTUAL_DRIVER" in os.environ  # by `textual serve`, to a browser
    if not (served or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise ConfigError("`tui` needs a terminal; do not run it in a pipe")

    if (url := url_of(path)) is not None:
        raise ConfigError(
            f"the terminal UI opens local folders only; copy {url} to this machine first"
        )
    if not path.exists():
        raise ConfigError(f"no folder, run or store at {path}")
    from trajflow.jobs import end_with_terminal
    from trajflow.tui.app import TrajflowApp

    if not served:
        end_with_terminal(sys.stdin.fileno())
    TrajflowApp(path, theme).run(mouse=not no_mouse)


def _sorted(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Rows ordered by a column; those without a value last."""
    valued = [row for row in rows if row[column] is not None]
    valued.sort(key=lambda row: row[column], reverse=column in DESCENDING)
    return [*valued, *(row for row in rows if row[column] is None)]


def _relative(path: str, folder: Path) -> str:
    """The path of a run relative to the folder; its name if it is the folder itself."""
    inside = Path(path).relative_to(folder)
    return str(inside) if inside.parts else Path(path).resolve().name


def _epochs(row: dict[str, Any]) -> str | None:
    if row["epoch"] is None or row["epochs"] is None:
        return None
    return f"{row['epoch']:.0f}/{row['epochs']:.0f}"


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
