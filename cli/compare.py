"""`trajflow compare`: runs, floors and benchmarks side by side, ranked where they can be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import say, say_json
from trajflow.cli.judgements import judgements
from trajflow.cli.options import Json, Loud
from trajflow.cli.scores import NAMES
from trajflow.cli.tables import table
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.benchmark.ranking import Difference, Place

SHOWN = ("energy_score", "min_ade", "min_fde", "mean_ade", "mean_fde", "miss_rate", "coverage_90")
TERMS = ("windows", "samples", "draws", "selection", "steps")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, reports of `evaluate --json`, or folders of `benchmark`.",
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

    Scores are ranked only if they are of the same tracks, split, part, windows, samples, draws
    and choice of samples; where they are not, nothing is ranked and the fields that differ are
    named. "=" marks rows that cannot be told apart: the 95 % interval of the difference to the best
    of the rank, by bootstrap over the people of both and with the variance of the seeds, holds 0;
    "behind" is that interval. Reports of earlier versions do not tell of people: they are tied if
    the score of one is within the interval of the other, and their coverage is left out.
    `trajflow evaluate` and `trajflow benchmark --stage refresh` judge them again. Energy scores
    and all others are means over recordings or folds that each weigh the same; --json also has
    the means over windows.
    """
    from trajflow.benchmark.ranking import by_protocol, differences, ranked

    rows = [judgement for path in runs for judgement in judgements(path)]
    found = differences(rows)
    if found and not anyway:
        raise ConfigError(refusal(found))
    if as_json:
        places = [] if found else ranked(rows)
        ranks = [
            {"name": p.row["name"], "rank": p.rank, "tied": p.tied, "behind": p.behind}
            for p in places
        ]
        shown = [{k: v for k, v in row.items() if k != "per_person"} for row in rows]
        say_json({"rows": shown, "ranks": ranks, "differences": [str(one) for one in found]})
        return
    if not found:
        heads = ["rank", "name", *_heads(), "behind"]
        lines = [
            [f"{p.rank}{' =' if p.tied else ''}", *_row(p.row), _behind(p)] for p in ranked(rows)
        ]
        say(table(heads, lines))
        return
    for number, group in enumerate(by_protocol(rows), 1):
        say(f"protocol {number}, not to be compared with the others:")
        say(table(["name", *_heads()], list(map(_row, group))))
        say()
    say("\n".join(str(one) for one in found))


def refusal(found: Sequence["Difference"]) -> str:
    """Why rows are not ranked, and what can be done."""
    return (
        f"these cannot be ranked, they were judged otherwise in {'; in '.join(map(str, found))}. "
        "Judge them alike with `trajflow evaluate`, name the reports of one protocol "
        "(RUN/evaluation-....json), or see them unranked with --anyway"
    )


def _behind(place: "Place") -> str | None:
    return None if place.behind is None else "{:.3g} .. {:.3g}".format(*place.behind)


def _heads() -> list[str]:
    return ["part", "windows", "K", "draws", "selection", "steps", *(NAMES[key] for key in SHOWN)]


def _row(judgement: Mapping[str, Any]) -> list[object]:
    protocol, mean = judgement["protocol"], judgement["mean"]
    part = " ".join(str(protocol[key]) for key in ("split", "fold") if protocol.get(key))
    known = [judgement.get(key) for key in TERMS]
    return [judgement["name"], part, *known, *(mean.get(key) for key in SHOWN)]
