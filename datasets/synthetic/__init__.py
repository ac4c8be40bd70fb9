"""Generators of tracks, one in each file of this folder."""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from trajflow.datasets.schema import TrackBlock
from trajflow.errors import ConfigError, did_you_mean

Option = int | float | str


@dataclass(frozen=True)
class SyntheticTracks:
    """Generated tracks and the facts that a store needs.

    Attributes:
        blocks: The tracks, one block per scene, generated on demand.
        dims: Coordinates per position, D.
        dt: Seconds per step.
        unit: Unit of the coordinates; "1" where they have none.
        source: The generator and its seed, one line.
        folds: Test scenes of each leave-one-out fold, by fold.
    """

    blocks: Iterator[TrackBlock]
    dims: int
    dt: float
    unit: str
    source: str
    folds: dict[str, list[str]]

    @property
    def facts(self) -> dict[str, Any]:
        """The keywords of a `StoreWriter`: all fields except the tracks."""
        return {name: value for name, value in vars(self).items() if name != "blocks"}


def available() -> list[str]:
    """Names of the generators: the files in this folder whose name does not start with _."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def options(name: str) -> dict[str, Option]:
    """The options of a generator and their defaults.

    Raises:
        ConfigError: If there is no such generator.
    """
    parameters = inspect.signature(_generator(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def make(name: str, seed: int = 0, **chosen: Option) -> SyntheticTracks:
    """Tracks of the generator `name`; the same seed and options give the same tracks.

    Args:
        name: One of `available()`.
        seed: Seed of all random numbers.
        **chosen: Options of this generator; texts are converted to the type of the default.

    Raises:
        ConfigError: If there is no such generator or option, or a value is invalid.
        MissingExtra: If the generator needs a package that is not installed.
    """
    defaults = options(name)
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    values = {key: _value(name, key, value, defaults) for key, value in chosen.items()}
    tracks = _generator(name)(seed, **values)
    return replace(tracks, folds={fold: names for fold, names in tracks.folds.items() if names})


def _generator(name: str) -> Callable[..., SyntheticTracks]:
    if name not in available():
        raise ConfigError(did_you_mean("generator", name, available()))
    generate: Callable[..., SyntheticTracks] = import_module(f"{__name__}.{name}").generate
    return generate


def _value(name: str, key: str, value: Option, defaults: dict[str, Option]) -> Option:
    if key not in defaults:
        raise ConfigError(did_you_mean(f"option of {name}", key, list(defaults)))
    kind = type(defaults[key])
    try:
        number: Option | None = kind(value)
    except (ValueError, OverflowError):
        number = None
    if number is None or (kind is int and float(value) != number):
        raise ConfigError(f"option {key} of {name} must be {kind.__name__}, got {value!r}")
    if isinstance(number, int | float) and not 0 <= number < math.inf:
        raise ConfigError(f"option {key} of {name} must be 0 or more, got {value!r}")
    return number
