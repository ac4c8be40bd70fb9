"""Ranks evaluations by energy score. Only evaluations with the same protocol are ranked."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.statistics import People, paired_interval, seed_width, widened

Row = Mapping[str, Any]
# Fields of a report's "protocol" that must agree.
PROTOCOL_FIELDS = (
    "fingerprint",
    "hash",
    "split",
    "fold",
    "history",
    "horizon",
    "stride",
    "watched",
)
# Fields of the report itself that must agree. Steps may differ: they are the forecaster's own cost.
REPORT_FIELDS = ("samples", "draws", "selection", "joint", "clocks")
DESCRIPTIONS = {
    "fingerprint": "the tracks",
    "hash": "the split",
    "split": "the evaluated part",
    "fold": "the fold",
    "history": "past steps",
    "horizon": "future steps",
    "stride": "steps between windows",
    "watched": "whether the place was watched before",
    "samples": "samples that are judged",
    "draws": "draws they are selected from",
    "selection": "selection of samples",
    "joint": "joint samples of a scene",
    "clocks": "real clocks",
}
SCORE = "energy_score"


@dataclass(frozen=True)
class Difference:
    """A field of the protocol in which rows differ.

    Attributes:
        field: Name of the field.
        rows: Names of the rows with each value, by the value as text.
    """

    field: str
    rows: dict[str, list[str]]

    def __str__(self) -> str:
        """The field and the rows with each value, in one sentence."""
        text = ", ".join(f"{value} for {_names(names)}" for value, names in self.rows.items())
        return f"{DESCRIPTIONS[self.field]} ({self.field}): {text}"


@dataclass(frozen=True)
class Ranked:
    """A row with its rank.

    Attributes:
        rank: 1 for the best; tied rows share a rank.
        tied: Whether another row has the same rank.
        row: The row.
        behind: 95 % interval of its energy score minus that of the best row of the rank before,
            over people and seeds; None for the first row, or if a report has no scores of people.
    """

    rank: int
    tied: bool
    row: Row
    behind: tuple[float, float] | None = None


def protocol(row: Row) -> dict[str, str]:
    """The fields that must agree for a ranking, as text."""
    where = {name: row["protocol"].get(name) for name in PROTOCOL_FIELDS}
    terms = {name: row.get(name) for name in REPORT_FIELDS}
    terms["draws"] = terms["draws"] or terms["samples"]
    terms["selection"] = terms["selection"] or "plain"
    terms["clocks"] = terms["clocks"] or "none"
    return {name: _text(name, value) for name, value in (where | terms).items()}


def differences(rows: Sequence[Row]) -> list[Difference]:
    """The fields in which the protocols of rows differ; empty if the rows may be ranked."""
    protocols = [(row["name"], protocol(row)) for row in rows]
    result = []
    for field in DESCRIPTIONS:
        rows_of: dict[str, list[str]] = {}
        for name, values in protocols:
            rows_of.setdefault(values[field], []).append(name)
        if len(rows_of) > 1:
            result.append(Difference(field, rows_of))
    return result


def by_protocol(rows: Sequence[Row]) -> list[list[Row]]:
    """Group rows by protocol, in the order of their first rows."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(json.dumps(protocol(row)), []).append(row)
    return list(groups.values())


def ranked(rows: Sequence[Row]) -> list[Ranked]:
    """Rank rows of one protocol by energy score, lowest first; rows without one come last.

    A row is tied with the best row of a rank if the 95 % interval of their difference contains 0;
    see `difference`. Without scores of people, rows are tied if the score of one lies within the
    interval of the other, which separates fewer rows.
    """
    order = sorted(rows, key=_score)
    rank: list[int] = []
    behind: list[tuple[float, float] | None] = []
    for place, row in enumerate(order):
        best = order[rank[-1] - 1] if rank else row
        ends = difference(row, best) if rank else None
        tied = ends[0] <= 0 <= ends[1] if ends else _alike(best, row)
        rank.append(rank[-1] if rank and tied else place + 1)
        behind.append(ends)
    return [
        Ranked(r, rank.count(r) > 1, row, ends)
        for r, row, ends in zip(rank, order, behind, strict=True)
    ]


def difference(one: Row, other: Row) -> tuple[float, float] | None:
    """95 % interval of the energy score of `one` minus that of `other`, on the same people.

    People are resampled for both rows at once. If a row is a mean over seeds, the variance of that
    mean is added.

    Returns:
        The ends of the interval; None if the rows do not have scores of the same people.
    """
    first, second = _people(one), _people(other)
    if first is None or second is None or list(first) != list(second):
        return None
    for name, people in first.items():
        same = np.array_equal(people.agent, second[name].agent)
        if not (same and np.array_equal(people.windows, second[name].windows)):
            return None
    low, high = paired_interval(first, second)
    seeds = [row.get("seed_means", {}).get(SCORE, ()) for row in (one, other)]
    return widened(low, _score(one) - _score(other), high, seed_width(*seeds))


def _people(row: Row) -> dict[str, People] | None:
    """People of each group of a row, sorted by group."""
    try:
        result = {}
        for name, group in sorted(row["per_person"].items()):
            agent, windows = np.array(group["agent"], int), np.array(group["windows"], int)
            mean = np.array(group[SCORE], float)
            result[name] = People(agent, windows, (mean * windows)[:, None])
        return result or None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _score(row: Row) -> float:
    score = row["mean"].get(SCORE)
    return math.inf if score is None else float(score)


def _alike(one: Row, other: Row) -> bool:
    return _covers(one, other) or _covers(other, one)


def _covers(one: Row, other: Row) -> bool:
    low, high = one.get("intervals", {}).get(SCORE) or (None, None)
    score = other["mean"].get(SCORE)
    return None not in (low, high, score) and low <= score <= high


def _text(name: str, value: object) -> str:
    if value is None:
        return {"fold": "none", "watched": "no"}.get(name, "not stated")
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if name == "fingerprint" else text if name != "hash" else _short(value)


def _short(value: Any) -> str:
    parts = value.values() if isinstance(value, dict) else [value]
    return " ".join(str(part)[:8] for part in parts)


def _names(held: Sequence[str]) -> str:
    names = list(dict.fromkeys(held))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
