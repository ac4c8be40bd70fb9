"""What a run is made of: the parts of a store under its settings, and what a predictor knows."""

from trajflow.config import Config
from trajflow.datasets.data import TrackData
from trajflow.datasets.store import Store


def track_data(store: Store, config: Config) -> TrackData:
    """The parts of a store as the settings want them."""
    return TrackData(store, **config.data.model_dump(), order=config.train.seed)


def facts_of(store: Store) -> dict[str, object]:
    """What a predictor must know of the tracks."""
    return {"dims": store.dims, "dt": store.dt, "unit": store.unit}
