"""What can go wrong at the doors, each with the exit code a shell sees."""

import difflib
from collections.abc import Sequence


class TrajflowError(ValueError):
    """Bad input: the message says what was wrong, what was given and the way out."""

    exit_code = 2


class ConfigError(TrajflowError):
    """A setting is unknown, has the wrong type or is out of bounds."""


class DataError(TrajflowError):
    """A file of tracks or a store cannot be read as what it claims to be."""


class DataProblem(TrajflowError):
    """The tracks were read, but have problems the user asked not to accept."""

    exit_code = 3


class RunError(TrajflowError):
    """A run folder is missing, incomplete or does not fit the data."""


class StorageError(TrajflowError):
    """The disk does not take what is to be written; what was there before is unchanged."""


class MissingExtra(TrajflowError):
    """A feature needs a package that is not installed; the message names the extra."""


class TrajflowWarning(UserWarning):
    """Something the user should know and nothing had to stop for."""


def did_you_mean(what: str, given: str, known: Sequence[str]) -> str:
    """The message for a name that is not among the known ones, with the nearest of them."""
    near = difflib.get_close_matches(given, known, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {what} {given!r}{hint} (there are {', '.join(known) or 'none'})"
