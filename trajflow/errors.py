"""Errors of the package, with the exit code of the command line."""

import difflib
from collections.abc import Sequence


class TrajflowError(ValueError):
    """Invalid input. The message says what was wrong, the offending value, and what to do."""

    exit_code = 2


class ConfigError(TrajflowError):
    """A setting is unknown, has the wrong type or is out of bounds."""


class DataError(TrajflowError):
    """A file of tracks or a store cannot be read."""


class DataProblem(TrajflowError):
    """The tracks have problems that the user chose to treat as errors."""

    exit_code = 3


class RunError(TrajflowError):
    """A run folder is missing or incomplete, or does not fit the data."""


class StorageError(TrajflowError):
    """The disk refuses to write; the previous content is unchanged."""


class MissingExtra(TrajflowError):
    """A feature needs a package that is not installed; the message names the extra."""


class TrajflowWarning(UserWarning):
    """A problem that does not stop the command."""


def did_you_mean(what: str, name: str, names: Sequence[str]) -> str:
    """Error message for an unknown name, with the nearest known name."""
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {what} {name!r}{hint} (there are {', '.join(names) or 'none'})"
