"""Tracks on disk and in memory: one store format, its importers, generators and windows."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ == "datasets":
    raise ImportError(
        "this folder is imported as trajflow.datasets; start Python elsewhere or with -P"
    )

if TYPE_CHECKING:
    from trajflow.datasets.doctor import check as check
    from trajflow.datasets.importing import import_tracks as import_tracks
    from trajflow.datasets.loader import TrackData as TrackData
    from trajflow.datasets.repair import repair_store as repair_store
    from trajflow.datasets.report import ImportReport as ImportReport
    from trajflow.datasets.schema import TrackBlock as TrackBlock
    from trajflow.datasets.schema import Tracks as Tracks
    from trajflow.datasets.sources import ImportOptions as ImportOptions
    from trajflow.datasets.sources import Source as Source
    from trajflow.datasets.splits import choose as choose
    from trajflow.datasets.store import Store as Store
    from trajflow.datasets.store import open_store as open_store
    from trajflow.datasets.windows import Windows as Windows
    from trajflow.datasets.windows import cut as cut
    from trajflow.datasets.writer import StoreWriter as StoreWriter

_HOME = {
    "ImportReport": "report",
    "ImportOptions": "sources",
    "Source": "sources",
    "Store": "store",
    "StoreWriter": "writer",
    "TrackBlock": "schema",
    "TrackData": "loader",
    "Tracks": "schema",
    "Windows": "windows",
    "check": "doctor",
    "choose": "splits",
    "cut": "windows",
    "import_tracks": "importing",
    "open_store": "store",
    "repair_store": "repair",
}
"""The file of each public name, which is imported on first use."""
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
