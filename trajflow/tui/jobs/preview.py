"""A window and its forecast as plain arrays in a file, to be shown before anything is computed."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.browsing.view import View

Arrays = dict[str, NDArray[Any]]
PLAIN = ("past", "future", "target", "samples", "surprise", "edited", "weights")
WORDS = ("labels", "kinds", "reasons")
SINGLE = {"scene": str, "start": int, "index": int, "count": int, "dt": float, "unit": str}
SINGLE |= {"by": str, "seconds": float}


def pack(view: View) -> Arrays:
    """The arrays of a view by name, each [*]; what it does not know is left out."""
    arrays: Arrays = {}
    for name in (*PLAIN, *WORDS, *SINGLE):
        value = getattr(view, name)
        if value is not None:
            arrays[name] = np.asarray(value)
            if arrays[name].dtype == np.float64:
                arrays[name] = arrays[name].astype(np.float32)
    arrays["levels"] = np.array(list(view.regions), np.float64)
    for k, (centres, radii) in enumerate(view.regions.values()):
        arrays[f"centres_{k}"], arrays[f"radii_{k}"] = centres, radii
    arrays["scores"] = np.array(list(view.metrics), np.str_)
    arrays["score"] = np.array(list(view.metrics.values()))
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]]) -> View:
    """The view of such arrays [*]."""
    levels, names = arrays["levels"].tolist(), arrays["scores"].tolist()
    discs = {
        level: (arrays[f"centres_{k}"].astype(float), arrays[f"radii_{k}"].astype(float))
        for k, level in enumerate(levels)
    }
    known: dict[str, Any] = {"future": None, "regions": discs}
    known |= {name: _wide(arrays[name]) for name in PLAIN if name in arrays}
    known |= {name: tuple(arrays[name].tolist()) for name in WORDS if name in arrays}
    known |= {name: kind(arrays[name].item()) for name, kind in SINGLE.items()}
    return View(**known, metrics=dict(zip(names, arrays["score"], strict=True)))


def load(path: Path) -> View | None:
    """The view in a file of `numpy.savez`; None if there is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return unpack(arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float64) if values.dtype == np.float32 else values
