"""The table of a benchmark as Markdown: ours ranked within one protocol, others named beside it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trajflow.benchmark.peers import Peer
from trajflow.evaluation.ranking import by_protocol, ranked

if TYPE_CHECKING:
    from trajflow.benchmark.table import Table

RATES = {"coverage_50": "in 50 %", "coverage_90": "in 90 %", "miss_rate": "missed"}
TERMS = ("K", "draws", "selection", "selected on", "joint", "steps")
READ = """Errors are minADE / minFDE of the best of K, each from its own best sample. A rank is \
by the energy score, within one protocol only; "=" marks scores that cannot be told apart by the \
bootstrap of their paired difference over people, with the variance of the seeds. Brackets: 95 % \
by bootstrap over people, with the variance of the seeds (Student) where there are several, folds \
combined as independent (Zou and Donner 2008). Braces: least to most of the seeds. In the mean \
every fold weighs the same; "by windows" is the energy score with every window weighing the same. \
Coverage is the share of truths whose rank among truth and samples, by the distance of each to \
the mean of the others, is within the level: exactly the level for a perfect forecaster."""


def markdown(table: "Table") -> str:
    """The whole document."""
    return "\n".join([*_head(table), *_ours(table), *_others(table), *_commands(table)]) + "\n"


def _head(table: "Table") -> Iterator[str]:
    plan = table.plan
    yield f"# {table.recipe.title}"
    yield ""
    yield f"Data `{plan.data}`, sha256 `{plan.fingerprint}`."
    for row in table.rows[:1]:
        asked = row.protocol
        yield (
            f"{asked['history']} + {asked['horizon']} steps, stride {asked['stride']}, unit "
            f"{asked['unit']}; missed beyond {asked['miss']:g}, collided below "
            f"{asked['collide']:g} {asked['unit']}. Test part only; epochs, the noise's "
            "deviation and learned sets are chosen on the validation part."
        )
    for names in {tuple(row.protocol["validation"]) for row in table.rows}:
        if names:
            yield f"Validation part: the whole training recordings {', '.join(names)}."
    told = ", ".join(f"{name} {_counted(fold)}" for name, fold in table.folds.items())
    yield f"Windows (people): {told}. {table.recipe.note}".rstrip()
    if table.settings:
        set_ = ", ".join(f"{name}={value}" for name, value in table.settings.items())
        yield f"Settings other than the defaults: {set_}."
    for machine in {tuple(row.facts["machine"].items()): None for row in table.rows}:
        yield f"Machine: {', '.join(f'{name} {value}' for name, value in machine)}."
    if table.partial:
        yield f"**Means of ours are of {', '.join(table.folds)} alone; those of others are not.**"
    yield from _unfinished(table)
    yield ""


def _counted(fold: Mapping[str, Any]) -> str:
    known = fold["field"]
    odd = "" if known in (None, fold["windows"]) else f", **the field counts {known}**"
    return f"{fold['windows']} ({fold['people']}{odd})"


def _unfinished(table: "Table") -> Iterator[str]:
    for name, reason in table.failed.items():
        yield f"**Failed: {name}**: {reason}."
    left = [name for name in table.missing if name not in table.failed]
    if left:
        yield f"**Not done yet: {', '.join(left)}.**"


def _ours(table: "Table") -> Iterator[str]:
    yield from ("## Measured here", "", READ, "")
    folds = list(table.folds)
    heads = [
        "rank",
        "method",
        "steps",
        *folds,
        "mean",
        "energy score",
        "by windows",
        *RATES.values(),
    ]
    heads += ["spread / error", "JADE / JFDE", "collided", "ms / agent", *TERMS[:-1], "seeds"]
    rows = [row.to_json() for row in table.rows]
    for group in by_protocol(rows):
        yield f"{_question(group[0])}:"
        yield ""
        yield from _table(heads, [_line(place, folds) for place in ranked(group)])
        yield ""


def _question(row: Mapping[str, Any]) -> str:
    chosen = row["selection"] != "plain"
    how = "plain draws"
    if chosen:
        of = f"by {row['selection']} of {row['draws']} draws"
        how = f"chosen {of}; energy score, spread and coverage by their weights"
    told = f"; told the real seconds per step of {row['clocks']}" if row["clocks"] else ""
    return f"K = {row['samples']}, {how}, {'whole scenes' if row['joint'] else 'per agent'}{told}"


def _line(place: Any, folds: Sequence[str]) -> list[str]:
    row = place.row
    floor = "floor: " if row["floor"] else ""
    note = " (a set, not draws)" if row["set_regressor"] and row["selection"] == "plain" else ""
    errors = [_pair(row["folds"].get(fold, {}).get("mean", {})) for fold in folds]
    known = bool(row["mean"])
    return [
        (f"{place.rank}{' =' if place.tied else ''}" if known else "-"),
        f"{floor}{row['method']}{note}",
        "-" if row["floor"] else str(row["steps"]),
        *errors,
        _pair(row["mean"]) + _between(row, "min_ade"),
        _number(row["mean"].get("energy_score")) + _between(row, "energy_score"),
        _number(row["window_mean"].get("energy_score")),
        *(_percent(row["mean"].get(name)) for name in RATES),
        _number(row["mean"].get("spread_ratio"), 2),
        f"{_number(row['mean'].get('jade'))} / {_number(row['mean'].get('jfde'))}",
        _percent(row["mean"].get("collision_rate")),
        f"{row['milliseconds_per_agent']:.2g}",
        str(row["samples"]),
        str(row["draws"]),
        row["selection"],
        row["protocol"]["selected_on"] or "-",
        "yes" if row["joint"] else "no",
        str(row["seeds"]),
    ]


def _others(table: "Table") -> Iterator[str]:
    kinds = {"measured": "Others, measured with what they released", "published": "As published"}
    for kind, title in kinds.items():
        some = [peer for peer in table.peers if peer.kind == kind]
        if not some:
            continue
        yield f"## {title}"
        yield ""
        yield (
            "Not ranked with the above: each row names in what its protocol differs. Their "
            "coverage is by the samples' own quantile, which leans on the samples: 83.7 % of "
            "truths where a perfect forecaster of 20 samples has 90 % by ours."
        )
        yield ""
        folds = [fold for fold in table.recipe.windows if any(fold in peer.folds for peer in some)]
        heads = ["method", *folds, "mean", "energy score", "in 90 %", *TERMS[:-1]]
        lines = [_their_line(peer, folds) for peer in some]
        yield from _table([*heads, "difference", "source"], lines)
        yield ""


def _their_line(peer: Peer, folds: Sequence[str]) -> list[str]:
    return [
        f"{peer.method} ({peer.by})",
        *(_given(peer.scores(fold)) for fold in folds),
        _given(peer.mean),
        _number(peer.mean.get("energy_score")),
        _percent(peer.mean.get("coverage_90")),
        str(peer.samples),
        str(peer.draws),
        peer.selection,
        peer.selected_on,
        "yes" if peer.joint else "no",
        peer.difference,
        peer.source,
    ]


def _commands(table: "Table") -> Iterator[str]:
    yield from ("## Each row again", "")
    for row in table.rows:
        spent = f"{row.facts['training_seconds']:.0f} s of training, "
        spent = "" if row.floor else spent
        steps = "" if row.floor else f", {row.protocol['steps']} step(s)"
        seconds = f"{spent}{row.facts['evaluation_seconds']:.0f} s of evaluation"
        yield f"- {row.label}{steps} ({seconds}): `{row.facts['command']}`"
    yield from ("", "Splits: " + "; ".join(_hashes(table)) + ".")


def _hashes(table: "Table") -> Iterator[str]:
    for row in table.rows[:1]:
        known = row.protocol["hash"]
        each = known if isinstance(known, dict) else {next(iter(row.folds)): known}
        yield from (f"{fold} `{value[:16]}`" for fold, value in each.items())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _pair(scores: Mapping[str, float]) -> str:
    return " / ".join(_number(scores.get(name)) for name in ("min_ade", "min_fde"))


def _given(scores: Mapping[str, float]) -> str:
    """Errors with the digits that their source gave."""
    pair = [scores.get(name) for name in ("min_ade", "min_fde")]
    return " / ".join("-" if value is None else f"{value:g}" for value in pair)


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _between(row: Mapping[str, Any], name: str) -> str:
    ends = row["intervals"].get(name)
    told = f" [{_number(ends[0])} - {_number(ends[1])}]" if ends else ""
    least, most = row["seeds_range"].get(name, (None, None))
    return told + (f" {{{_number(least)} - {_number(most)}}}" if row["seeds"] > 1 else "")
