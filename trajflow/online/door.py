"""What is pushed, checked before anything is taken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import ConfigError, TrajflowError

Floats = NDArray[np.float64]


def checked_time(time: Any) -> float:
    """A time in seconds.

    Raises:
        TrajflowError: It is no finite number.
    """
    try:
        seconds = float(time)
    except (TypeError, ValueError):
        raise TrajflowError(f"time must be a number of seconds, got {time!r}") from None
    if not math.isfinite(seconds):
        raise TrajflowError(f"time must be a finite number of seconds, got {time}")
    return seconds


def checked_ids(ids: Iterable[Hashable]) -> list[Hashable]:
    """Ids, each there once.

    Raises:
        TrajflowError: They are no sequence, one cannot be looked up, or one is there twice.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TrajflowError(f"ids must be a sequence of ids, got {ids!r}; write [{ids!r}]")
    found = list(ids)
    try:
        twice = [agent for agent, count in Counter(found).items() if count > 1]
        odd = [agent for agent in found if agent != agent]
    except (TypeError, ValueError) as error:
        raise TrajflowError(f"ids must be numbers, strings or the like: {error}") from None
    if twice:
        raise TrajflowError(f"agent {twice[0]!r} is there twice; ids must be unique")
    if odd:
        raise TrajflowError(f"{odd[0]!r} is not the same as itself, so it cannot be an id")
    return found


def checked_points(points: ArrayLike, agents: int, dims: int) -> Floats:
    """Positions of so many agents, [A, D].

    Raises:
        TrajflowError: They have another shape, or are no numbers.
    """
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise TrajflowError(f"positions must be an array of numbers: {error}") from None
    if array.shape != (agents, dims) and (agents or array.size):
        raise TrajflowError(
            f"positions of {agents} agents must be [{agents}, {dims}], got {list(array.shape)}"
        )
    return array.reshape(agents, dims)


def check_settings(settings: Sequence[tuple[str, float, float, bool]]) -> None:
    """Refuse numbers that are out of bounds.

    Args:
        settings: Name, number, least number, and whether that itself is allowed.

    Raises:
        ConfigError: One is.
    """
    for name, number, least, allowed in settings:
        if not (number > least or (allowed and number == least)):
            bound = f"at least {least:g}" if allowed else f"above {least:g}"
            raise ConfigError(f"{name} must be {bound}, got {number}")


def check_seen(wanted: Sequence[Hashable], everyone: Sequence[Hashable]) -> None:
    """Refuse ids of agents who were not seen lately.

    Raises:
        TrajflowError: One of those wanted is not among everyone who was.
    """
    missing = set(wanted).difference(everyone)
    if missing:
        first = next(agent for agent in wanted if agent in missing)
        raise TrajflowError(
            f"agent {first!r} was not seen lately; leave `ids` out for all who were"
        )
