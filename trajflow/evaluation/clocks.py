"""The real clocks of recordings whose steps do not last what the store says."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from trajflow.errors import ConfigError, did_you_mean
from trajflow.types import Batch


def read_clocks(words: str) -> dict[str, float]:
    """Seconds per step by the name of a recording, of "NAME=SECONDS,NAME=SECONDS".

    Raises:
        ConfigError: It is not written so, or a time is not positive.
    """
    clocks: dict[str, float] = {}
    for word in filter(None, (part.strip() for part in words.split(","))):
        name, _, value = word.rpartition("=")
        try:
            clocks[name.strip()] = seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not name.strip() or not 0 < seconds < np.inf:
            raise ConfigError(
                f"a clock is RECORDING=SECONDS with more than 0 seconds per step, got {word!r}"
            )
    return clocks


def told(
    batches: Iterable[Batch], scenes: Sequence[str], clocks: Mapping[str, float], dt: float
) -> Iterator[Batch]:
    """The batches with the seconds per step of each scene, as a forecaster may use them.

    Args:
        batches: The batches.
        scenes: Names of the store's recordings.
        clocks: Real seconds per step of some of them.
        dt: Seconds per step of the others, and of all as the store says.

    Raises:
        ConfigError: There is no such recording.
    """
    for name in clocks:
        if name not in scenes:
            raise ConfigError(did_you_mean("recording", name, list(scenes)))
    rates = np.array([clocks.get(name, dt) / dt for name in scenes])
    return (
        (replace(batch, dt_ratio=rates[batch.scene]) for batch in batches)
        if clocks
        else iter(batches)
    )
