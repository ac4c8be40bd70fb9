"""A surprise as the file beside the weights it belongs to."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trajflow.batch import Floats
from trajflow.calibration import digest
from trajflow.errors import RunError, TrajflowWarning
from trajflow.files import parse_json, read_header, read_kept
from trajflow.surprise.forest import Forest
from trajflow.surprise.kinds import Kinds
from trajflow.surprise.ranks import Ranks
from trajflow.surprise.risk import Risk
from trajflow.surprise.scores import available
from trajflow.surprise.surprise import EXPOSURE, NOVELTY, Made, Origin, Surprise

FILE = "surprise.safetensors"
FORMAT = 2
MOST = 1 << 28
"""Most bytes of the file."""


def stored(surprise: Surprise) -> bytes:
    """A surprise as the content of `FILE`."""
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
    said = json.dumps(facts, sort_keys=True)
    return save(small, {"trajflow": json.dumps([said, _digest(small, said)])})


def read_surprise(folder: Path, weights: bytes) -> Surprise | None:
    """The surprise of a run folder; None if there is none for its weights.

    Args:
        folder: The run folder; another path has no surprise.
        weights: Content of the weights file. A surprise of other weights is ignored with a
            warning.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / FILE
    try:
        surprise = _understood(read_kept(path, MOST), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(_damaged(path, error)) from None
    if surprise.origin.weights != digest(weights):
        warnings.warn(
            f"{path} belongs to other weights and is ignored; `trajflow fit-surprise RUN DATA` "
            "fits it to these",
            TrajflowWarning,
            stacklevel=3,
        )
        return None
    return surprise


def _understood(content: bytes, name: str) -> Surprise:
    words = read_header(content, name).words
    arrays = load(content)
    said, checked = parse_json(words["trajflow"], name)
    if _digest(arrays, said) != checked:
        raise ValueError("its contents do not match its own digest")
    told = parse_json(said, name)
    if told.pop("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    states = {name: _of(arrays, f"score/{name}") for name in available()}
    kinds = Kinds(tuple(told["kinds"]), **_of(arrays, "kinds"))
    made = Made(states, Forest.of(_of(arrays, "forest")), kinds)
    held = {name: _ranks(arrays, f"held/{name}") for name in (EXPOSURE, *NOVELTY)}
    parts = {name: _ranks(arrays, f"part/{name}") for name in (*states, EXPOSURE)}
    origin = Origin(**{field.name: told[field.name] for field in fields(Origin)})
    risk = Risk(Forest.of(_of(arrays, "risk")), arrays["level"])
    whole, usual = (_ranks(arrays, name) for name in ("whole", "usual"))
    return Surprise(made, held, parts, whole, usual, risk, origin)


def _under(prefix: str, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def _of(arrays: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    start = f"{prefix}/"
    found = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
    if not found:
        raise ValueError(f"it has no {prefix}")
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in found.items()}


def _ranks(arrays: Mapping[str, Floats], prefix: str) -> Ranks:
    return Ranks(**_of(arrays, prefix))


def _smaller(name: str, value: Floats) -> Any:
    """Numbers of no more digits than they need; those of trees and ranks decide and stay whole."""
    if value.dtype.kind in "iu":
        return value.astype(np.int16)
    whole = name.startswith(("forest", "risk", "level", "kinds", "held", "part", "whole", "usual"))
    return value if whole or value.dtype.kind == "b" else value.astype(np.float32)


def _digest(arrays: Mapping[str, Any], said: str) -> str:
    total = hashlib.sha256(said.encode())
    for name in sorted(arrays):
        value = arrays[name]
        total.update(f"{name} {value.dtype} {value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()


def _damaged(path: Path, error: Exception) -> str:
    if isinstance(error, RunError):
        return f"{error}, by `trajflow fit-surprise RUN DATA`"
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{path} is damaged: {reason}; make it again by `trajflow fit-surprise RUN DATA`"
