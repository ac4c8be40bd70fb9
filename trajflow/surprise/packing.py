"""A surprise as facts and named arrays, and back."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.surprise.forest import Forest
from trajflow.surprise.kinds import Kinds
from trajflow.surprise.ranks import Ranks
from trajflow.surprise.risk import Risk
from trajflow.surprise.scores import available
from trajflow.surprise.surprise import EXPOSURE, NOVELTY, Made, Origin, Surprise
from trajflow.types import Floats

FORMAT = 2
LATER = ("left_out", "independent", "evaluations", "temperature")
"""Facts that files of earlier versions do not have."""
Arrays = Mapping[str, NDArray[Any]]


def packed(surprise: Surprise) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A surprise as JSON values and as arrays of any shape by name."""
    arrays: dict[str, Any] = {}
    for name, state in surprise.made.states.items():
        arrays |= _under(f"score/{name}", state)
    arrays |= _under("forest", surprise.made.forest.arrays())
    arrays |= _under("kinds", surprise.made.kinds.arrays())
    arrays |= _under("risk", surprise.risk.forest.arrays())
    arrays["level"] = surprise.risk.level
    for name, ranks in surprise.held.items():
        arrays |= _under(f"held/{name}", vars(ranks))
    for name, ranks in surprise.parts.items():
        arrays |= _under(f"part/{name}", vars(ranks))
    arrays |= _under("whole", vars(surprise.whole)) | _under("usual", vars(surprise.usual))
    small = {name: np.ascontiguousarray(_smaller(name, value)) for name, value in arrays.items()}
    facts = {"format": FORMAT, "kinds": surprise.made.kinds.names, **asdict(surprise.origin)}
    return facts, small


def unpacked(facts: Mapping[str, Any], arrays: Arrays) -> Surprise:
    """The surprise of what `packed` gave, JSON values and arrays of any shape.

    Raises:
        KeyError, TypeError, ValueError, IndexError: It is none.
    """
    if facts["format"] != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    states = {name: _of(arrays, f"score/{name}") for name in available()}
    kinds = Kinds(tuple(facts["kinds"]), **_of(arrays, "kinds"))
    made = Made(states, Forest.of(_of(arrays, "forest")), kinds)
    held = {name: _ranks(arrays, f"held/{name}") for name in (EXPOSURE, *NOVELTY)}
    parts = {name: _ranks(arrays, f"part/{name}") for name in (*states, EXPOSURE)}
    known = {**{name: getattr(Origin, name) for name in LATER}, **facts}
    origin = Origin(**{field.name: known[field.name] for field in fields(Origin)})
    risk = Risk(Forest.of(_of(arrays, "risk")), arrays["level"])
    whole, usual = (_ranks(arrays, name) for name in ("whole", "usual"))
    return Surprise(made, held, parts, whole, usual, risk, origin)


def _under(prefix: str, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def _of(arrays: Arrays, prefix: str) -> dict[str, Floats]:
    start = f"{prefix}/"
    found = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
    if not found:
        raise ValueError(f"it has no {prefix}")
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in found.items()}


def _ranks(arrays: Arrays, prefix: str) -> Ranks:
    return Ranks(**_of(arrays, prefix))


def _smaller(name: str, value: Floats) -> Any:
    """Numbers of no more digits than they need; those of trees and ranks decide and stay whole."""
    if value.dtype.kind in "iu":
        return value.astype(np.int16)
    whole = name.startswith(("forest", "risk", "level", "kinds", "held", "part", "whole", "usual"))
    return value if whole or value.dtype.kind == "b" else value.astype(np.float32)
