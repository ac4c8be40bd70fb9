"""The small run on generated tracks that lies in the package, unpacked to where it can be used."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from trajflow.errors import DataError

PACKAGE = "trajflow.tui.demo"
ARCHIVE, PREVIEW = "demo.zip", "preview.npz"


@dataclass(frozen=True)
class Demo:
    """Where the demo lies.

    Attributes:
        folder: What holds both.
        run: Its run folder.
        data: Its store.
    """

    folder: Path

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "demo"

    @property
    def data(self) -> Path:
        """The store."""
        return self.folder / "crowd.zarr"


def preview_file() -> Path:
    """A window of the demo as it is forecast; it need not be unpacked."""
    return Path(str(files(PACKAGE) / PREVIEW))


def unpacked(cache: Path | None = None) -> Demo:
    """The demo in the user's cache, put there by the first call; another call finds it whole.

    Args:
        cache: A folder instead of the user's cache.

    Raises:
        DataError: It cannot be written.
    """
    raw = (files(PACKAGE) / ARCHIVE).read_bytes()
    place = (cache or _cache()) / f"demo-{hashlib.sha256(raw).hexdigest()[:12]}"
    if place.is_dir():
        return Demo(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        try:
            with zipfile.ZipFile(Path(str(files(PACKAGE) / ARCHIVE))) as zipped:
                zipped.extractall(beside)
            _put(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the demo cannot be unpacked to {place}: {error}; set XDG_CACHE_HOME to another folder"
        ) from None
    return Demo(place)


def _put(beside: Path, place: Path) -> None:
    """Rename whole; if another window was faster, its demo is as good."""
    try:
        beside.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trajflow"
