"""Ways in which a past can be strange, one file each, found by listing this folder.

A file's `fit(sight, weight)` learns from training agents whose weights [N] count each person once,
as plain arrays; `values(state, sight)` is then larger the stranger an agent is, [N], and
`reasons(state, sight)` says why in words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from trajflow.errors import ConfigError, did_you_mean
from trajflow.surprise.sight import Sight
from trajflow.types import Floats

State = Mapping[str, Floats]


@dataclass(frozen=True)
class Score:
    """One way to be strange.

    Attributes:
        fit: What is learned from training agents and their weights [N]: arrays by name.
        values: How strange agents are, [N]; only the order counts.
        reasons: What is strange about each, N strings.
    """

    fit: Callable[[Sight, Floats], State]
    values: Callable[[State, Sight], Floats]
    reasons: Callable[[State, Sight], list[str]]


def available() -> list[str]:
    """Names of the scores; a file in this folder is one, unless its name starts with _."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem[0] != "_")


@cache
def load(name: str) -> Score:
    """A score.

    Args:
        name: One of `available()`.

    Raises:
        ConfigError: There is no such score.

    Example:
        >>> from trajflow.surprise.scores import load
        >>> load("mahalanobi")
        Traceback (most recent call last):
        ...
        trajflow.errors.ConfigError: no score 'mahalanobi'; did you mean 'mahalanobis'? \
(there are agreement, consistency, filled, glitch, mahalanobis, missing, neighbours, pace, \
repeated, roughness, spread)
    """
    if name not in available():
        raise ConfigError(did_you_mean("score", name, available()))
    found = import_module(f"{__name__}.{name}")
    return Score(found.fit, found.values, found.reasons)
