"""A number of each agent that may be too high or too low."""

from collections.abc import Mapping

import numpy as np

from trajflow.types import Floats

LEVELS = np.concatenate([[0.001, 0.002, 0.005], np.arange(1, 100) / 100, [0.995, 0.998, 0.999]])
"""Shares of people for which quantiles are kept."""


def quantiles(values: Floats, weight: Floats) -> dict[str, Floats]:
    """What to remember of values [N] of weight [N]: their quantiles at `LEVELS`."""
    kept = np.isfinite(values)
    values, weight = (values[kept], weight[kept]) if kept.any() else (np.zeros(1), np.ones(1))
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) / weight.sum()
    return {"quantiles": np.interp(LEVELS, reached, values[order])}


def share(state: Mapping[str, Floats], values: Floats) -> Floats:
    """Share of training people below each value, [N], from 0 to 1; one half if it is not known."""
    found = np.interp(values, _rising(state["quantiles"]), LEVELS, 0.0, 1.0)
    return np.asarray(np.where(np.isfinite(values), found, 0.5))


def both(state: Mapping[str, Floats], values: Floats) -> Floats:
    """How far out each value is on either side, [N]; beyond what is known it goes on growing."""
    known = state["quantiles"]
    middle, low, high = known[len(known) // 2], known[0], known[-1]
    scale = max(float(high - low), 1e-9)
    beyond = np.maximum(np.maximum(values - high, low - values), 0) / scale
    inside = np.interp(values, _rising(known), LEVELS)
    far = -np.log(2 * np.minimum(inside, 1 - inside))
    return np.asarray(np.where(np.isfinite(values), far + beyond, 0 * middle))


def rarity(state: Mapping[str, Floats], values: Floats) -> list[str]:
    """Where values [N] lie: above, or below, all but how many of those learned from."""
    said = []
    for part in share(state, values):
        side, inside = ("above", part) if part >= 0.5 else ("below", 1 - part)
        outside = max(1 - inside, 0.001)
        said.append(f"{side} all but {100 * outside:.2g} % of those learned from")
    return said


def _rising(values: Floats) -> Floats:
    """The values, made to rise strictly where they tie."""
    return np.asarray(values + 1e-9 * max(1e-9, np.ptp(values)) * np.arange(len(values)))
