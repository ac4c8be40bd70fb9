"""What may be ranked with what: only answers to the same question, and ties as ties."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.statistics import People, paired_interval, seed_width, widened

Judged = Mapping[str, Any]
QUESTION = ("fingerprint", "hash", "split", "fold", "history", "horizon", "stride", "watched")
"""What was judged; in a report's "protocol"."""
TERMS = ("samples", "draws", "selection", "joint", "clocks")
"""How it was judged; in the report itself. Evaluations per draw are the forecaster's own cost."""
MEANING = {
    "fingerprint": "the tracks",
    "hash": "the split into parts",
    "split": "the part",
    "fold": "the fold",
    "history": "past steps",
    "horizon": "future steps",
    "stride": "steps between windows",
    "watched": "whether the place was watched before",
    "samples": "samples that are judged",
    "draws": "draws they come from",
    "selection": "how they were chosen",
    "joint": "whether samples are of whole scenes",
    "clocks": "real clocks that were told",
}
SCORE = "energy_score"


@dataclass(frozen=True)
class Difference:
    """A field of the protocol that is not the same for all rows.

    Attributes:
        field: Its name.
        rows: Names of the rows that have each value, by the value in words.
    """

    field: str
    rows: dict[str, list[str]]

    def __str__(self) -> str:
        """The field and who has which value, in one sentence."""
        text = ", ".join(f"{value} for {_some(names)}" for value, names in self.rows.items())
        return f"{MEANING[self.field]} ({self.field}): {text}"


@dataclass(frozen=True)
class Ranked:
    """A row in its ranking.

    Attributes:
        rank: 1 for the best; rows that cannot be told apart have one rank.
        tied: Whether another row has the rank too.
        row: The row.
        behind: 95 % interval of its energy score less that of the best row before it, over the same
            people and over seeds; None for the first, or where a report does not tell of people.
    """

    rank: int
    tied: bool
    row: Judged
    behind: tuple[float, float] | None = None


def protocol(row: Judged) -> dict[str, str]:
    """The fields on which a ranking rests, in words."""
    asked = {name: row["protocol"].get(name) for name in QUESTION}
    terms = {name: row.get(name) for name in TERMS}
    terms["draws"] = terms["draws"] or terms["samples"]
    terms["selection"] = terms["selection"] or "plain"
    terms["clocks"] = terms["clocks"] or "none"
    return {name: _told(name, value) for name, value in (asked | terms).items()}


def differences(rows: Sequence[Judged]) -> list[Difference]:
    """The fields in which the protocols of some rows differ; none if they may be ranked."""
    known = [(row["name"], protocol(row)) for row in rows]
    result = []
    for field in MEANING:
        holders: dict[str, list[str]] = {}
        for name, values in known:
            holders.setdefault(values[field], []).append(name)
        if len(holders) > 1:
            result.append(Difference(field, holders))
    return result


def by_protocol(rows: Sequence[Judged]) -> list[list[Judged]]:
    """The rows in groups that share a protocol, in the order of their first rows."""
    groups: dict[str, list[Judged]] = {}
    for row in rows:
        groups.setdefault(json.dumps(protocol(row)), []).append(row)
    return list(groups.values())


def ranked(rows: Sequence[Judged]) -> list[Ranked]:
    """The rows of one protocol by energy score, lowest first; those without one come last.

    A row is tied with the best of the rank before if the 95 % interval of the difference of their
    energy scores holds 0. The interval is by bootstrap over people, who are the same for both, and
    contains the variance of the seeds where a row is of several; see `difference`. Where a report
    does not tell of people, rows are tied if the score of one lies within the interval of the
    other, which tells fewer apart.
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


def difference(one: Judged, other: Judged) -> tuple[float, float] | None:
    """95 % interval of the energy score of a row less that of another, of the same people.

    People are drawn for both rows at once. Where a row is a mean over seeds, the variance of that
    mean is added; of one seed nothing is known of it.

    Returns:
        Its ends; None if the rows do not tell of the same people.
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


def _people(row: Judged) -> dict[str, People] | None:
    """The people of each group of a row, sorted by its name."""
    try:
        result = {}
        for name, some in sorted(row["per_person"].items()):
            agent, windows = np.array(some["agent"], int), np.array(some["windows"], int)
            mean = np.array(some[SCORE], float)
            result[name] = People(agent, windows, (mean * windows)[:, None])
        return result or None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _score(row: Judged) -> float:
    score = row["mean"].get(SCORE)
    return math.inf if score is None else float(score)


def _alike(one: Judged, other: Judged) -> bool:
    return _covers(one, other) or _covers(other, one)


def _covers(one: Judged, other: Judged) -> bool:
    low, high = one.get("intervals", {}).get(SCORE) or (None, None)
    score = other["mean"].get(SCORE)
    return None not in (low, high, score) and low <= score <= high


def _told(name: str, value: object) -> str:
    if value is None:
        return {"fold": "none", "watched": "no"}.get(name, "not stated")
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if name == "fingerprint" else text if name != "hash" else _short(value)


def _short(value: Any) -> str:
    parts = value.values() if isinstance(value, dict) else [value]
    return " ".join(str(part)[:8] for part in parts)


def _some(held: Sequence[str]) -> str:
    names = list(dict.fromkeys(held))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
