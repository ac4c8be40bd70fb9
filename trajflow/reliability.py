"""How often regions hold on people they were not fitted on, before and after calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.calibration import LEVELS, Calibration, Evidence, fit, person_means
from trajflow.errors import DataError
from trajflow.types import Floats, Ints

KINDS = ("endpoint", "each", "path")


@dataclass(frozen=True)
class Reliability:
    """Shares of the truths inside regions at `LEVELS`, of Q levels.

    Attributes:
        inside: By kind of region ("endpoint"; "each", the mean over the steps; "path") and who
            says how wide it is ("own": the samples; "calibrated"), the shares of the levels with
            every person counting once ("people") and every window ("windows"), [Q] each.
        radius: Mean radius of the endpoint's region by who says it, [Q]; people count once.
        people: Distinct agents.
        windows: Forecasts.
    """

    inside: dict[str, dict[str, dict[str, Floats]]]
    radius: dict[str, Floats]
    people: int
    windows: int

    def to_json(self) -> dict[str, Any]:
        """Everything, in values that JSON can hold; an infinite radius is null."""
        shares = {
            kind: {
                who: {by: one.round(6).tolist() for by, one in two.items()}
                for who, two in both.items()
            }
            for kind, both in self.inside.items()
        }
        radius = {
            who: [float(r) if np.isfinite(r) else None for r in one]
            for who, one in self.radius.items()
        }
        counts = {"people": self.people, "windows": self.windows}
        return {**counts, "levels": LEVELS.tolist(), "inside": shares, "radius": radius}


def check(calibration: Calibration, evidence: Evidence) -> Reliability:
    """Hold a calibration against other people than it was fitted on."""
    return _reliability(evidence, _calibrated_radii(calibration, evidence))


def cross_check(evidence: Evidence, typical_spread: Floats, seed: int = 0) -> Reliability:
    """Fit on one half of the people, look at the other half, and the other way round.

    Args:
        evidence: Windows of all of them.
        typical_spread: Median spread of training forecasts at each step, [F].
        seed: What the halves are drawn by.

    Raises:
        DataError: There are fewer than two people.
    """
    if evidence.people < 2:
        raise DataError("reliability needs two people at least, one to fit on and one to look at")
    radii = {kind: np.empty_like(evidence.own) for kind in ("each", "path")}
    half = _halves(evidence.person, seed)
    for held in (0, 1):
        there = np.flatnonzero(half == held)
        one = fit(evidence.take(np.flatnonzero(half != held)), typical_spread)
        for kind, result in _calibrated_radii(one, evidence.take(there)).items():
            radii[kind][:, there] = result
    return _reliability(evidence, radii)


def _halves(person: Ints, seed: int) -> Ints:
    """0 or 1 for each window [N], the same for all of a person's, as evenly as people go."""
    people, row = np.unique(person, return_inverse=True)
    side = np.arange(len(people)) % 2
    return np.asarray(np.random.default_rng(seed).permutation(side)[row])


def _calibrated_radii(calibration: Calibration, evidence: Evidence) -> dict[str, Floats]:
    """Radii at `LEVELS`, [Q, N, F], of each step and of the path."""
    return {
        "each": np.stack([calibration.radius(evidence.spread, q, "each") for q in LEVELS]),
        "path": np.stack([calibration.radius(evidence.spread, q, "path") for q in LEVELS]),
    }


def _reliability(evidence: Evidence, radii: dict[str, Floats]) -> Reliability:
    own = {"each": evidence.own, "path": evidence.own_path}
    both = {"own": own, "calibrated": radii}
    return Reliability(
        inside={
            kind: {who: _shares(evidence, said, kind) for who, said in both.items()}
            for kind in KINDS
        },
        radius={
            who: person_means(said["each"][..., -1].T, evidence.person)
            for who, said in both.items()
        },
        people=evidence.people,
        windows=len(evidence.person),
    )


def _shares(evidence: Evidence, radii: dict[str, Floats], kind: str) -> dict[str, Floats]:
    hits = evidence.away <= radii["path" if kind == "path" else "each"]
    fold = {"endpoint": hits[..., -1], "each": hits.mean(-1), "path": hits.all(-1)}
    inside = np.asarray(fold[kind].T, float)
    return {"people": person_means(inside, evidence.person), "windows": inside.mean(0)}
