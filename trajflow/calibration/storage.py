"""A calibration as the file beside the weights it belongs to."""

import hashlib
import json
import warnings
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.calibration.factors import GRID, Calibration, Origin
from trajflow.errors import RunError, TrajflowWarning
from trajflow.io import JSON, parse_json, read_kept
from trajflow.types import Floats

FILE = "calibration.json"
FORMAT = 1


def stored(calibration: Calibration) -> bytes:
    """A calibration as the JSON of `FILE`; an infinite factor is null."""
    said = {
        "format": FORMAT,
        **asdict(calibration.origin),
        "levels": GRID.tolist(),
        "floor": calibration.floor.tolist(),
        "each": _plain(calibration.each),
        "path": _plain(calibration.path),
    }
    return json.dumps(said, indent=1, allow_nan=False).encode()


def read_calibration(folder: Path, weights: bytes, evaluations: int = 1) -> Calibration | None:
    """The calibration of a run folder; None if there is none for such forecasts.

    Args:
        folder: The run folder; another path has no calibration.
        weights: Content of the weights file. A calibration of other weights is ignored with a
            warning.
        evaluations: Network evaluations per draw; a calibration for another number is ignored.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / FILE
    try:
        calibration = understood(parse_json(read_kept(path, JSON), path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(_damaged(path, error)) from None
    if calibration.origin.weights != digest(weights):
        warnings.warn(
            f"{path} belongs to other weights and is ignored; `trajflow fit RUN DATA calibration` "
            "calibrates these",
            TrajflowWarning,
            stacklevel=3,
        )
        return None
    return calibration if calibration.origin.evaluations == evaluations else None


def digest(weights: bytes) -> str:
    """SHA-256 of a weights file, in hexadecimal."""
    return hashlib.sha256(weights).hexdigest()


def understood(said: dict[str, Any]) -> Calibration:
    """The calibration in the JSON value of `stored`.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    if said["format"] != FORMAT:
        raise ValueError(f"format {said['format']!r} is not {FORMAT}")
    counts = ("people", "left_out", "windows", "samples", "evaluations", "seed")
    types: dict[str, type] = dict.fromkeys(counts, int) | {"independent": bool}
    later = {name: getattr(Origin, name) for name in ("left_out", "independent")}
    origin = {field.name: (later | said)[field.name] for field in fields(Origin)}
    wrong = [name for name, one in origin.items() if not isinstance(one, types.get(name, str))]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} are of the wrong kind")
    floor = _numbers(said["floor"])
    each, path, levels = _numbers(said["each"]), _numbers(said["path"]), _numbers(said["levels"])
    if not np.array_equal(levels, GRID):
        raise ValueError("the levels are others")
    if each.shape != (len(GRID), len(floor)) or path.shape != (len(GRID),) or floor.ndim != 1:
        raise ValueError("floor, each and path do not fit together")
    if (each < 0).any() or (floor < 0).any() or (path[1:] < path[:-1]).any():
        raise ValueError("factors must be positive and grow with the level")
    if (each[1:] < each[:-1]).any() or not np.isfinite(floor).all():
        raise ValueError("factors must be positive and grow with the level")
    return Calibration(each, path, floor, Origin(**origin))


def _numbers(values: Any) -> Floats:
    array = np.asarray(values, dtype=float)
    return np.where(np.isnan(array), np.inf, array)


def _plain(factors: Floats) -> Any:
    values = factors.astype(object)
    values[~np.isfinite(factors)] = None
    return values.tolist()


def _damaged(path: Path, error: Exception) -> str:
    if isinstance(error, RunError):
        return f"{error}, by `trajflow fit RUN DATA calibration`"
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{path} is damaged: {reason}; make it again by `trajflow fit RUN DATA calibration`"
