"""Importers by name: one file of this folder each, or an entry point `trajflow.importers`.

An importer is a file with `read(path, options) -> Reading` and a docstring whose first line says
what it reads.
"""

import importlib
import pkgutil
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


def _own() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
