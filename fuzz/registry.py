"""The parsers that are fuzzed, by name."""

from collections.abc import Callable
from pathlib import Path

from trajflow.errors import TrajflowError

Target = Callable[[bytes, Path], None]
TARGETS: dict[str, Target] = {}


def target(parser: Target) -> Target:
    """Enter a parser; what it refuses in our own words is no crash."""

    def allowed(data: bytes, folder: Path) -> None:
        try:
            parser(data, folder)
        except TrajflowError:
            return

    TARGETS[parser.__name__] = allowed
    return allowed
