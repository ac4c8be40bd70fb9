"""A surprise as the file beside the weights it belongs to."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trajflow.calibration import digest
from trajflow.errors import RunError, TrajflowWarning
from trajflow.io import parse_json, read_header
from trajflow.manifest import read_kept
from trajflow.surprise.packing import packed, unpacked
from trajflow.surprise.surprise import Surprise

FILE = "surprise.safetensors"
MOST = 1 << 28
"""Most bytes of the file."""


def stored(surprise: Surprise) -> bytes:
    """A surprise as the content of `FILE`."""
    facts, arrays = packed(surprise)
    said = json.dumps(facts, sort_keys=True)
    return save(arrays, {"trajflow": json.dumps([said, _digest(arrays, said)])})


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
            f"{path} belongs to other weights and is ignored; `trajflow fit RUN DATA ood` "
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
    return unpacked(parse_json(said, name), arrays)


def _digest(arrays: Mapping[str, Any], said: str) -> str:
    total = hashlib.sha256(said.encode())
    for name in sorted(arrays):
        value = arrays[name]
        total.update(f"{name} {value.dtype} {value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()


def _damaged(path: Path, error: Exception) -> str:
    if isinstance(error, RunError):
        return f"{error}, by `trajflow fit RUN DATA ood`"
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{path} is damaged: {reason}; make it again by `trajflow fit RUN DATA ood`"
