"""Floors that need no network, one file each, found by listing this folder.

A file's `fit(batches, samples, seed)` gives a forecaster; a network has to beat all of them.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from trajflow.baselines._floor import Floor as Floor
from trajflow.errors import ConfigError, did_you_mean
from trajflow.types import Batch

Fit = Callable[[Iterable[Batch], int, int], Floor]


def available() -> list[str]:
    """Names of the floors; a file in this folder is one, unless its name starts with _."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem.replace("_", "-") for file in files if file.stem[0] != "_")


def load(name: str) -> Fit:
    """The `fit` of a floor.

    Args:
        name: One of `available()`.

    Raises:
        ConfigError: There is no such floor.

    Example:
        >>> from trajflow.baselines import load
        >>> load("cv-sampeld")
        Traceback (most recent call last):
        ...
        trajflow.errors.ConfigError: no baseline 'cv-sampeld'; did you mean 'cv-sampled'? \
(there are analog, anchors, cv, cv-sampled)
    """
    if name not in available():
        raise ConfigError(did_you_mean("baseline", name, available()))
    fit: Fit = import_module(f"{__name__}.{name.replace('-', '_')}").fit
    return fit
