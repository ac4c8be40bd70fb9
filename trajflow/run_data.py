"""What connects a run to its tracks: the splits its settings cut, and what its weights remember."""

from typing import Any

from trajflow.config import Config
from trajflow.datasets.columns import TableLayout
from trajflow.datasets.data import TrackData
from trajflow.datasets.store import Store


def track_data(store: Store, config: Config) -> TrackData:
    """The splits of a store, with windows cut as the settings say."""
    return TrackData(store, **config.data.model_dump(), order=config.train.seed)


def facts_of(store: Store) -> dict[str, Any]:
    """What a predictor must know of the tracks: dims, dt, unit and how their table was read."""
    facts: dict[str, Any] = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
    layout = TableLayout.of_store(store)
    return facts if layout is None else facts | {"table": layout.model_dump(mode="json")}
