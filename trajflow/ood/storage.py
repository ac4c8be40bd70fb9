"""Writes and reads the detector of a run, a file beside the weights it belongs to."""

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
from trajflow.ood.detector import Detector

FILE = "ood.safetensors"
OLD_FILE = "surprise.safetensors"
MAX_BYTES = 1 << 28
FIT = "`trajflow fit RUN DATA ood` fits one"


def detector_bytes(detector: Detector) -> bytes:
    """The content of a detector's file."""
    facts, arrays = detector.packed()
    text = json.dumps(facts, sort_keys=True)
    return save(arrays, {"trajflow": json.dumps([text, _digest(arrays, text)])})


def read_detector(folder: Path, weights: bytes) -> Detector | None:
    """Read the detector of a run folder; None if there is none for its weights.

    Args:
        folder: The run folder; another path has no detector.
        weights: Content of the weights file. A detector of other weights or of an earlier version
            is ignored with a warning.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / FILE
    try:
        detector = _parsed(read_kept(path, MAX_BYTES), str(path))
    except (FileNotFoundError, NotADirectoryError):
        if (folder / OLD_FILE).exists():
            _warn(f"{folder / OLD_FILE} is of an earlier version and is ignored; {FIT}")
        return None
    except RunError as error:
        raise RunError(f"{error}; {FIT}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{path} is damaged: {reason}; {FIT} again") from None
    if detector.origin.weights != digest(weights):
        _warn(f"{path} belongs to other weights and is ignored; {FIT} to these")
        return None
    return detector


def _warn(text: str) -> None:
    warnings.warn(text, TrajflowWarning, stacklevel=4)


def _parsed(content: bytes, name: str) -> Detector:
    words = read_header(content, name).words
    arrays = load(content)
    text, checked = parse_json(words["trajflow"], name)
    if _digest(arrays, text) != checked:
        raise ValueError("its contents do not match its own digest")
    return Detector.unpacked(parse_json(text, name), arrays)


def _digest(arrays: Mapping[str, Any], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = arrays[name]
        total.update(f"{name} {value.dtype} {value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()
