"""What is pushed, checked before anything is taken."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import ConfigError, TrajflowError
from trajflow.text import safe

Floats = NDArray[np.float64]


MOST_IDS = 10_000
"""Ids of one push: as many as a predictor takes in one scene."""
LONGEST_ID = 256
"""Characters of an id, all texts and numbers in it together; ids are kept, and printed."""
LARGEST = 1e100
"""Largest coordinate: squares and differences of larger ones may not be finite."""


def checked_time(time: Any) -> float:
    """A time in seconds.

    Raises:
        TrajflowError: It is no finite number.
    """
    if np.ma.is_masked(time):
        raise TrajflowError("time is masked; push at a known time, or leave the push out")
    try:
        if isinstance(time, str | bytes | np.timedelta64):
            raise TypeError
        seconds = float(time)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TrajflowError(f"time must be a number of seconds, got {shown(time)}") from None
    if not math.isfinite(seconds):
        raise TrajflowError(f"time must be a finite number of seconds, got {seconds}")
    return seconds


def checked_ids(ids: Iterable[Hashable]) -> list[Hashable]:
    """Ids as plain Python values, each there once.

    Raises:
        TrajflowError: They are no sequence, there are too many, one is of another type or too
            long, or one is there twice.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TrajflowError(f"ids must be a sequence of ids, got {shown(ids)}; write [...]")
    found = [plain_id(agent) for agent in islice(ids, MOST_IDS + 1)]
    if len(found) > MOST_IDS:
        raise TrajflowError(f"a push holds at most {MOST_IDS} agents, got more; push in parts")
    if len(set(found)) < len(found):
        twice = next(agent for agent, count in Counter(found).items() if count > 1)
        raise TrajflowError(f"agent {twice!r} is there twice; ids must be unique")
    return found


def plain_id(agent: Any) -> Hashable:
    """An id as a plain Python value, whose hash never changes and whose size is bounded.

    Raises:
        TrajflowError: It is of another type, too long, or not equal to itself.
    """
    if type(agent) is str and len(agent) <= LONGEST_ID:  # most are, and each push holds many
        return agent
    try:
        plain, size = _plain(agent)
    except TypeError:
        raise TrajflowError(
            f"ids must be numbers, strings, UUIDs or tuples of these, got {shown(agent)} "
            f"({type(agent).__name__}); push a string such as str(id)"
        ) from None
    if size > LONGEST_ID:
        raise TrajflowError(
            f"an id has at most {LONGEST_ID} characters, got {shown(agent)} of {size}; shorten it"
        )
    return plain


def _plain(agent: Any, depth: int = 3) -> tuple[Hashable, int]:
    """An id without a class of its own, which may have a hash of its own, and its characters.

    Raises:
        TypeError: It is of a type that ids cannot have.
    """
    if isinstance(agent, np.generic) and not isinstance(agent, np.datetime64 | np.timedelta64):
        agent = agent.item()
    if isinstance(agent, str):
        return str.__str__(agent), len(agent)
    if isinstance(agent, bytes):
        return bytes(agent), len(agent)
    if agent is None or isinstance(agent, bool):
        return agent, 1
    if isinstance(agent, int):
        return int(agent), 1 + agent.bit_length() // 3
    if isinstance(agent, float):
        if math.isnan(agent):
            raise TrajflowError(f"{agent!r} is not the same as itself, so it cannot be an id")
        return float(agent), 1
    if isinstance(agent, UUID):
        return UUID(int=agent.int), 1
    if isinstance(agent, tuple) and depth and len(agent) <= LONGEST_ID:
        parts = [_plain(one, depth - 1) for one in agent]
        return tuple(part for part, _ in parts), sum(1 + size for _, size in parts)
    raise TypeError


def shown(value: object) -> str:
    """A value for an error: on one line, and cut."""
    try:
        return safe(reprlib.repr(value))
    except ValueError:  # an integer of so many digits that Python will not write it
        return f"an {type(value).__name__} too long to print"


def checked_points(points: Any, agents: int, dims: int) -> Floats:
    """Positions of so many agents, [A, D]; NaN where one is masked.

    Raises:
        TrajflowError: They have another shape, or are no real numbers.
    """
    masked = isinstance(points, np.ma.MaskedArray) or (
        isinstance(points, list | tuple)
        and any(isinstance(point, np.ma.MaskedArray) for point in points)
    )
    try:
        given = np.ma.array(points) if masked else np.asarray(points)
        if given.dtype.kind not in "iufO":
            raise TypeError(f"got an array of {given.dtype}")
        if given.shape == (agents, dims):
            given = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise TrajflowError(f"positions must be an array of numbers: {error}") from None
    if given.shape != (agents, dims) and (agents or given.size):
        raise TrajflowError(
            f"positions of {agents} agents must be [{agents}, {dims}], got {list(given.shape)}"
        )
    array = np.ma.filled(given, np.nan) if masked else given
    return np.asarray(array, np.float64).reshape(agents, dims)


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
