"""The whole report: ordinary windows of a run, every shift of them, one verdict after another."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trajflow.calibration import person_quantiles
from trajflow.datasets.store import Store
from trajflow.errors import DataError, RunError
from trajflow.ood.floor import FLOORS, Floor
from trajflow.ood.foreseen import foreseen
from trajflow.ood.grounds import Grounds
from trajflow.ood.marks import RISK, UNAWARE, Judged, Marks, mark
from trajflow.ood.shifts import Shift, chosen
from trajflow.ood.verdict import Ordinary, Values, telling
from trajflow.types import Batch, Floats

ALARM = 0.95
"""Share of validation people who are to stay below a threshold."""
CHECKED = 1000
"""Validation windows that thresholds are taken from."""
APART = 1 << 40
"""Added to the numbers of people of other tracks, so that nobody is taken for another."""


@dataclass(frozen=True)
class Stage:
    """How far an examination is.

    Attributes:
        done: Sets of windows that were looked at.
        total: How many there are.
        note: The one that is looked at now.
    """

    done: int
    total: int
    note: str


@dataclass(frozen=True)
class Terms:
    """How windows are looked at.

    Attributes:
        samples: Futures of each target.
        seed: What they and the resamples follow from.
        names: Shifts, or severities of them, that are wanted; none: all.
    """

    samples: int = 20
    seed: int = 0
    names: tuple[str, ...] = ()


def examine(
    judged: Judged,
    grounds: Grounds,
    terms: Terms,
    against: Store | None = None,
) -> Iterator[Stage | Values]:
    """Everything that is known of a run out of its distribution, in values that JSON can hold.

    Args:
        judged: Who forecasts and is surprised.
        grounds: Ordinary windows and what shifts need.
        terms: How they are looked at.
        against: The other tracks that the grounds were made with, for the names in them.

    Yields:
        What is looked at next, and at the end all of it.

    Raises:
        ConfigError: There is no such shift.
        RunError: The shifts leave nobody.
    """
    began, shifts = time.perf_counter(), chosen(grounds.world, terms.names)
    floor = Floor.fit(_pasts(grounds.training()))
    yield Stage(0, len(shifts) + 1, "ordinary windows")
    marks = mark(grounds.batches, judged, floor, samples=terms.samples, seed=terms.seed)
    limits = _thresholds(judged, grounds, floor, marks)
    told = foreseen(grounds.batches, judged, terms.samples, terms.seed)
    ordinary = Ordinary(marks, limits, terms.seed, told)
    found = []
    for done, shift in enumerate(shifts, 1):
        yield Stage(done, len(shifts) + 1, f"{shift.name} {shift.level}")
        store = against if against is not None and shift.name == "against" else grounds.data.store
        found.append(_under(shift, judged, grounds, floor, ordinary, terms, store))
    if shifts and not any(one["windows"] for one in found):
        raise RunError("no window is left under any of these shifts; take more with --windows")
    yield {
        "ordinary": ordinary.report() | {"examples": _named(telling(marks), grounds.data.store)},
        "shifts": found,
        "scores": list(marks.scores),
        "notes": list(grounds.notes),
        "metre": grounds.world.metre,
        "seconds": time.perf_counter() - began,
    }


def _under(
    shift: Shift,
    judged: Judged,
    grounds: Grounds,
    floor: Floor,
    ordinary: Ordinary,
    terms: Terms,
    store: Store,
) -> Values:
    told: dict[str, Any] = {
        "key": shift.key,
        "name": shift.name,
        "severity": shift.severity,
        "level": shift.level,
        "what": shift.what,
        "learned": shift.taken and grounds.learned(f"{shift.name} {shift.level}"),
    }
    batches = grounds.shifted(shift)
    if not any(batch.targets for batch in batches):
        return told | {"windows": 0, "people": 0}
    marks = mark(batches, judged, floor, samples=terms.samples, seed=terms.seed)
    if shift.name == "against":
        marks = replace(marks, person=marks.person + APART)
    examples = telling(marks)
    return told | ordinary.against(marks) | {"examples": _named(examples, store)}


def _pasts(batches: Iterable[Batch]) -> Floats:
    return np.concatenate([batch.past[batch.target] for batch in batches])


def _thresholds(judged: Judged, grounds: Grounds, floor: Floor, marks: Marks) -> dict[str, float]:
    """By score, what 95 % of the validation people stay below; surprise is told as such a share."""
    ranks = {name: ALARM for name in marks.scores if name not in (RISK, UNAWARE, *FLOORS)}
    try:
        known = mark(grounds.training(CHECKED, "val"), judged, floor, forecasts=False)
    except DataError:
        return ranks
    limits = {
        name: float(person_quantiles(known.scores[name], known.person, ALARM)[0])
        for name in (RISK, UNAWARE, *FLOORS)
        if name in known.scores
    }
    return ranks | {name: limit for name, limit in limits.items() if np.isfinite(limit)}


def _named(examples: dict[str, list[Values]], store: Store) -> dict[str, list[Values]]:
    """The same with the names that recordings and agents have in their store."""
    for windows in examples.values():
        labels = store.labels([one["agent"] % APART for one in windows])
        for one, label in zip(windows, labels, strict=True):
            one |= {"scene": store.scenes[one["scene"]], "label": label}
            one["agent"] %= APART
    return examples
