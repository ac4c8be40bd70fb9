"""Importers by name: one file of this folder each, or an entry point `trajflow.importers`.

An importer is a file with `read(path, options) -> Reading` and a docstring whose first line says
what it reads. Where it leaves a choice that no other has, its `SETTINGS` has the values by name.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, cast

from trajflow.datasets.reading import Reading, ReadOptions
from trajflow.errors import DataError, did_you_mean

GROUP = "trajflow.importers"


class Source(Protocol):
    """Reads one kind of file; a module fulfils this."""

    __doc__: str | None

    def read(self, path: Path, options: ReadOptions) -> Reading:
        """Open the files at a path; rows are read as the chunks are asked for."""


def available() -> list[str]:
    """Names of all importers, our own and those of installed packages."""
    return sorted({*_own(), *_foreign()})


def load(name: str) -> Source:
    """The importer of a name.

    Raises:
        DataError: No importer has this name.
    """
    if name in _own():
        return cast(Source, importlib.import_module(f"{__name__}.{name}"))
    foreign = _foreign()
    if name in foreign:
        return cast(Source, foreign[name].load())
    raise DataError(did_you_mean("importer", name, available()))


def check_settings(name: str, source: Source, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings, if the importer of this name knows them and their values.

    Raises:
        DataError: It does not.
    """
    known: Mapping[str, Sequence[str]] = getattr(source, "SETTINGS", {})
    for setting, value in settings.items():
        if setting not in known:
            raise DataError(f"importer {name!r} has no setting {setting!r}; leave it out")
        if value not in known[setting]:
            raise DataError(did_you_mean(setting, value, known[setting]))
    return dict(settings)


def _own() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
