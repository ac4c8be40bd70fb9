"""A forecast of scenes in which some agents are set apart: the others are asked about alone."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.forecast import Forecast

Ask = Callable[..., Forecast]
AXES = {"samples": 1, "weights": 1, "surprise": 0, "reasons": 0, "expected_error": 0}
"""Where the scenes and agents stand in each part of a forecast."""


def forecast_apart(
    ask: Ask,
    past: NDArray[np.float64],
    faults: NDArray[np.object_],
    around: NDArray[np.float64],
    samples: int,
    seed: int | None,
    ids: Sequence[object],
) -> Forecast:
    """The forecast of pasts [*, A, T, D] of which some agents are faulty: NaN for these.

    Each scene is asked about alone, with a seed of its own; a single one keeps the seed given.

    Args:
        ask: Forecasts one scene: `ask(past, neighbours, samples, seed, agents)`.
        past: World positions.
        faults: What is wrong with each agent, [B, A]; None where nothing is.
        around: Neighbours, [B, N, T, D].
        samples: Draws S.
        seed: Seed of the first scene; None: any.
        ids: Of the A agents, not all of them faulty; none if they have none.
    """
    lead, scenes = past.shape[:-2], past.reshape(-1, *past.shape[-3:])
    chance = secrets.randbits(62) if seed is None else seed
    parts = _parts(ask, scenes, faults, around, samples, chance, ids)
    for name, axis in AXES.items():
        if name in parts:
            whole = parts[name]
            shape = (*whole.shape[:axis], *lead, *whole.shape[axis + 2 :])
            parts[name] = whole.reshape(shape)
    return Forecast(**parts, agents=tuple(ids), faults=faults.reshape(lead))


def _parts(
    ask: Ask,
    past: NDArray[np.float64],
    faults: NDArray[np.object_],
    around: NDArray[np.float64],
    samples: int,
    seed: int,
    ids: Sequence[object],
) -> dict[str, Any]:
    """The parts of a forecast of scenes [B, A, T, D] by name."""
    parts: dict[str, Any] = {}
    for scene, row in enumerate(faults):
        good = [i for i, fault in enumerate(row) if fault is None]
        if not good:
            continue
        names = [ids[i] for i in good] if ids else ()
        told = ask(past[scene][good], around[scene], samples, seed + scene, names)
        for name, axis in AXES.items():
            value = getattr(told, name)
            if value is not None:
                whole = parts.setdefault(name, _blank(value, axis, faults.shape))
                whole[(slice(None),) * axis + (scene, good)] = value
        parts.setdefault("dt", told.dt)
        parts.setdefault("calibration", told.calibration)
    return parts


def _blank(value: NDArray[Any], axis: int, shape: tuple[int, ...]) -> NDArray[Any]:
    blank = "" if value.dtype == object else np.nan
    whole = (*value.shape[:axis], *shape, *value.shape[axis + 1 :])
    return np.full(whole, blank, dtype=value.dtype)
