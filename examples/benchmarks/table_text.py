"""The table of a benchmark as CSV, as Markdown, and as a summary for the terminal."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trajflow.evaluation.ranking import Ranked, by_protocol, ranked
from trajflow.text import plain

TERMS = ("samples", "draws", "selection", "joint", "steps", "clocks", "earlier_paths", "min_agents")
"""Evaluation options that distinguish the rows of a method."""
WATCHED = {
    None: "",
    "yes": ", with a memory of the recording",
    "earlier paths": ", with earlier paths of the recording",
}
"""What forecasts see of a recording beside the window, by "watched" of the protocol."""
ERRORS = ("min_ade", "min_fde")
RATES = {"coverage_50": "coverage@50", "coverage_90": "coverage@90", "miss_rate": "miss rate"}
EXPLANATION = """Errors are minADE / minFDE, each of its own best of K samples. Rows are ranked by \
energy score within one protocol; "=" marks rows whose scores do not differ significantly by a \
paired bootstrap over people, with the variance of the seeds. Brackets: 95 % intervals by \
bootstrap over people, with the variance of the seeds (Student) if there are several; folds are \
combined as independent (Zou and Donner 2008). Braces: range of the seeds. In the mean all folds \
have equal weights; "by windows" is the energy score with equal weights of all windows. Coverage \
is the share of truths whose rank among truth and samples, by the distance to the mean of the \
others, is within the level; a perfect forecaster has exactly the level."""
PEER_EXPLANATION = """Not ranked with the rows above: each row states how its protocol differs. \
Coverage here is by the quantile of the samples, which is biased: 83.7 % for a perfect forecaster \
with 20 samples at level 90 %."""


def to_csv(table: Mapping[str, Any]) -> str:
    """The table as CSV: a line for each row and each other method, a column for each score."""
    lines = [dict(_row_cells(row)) for row in table["rows"]]
    lines += [dict(_peer_cells(peer)) for peer in table["peers"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(n for line in lines for n in line)))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().replace("\r\n", "\n")


def _row_cells(row: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield from (("method", row["label"]), ("kind", "baseline" if row["baseline"] else "ours"))
    yield from ((name, row[name]) for name in (*TERMS, "seeds"))
    yield "selected_on", row["protocol"]["selected_on"]
    for fold, result in row["folds"].items():
        yield from ((f"{fold}_{name}", result["mean"][name]) for name in ERRORS)
    for name, mean in row["mean"].items():
        seeds = row["seed_means"][name]
        values = (mean, min(seeds), max(seeds), *row["intervals"].get(name, ()))
        kinds = ("mean", "least", "most", "low", "high")
        yield from ((f"{name}_{k}", v) for k, v in zip(kinds, values, strict=False))
    for name in ("milliseconds_per_agent", "training_seconds", "evaluation_seconds", "command"):
        yield name, row[name]
    yield "hash", json.dumps(row["protocol"]["hash"])
    yield "data", row["protocol"]["fingerprint"]
    yield from ((f"machine_{name}", value) for name, value in row["machine"].items())


def _peer_cells(peer: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    nested = ("folds", "energy", "mean", "benchmark")
    yield from ((name, value) for name, value in peer.items() if name not in nested)
    for fold, errors in peer["folds"].items():
        yield from zip((f"{fold}_{name}" for name in ERRORS), errors, strict=True)
    yield from ((f"{name}_mean", value) for name, value in peer["mean"].items())


def to_markdown(table: Mapping[str, Any]) -> str:
    """The table as a Markdown document."""
    lines = [*_head(table), *_rows(table), *_peers(table), *_commands(table)]
    return plain("\n".join(lines)) + "\n"


def summary(table: Mapping[str, Any]) -> str:
    """The main scores of each row, for a terminal."""
    scores = ("energy_score", *ERRORS, "coverage_90")
    lines = [
        [row["label"], str(row["steps"]), f"{row['samples']} of {row['draws']}", str(row["seeds"])]
        + [_number(row["mean"].get(name), 4) for name in scores]
        for row in table["rows"]
    ]
    heads = ["method", "steps", "K of draws", "seeds", "energy score", "minADE", "minFDE"]
    return "\n".join([*_grid([*heads, "coverage@90"], lines), *_unfinished(table)])


def _head(table: Mapping[str, Any]) -> Iterator[str]:
    rows = table["rows"]
    yield from (f"# {table['title']}", "")
    yield f"Data `{table['data']}`, sha256 `{table['fingerprint']}`."
    for terms in [row["protocol"] for row in rows[:1]]:
        yield (
            f"{terms['history']} + {terms['horizon']} steps, stride {terms['stride']}, unit "
            f"{terms['unit']}; miss beyond {terms['miss']:g}, collision below "
            f"{terms['collide']:g} {terms['unit']}. Test split; epochs, the temperature of "
            "the noise and learned samples are selected on the validation split."
        )
    for names in {tuple(row["protocol"]["validation"]) for row in rows}:
        if names:
            yield f"Validation split: the training recordings {', '.join(names)}."
    counts = ", ".join(f"{name} {_counts(fold)}" for name, fold in table["folds"].items())
    yield f"Windows (people): {counts}. {table['note']}".rstrip()
    if table["settings"]:
        changed = ", ".join(f"{n}={json.dumps(v)}" for n, v in table["settings"].items())
        yield f"Settings other than the defaults: {changed}."
    for machine in dict.fromkeys(tuple(row["machine"].items()) for row in rows):
        yield f"Machine: {', '.join(f'{name} {value}' for name, value in machine)}."
    if table["partial"]:
        folds = ", ".join(table["folds"])
        yield f"**Means of the rows are over {folds} only; other methods have all folds.**"
    yield from (*_unfinished(table), "")


def _counts(fold: Mapping[str, Any]) -> str:
    expected = fold["field"]
    different = expected not in (None, fold["windows"])
    note = f", **the literature has {expected}**" if different else ""
    return f"{fold['windows']} ({fold['people']}{note})"


def _unfinished(table: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"**Failed: {name}**: {reason}." for name, reason in table["failed"].items())
    missing = [name for name in table["missing"] if name not in table["failed"]]
    if missing:
        yield f"**Not done yet: {', '.join(missing)}.**"


def _rows(table: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Measured here", "", EXPLANATION, "")
    folds = list(table["folds"])
    heads = ["rank", "method", "steps", *folds, "mean", "energy score", "by windows"]
    heads += [*RATES.values(), "spread / error", "JADE / JFDE", "collision rate", "ms / agent"]
    heads += ["selected on", "seeds"]
    for group in by_protocol(table["rows"]):
        lines = [_row_line(entry, folds) for entry in ranked(group)]
        yield from (f"{_protocol_title(group[0])}:", "", *_grid(heads, lines), "")


def _protocol_title(row: Mapping[str, Any]) -> str:
    how = "plain samples"
    if row["selection"] != "plain":
        how = f"selected by {row['selection']} from {row['draws']} samples; "
        how += "energy score, spread and coverage use their weights"
    clocks = f"; with the real time steps of {row['clocks']}" if row["clocks"] else ""
    scope = "whole scenes" if row["joint"] else "per agent"
    watched = WATCHED[row["protocol"].get("watched")]
    least = row["min_agents"]
    few = f"; moments of {least} agents or more" if least > 1 else ""
    return f"K = {row['samples']}, {how}, {scope}{watched}{clocks}{few}"


def _row_line(entry: Ranked, folds: Sequence[str]) -> list[str]:
    row, mean = entry.row, entry.row["mean"]
    kind = "baseline: " if row["baseline"] else ""
    is_set = row["set_regressor"] and row["selection"] == "plain"
    return [
        f"{entry.rank}{' =' if entry.tied else ''}" if mean else "-",
        f"{kind}{row['method']}{' (a set, not samples)' if is_set else ''}",
        "-" if row["baseline"] else str(row["steps"]),
        *(_pair(row["folds"].get(fold, {}).get("mean", {})) for fold in folds),
        _pair(mean) + _interval(row, "min_ade"),
        _number(mean.get("energy_score")) + _interval(row, "energy_score"),
        _number(row["window_mean"].get("energy_score")),
        *(_percent(mean.get(name)) for name in RATES),
        _number(mean.get("spread_ratio"), 2),
        f"{_number(mean.get('jade'))} / {_number(mean.get('jfde'))}",
        _percent(mean.get("collision_rate")),
        f"{row['milliseconds_per_agent']:.2g}",
        row["protocol"]["selected_on"] or "-",
        str(row["seeds"]),
    ]


def _peers(table: Mapping[str, Any]) -> Iterator[str]:
    kinds = {"measured": "Other methods, measured here", "published": "Other methods, as published"}
    for kind, title in kinds.items():
        peers = [peer for peer in table["peers"] if peer["kind"] == kind]
        if not peers:
            continue
        folds = list(dict.fromkeys(fold for peer in peers for fold in peer["folds"]))
        heads = ["method", *folds, "mean", "energy score", "coverage@90", "K", "draws"]
        heads += ["selection", "selected on", "joint", "difference", "source"]
        lines = [_peer_line(peer, folds) for peer in peers]
        yield from (f"## {title}", "", PEER_EXPLANATION, "", *_grid(heads, lines), "")


def _peer_line(peer: Mapping[str, Any], folds: Sequence[str]) -> list[str]:
    mean = peer["mean"]
    pairs = [peer["folds"].get(fold, (None, None)) for fold in folds]
    pairs.append([mean.get(name) for name in ERRORS])
    return [
        f"{peer['method']} ({peer['by']})",
        *(" / ".join("-" if v is None else f"{v:g}" for v in pair) for pair in pairs),
        _number(mean.get("energy_score")),
        _percent(mean.get("coverage_90")),
        *(str(peer[name]) for name in ("samples", "draws", "selection", "selected_on")),
        "yes" if peer["joint"] else "no",
        peer["difference"],
        peer["source"],
    ]


def _commands(table: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Commands", "")
    for row in table["rows"]:
        steps = "" if row["baseline"] else f", {row['steps']} step(s)"
        training = "" if row["baseline"] else f"{row['training_seconds']:.0f} s of training, "
        seconds = f"{training}{row['evaluation_seconds']:.0f} s of evaluation"
        yield f"- {row['label']}{steps} ({seconds}): `{row['command']}`"
    for row in table["rows"][:1]:
        hashes = row["protocol"]["hash"]
        if not isinstance(hashes, dict):
            hashes = {next(iter(row["folds"])): hashes}
        splits = "; ".join(f"{fold} `{value[:16]}`" for fold, value in hashes.items())
        yield from ("", f"Splits: {splits}.")


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _pair(scores: Mapping[str, float]) -> str:
    return " / ".join(_number(scores.get(name)) for name in ERRORS)


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _interval(row: Mapping[str, Any], name: str) -> str:
    """The interval of a mean, and the range of its seeds."""
    interval, seeds = row["intervals"].get(name), row["seed_means"].get(name, ())
    people = f" [{_number(interval[0])} - {_number(interval[1])}]" if interval else ""
    return people + (
        f" {{{_number(min(seeds))} - {_number(max(seeds))}}}" if len(seeds) > 1 else ""
    )
