"""Measures how often prediction regions contain the truth, before and after calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.calibration import LEVELS, Calibration, Evidence, fit, person_means
from trajflow.errors import DataError
from trajflow.types import Floats, Ints

KINDS = ("endpoint", "each", "path")


@dataclass(frozen=True)
class Reliability:
    """Share of truths inside prediction regions at Q `LEVELS`.

    Attributes:
        inside: Shares [Q] by kind of region ("endpoint"; "each", the mean over steps; "path"), by
            source of the radius ("own": the samples; "calibrated"), and by weighting ("people":
            every person counts once; "windows").
        radius: Mean radius at the last step by source, [Q]; every person counts once.
        people: Number of agents.
        windows: Number of forecasts.
    """

    inside: dict[str, dict[str, dict[str, Floats]]]
    radius: dict[str, Floats]
    people: int
    windows: int

    def to_json(self) -> dict[str, Any]:
        """The values as JSON can hold them; an infinite radius is null."""
        shares = {
            kind: {
                source: {by: shares_at.round(6).tolist() for by, shares_at in weightings.items()}
                for source, weightings in sources.items()
            }
            for kind, sources in self.inside.items()
        }
        radius = {
            source: [float(r) if np.isfinite(r) else None for r in shares_at]
            for source, shares_at in self.radius.items()
        }
        counts = {"people": self.people, "windows": self.windows}
        return {**counts, "levels": LEVELS.tolist(), "inside": shares, "radius": radius}


def check(calibration: Calibration, evidence: Evidence) -> Reliability:
    """Measure a calibration on other people than it was fitted on."""
    return _reliability(evidence, _calibrated_radii(calibration, evidence))


def cross_check(evidence: Evidence, typical_spread: Floats, seed: int = 0) -> Reliability:
    """Fit on one half of the people and measure on the other, both ways.

    Args:
        evidence: Windows of all people.
        typical_spread: Median spread of training forecasts at each step, [F].
        seed: Seed of the halves.

    Raises:
        DataError: There are fewer than two people.
    """
    if evidence.people < 2:
        raise DataError("reliability needs at least two people: one to fit on, one to measure on")
    radii = {kind: np.empty_like(evidence.own) for kind in ("each", "path")}
    half = _halves(evidence.person, seed)
    for side in (0, 1):
        test = np.flatnonzero(half == side)
        calibration = fit(evidence.take(np.flatnonzero(half != side)), typical_spread)
        for kind, result in _calibrated_radii(calibration, evidence.take(test)).items():
            radii[kind][:, test] = result
    return _reliability(evidence, radii)


def _halves(person: Ints, seed: int) -> Ints:
    """0 or 1 for each window [N], the same for all windows of a person."""
    people, row = np.unique(person, return_inverse=True)
    side = np.arange(len(people)) % 2
    return np.asarray(np.random.default_rng(seed).permutation(side)[row])


def _calibrated_radii(calibration: Calibration, evidence: Evidence) -> dict[str, Floats]:
    """Radii at `LEVELS`, [Q, N, F], for each step and for the path."""
    return {
        "each": np.stack([calibration.radius(evidence.spread, q, "each") for q in LEVELS]),
        "path": np.stack([calibration.radius(evidence.spread, q, "path") for q in LEVELS]),
    }


def _reliability(evidence: Evidence, radii: dict[str, Floats]) -> Reliability:
    own = {"each": evidence.own, "path": evidence.own_path}
    sources = {"own": own, "calibrated": radii}
    return Reliability(
        inside={
            kind: {
                source: _shares(evidence, source_radii, kind)
                for source, source_radii in sources.items()
            }
            for kind in KINDS
        },
        radius={
            source: person_means(source_radii["each"][..., -1].T, evidence.person)
            for source, source_radii in sources.items()
        },
        people=evidence.people,
        windows=len(evidence.person),
    )


def _shares(evidence: Evidence, radii: dict[str, Floats], kind: str) -> dict[str, Floats]:
    hits = evidence.away <= radii["path" if kind == "path" else "each"]
    fold = {"endpoint": hits[..., -1], "each": hits.mean(-1), "path": hits.all(-1)}
    inside = np.asarray(fold[kind].T, float)
    return {"people": person_means(inside, evidence.person), "windows": inside.mean(0)}
