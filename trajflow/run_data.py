"""What connects a run to its tracks: the splits its settings cut, and what its weights remember."""

from typing import Any

from trajflow.config import Config
from trajflow.datasets.columns import TableLayout
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store
from trajflow.runs import RunFolder


def track_data(store: Store, config: Config, halved: bool = True) -> TrackData:
    """The splits of a store, with windows cut as the settings say.

    Args:
        store: The tracks.
        config: The settings.
        halved: Whether half of the validation people are kept back for a calibration.
    """
    return TrackData(store, **config.data.model_dump(), order=config.train.seed, halved=halved)


def run_data(store: Store, folder: RunFolder, config: Config | None = None) -> TrackData:
    """The splits of a store as a run has them, or as it would under other settings.

    The weights of a run whose record names no people of a calibration were chosen by all
    validation people; that stays so.
    """
    halved = "calibration" in folder.read_record()
    return track_data(store, config or folder.config, halved)


def facts_of(store: Store) -> dict[str, Any]:
    """What a predictor must know of the tracks: dims, dt, unit and how their table was read."""
    facts: dict[str, Any] = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
    layout = TableLayout.of_store(store)
    return facts if layout is None else facts | {"table": layout.model_dump(mode="json")}
