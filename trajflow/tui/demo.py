"""The small run on generated tracks that lies in the package, and a window of it.

The window is shown before torch is loaded.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.browse.view import View
from trajflow.errors import DataError
from trajflow.library import Library, LibraryScanner

ASSETS = Path(__file__).with_name("assets")
ARCHIVE, PREVIEW = ASSETS / "demo.zip", ASSETS / "preview.npz"
RUN, STORE = "demo", "crowd.zarr"
Arrays = dict[str, NDArray[Any]]
ARRAYS = ("past", "future", "target", "samples")
WORDS = ("labels", "agent_types")
SCALARS = {"scene": str, "start": int, "index": int, "count": int, "dt": float, "unit": str}


def unpack_demo(cache: Path | None = None) -> Path:
    """The folder of the demo in the user's cache, put there by the first call.

    It holds the run `RUN` and the store it was trained on.

    Raises:
        DataError: It cannot be written.
    """
    digest = hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:12]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = (cache or home / "trajflow") / f"demo-{digest}"
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        try:
            with zipfile.ZipFile(ARCHIVE) as zipped:
                zipped.extractall(beside)
            beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        if place.is_dir():  # another process was faster; its demo is as good
            return place
        raise DataError(
            f"the demo cannot be unpacked to {place}: {error}; set XDG_CACHE_HOME to another folder"
        ) from None
    return place


def scan_or_demo(scanner: LibraryScanner) -> Library:
    """What a scan finds now, or the demo if there is nothing."""
    library = scanner.scan()
    if library.runs or library.stores:
        return library
    try:
        demo = unpack_demo()
    except DataError as error:
        return replace(library, problem=str(error))
    return replace(LibraryScanner(demo).scan(), demo=demo / RUN)


def pack(view: View) -> Arrays:
    """What a map draws of a view, as arrays by name, each [*]."""
    arrays = {name: np.asarray(getattr(view, name)) for name in (*ARRAYS, *WORDS, *SCALARS)}
    single = {name: a.astype(np.float32) for name, a in arrays.items() if a.dtype == np.float64}
    return arrays | single


def load_preview(path: Path = PREVIEW) -> View | None:
    """The view in a file of `numpy.savez`; None if there is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
            fields |= {k: a.astype(float) for k, a in fields.items() if a.dtype == np.float32}
            fields |= {name: tuple(arrays[name].tolist()) for name in WORDS}
            fields |= {name: kind(arrays[name].item()) for name, kind in SCALARS.items()}
            return View(**fields)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
