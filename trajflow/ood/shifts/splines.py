"""Positions between the steps of a track, by a smooth curve through all of them."""

import numpy as np

from trajflow.types import Bools, Floats


def between(path: Floats, when: Floats) -> Floats:
    """Positions of tracks at moments between their steps, [B, A, W, D] -> [B, A, N, D].

    A natural cubic spline runs through the steps around the present without a gap: at a step it is
    the step itself, and velocity and acceleration have no jumps, so there is no staircase to give
    it away as linear interpolation would. It is still smoother than a sensor would have been,
    which repeats its own noise at every step. What lies outside the run is NaN.

    Args:
        path: World positions; NaN where not seen.
        when: Moments, in steps from the first one of the path, [N].

    Source: de Boor 1978, "A practical guide to splines", ch. IV.
    """
    found = np.full((*path.shape[:2], len(when), path.shape[-1]), np.nan)
    seen = np.isfinite(path).all(-1)
    patterns, which = np.unique(seen.reshape(-1, seen.shape[-1]), axis=0, return_inverse=True)
    which = which.reshape(seen.shape[:2])
    for number, pattern in enumerate(patterns):
        for first, last in _runs(pattern):
            inside = (when >= first) & (when <= last)
            weights = spline_weights(last - first + 1, when[inside] - first)
            here = which == number
            rows, agents = np.nonzero(here)
            curve = np.einsum("nw,kwd->knd", weights, path[here][:, first : last + 1])
            found[rows[:, None], agents[:, None], np.flatnonzero(inside)] = curve
    return found


def spline_weights(knots: int, when: Floats) -> Floats:
    """Weights of K positions, a step apart, in their natural cubic spline at moments, [N, K].

    Args:
        knots: How many positions, K.
        when: Moments between 0 and K - 1, in steps, [N].
    """
    before = np.clip(np.floor(when).astype(int), 0, max(0, knots - 2))
    share = (when - before)[:, None]
    one = np.eye(knots)
    after = np.minimum(before + 1, knots - 1)
    bend = _bends(knots)
    line = (1 - share) * one[before] + share * one[after]
    left, right = ((part**3 - part) / 6 for part in (1 - share, share))
    return np.asarray(line + left * bend[before] + right * bend[after])


def _bends(knots: int) -> Floats:
    """Second derivatives at the knots as weights of the positions, [K, K]; none at the ends."""
    bend = np.zeros((knots, knots))
    if knots > 2:
        inner = np.eye(knots - 2)
        system = 4 * inner + np.eye(knots - 2, k=1) + np.eye(knots - 2, k=-1)
        second = np.eye(knots - 2, knots) - 2 * np.eye(knots - 2, knots, 1)
        second += np.eye(knots - 2, knots, 2)
        bend[1:-1] = np.linalg.solve(system, 6 * second)
    return bend


def _runs(seen: Bools) -> list[tuple[int, int]]:
    """First and last step of each run without a gap."""
    edges = np.diff(np.concatenate([[False], seen, [False]]).astype(int))
    return list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True))
