"""Windows of others that shifts borrow from or take as they are, by name."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store
from trajflow.errors import DataError, RunError
from trajflow.types import Batch, Ints

SIZE = 256
"""Targets in a batch."""
MANY = 6
"""Most pools of one kind."""
Pools = Iterator[tuple[str, Batch]]


def pools_of(
    data: TrackData, config: Config, part: str, windows: int, against: Store | None = None
) -> dict[str, Batch]:
    """Other places, other types of agent and other tracks, as far as there are any.

    Args:
        data: The tracks, cut as the run was trained.
        config: Settings of the run.
        part: Part that is ordinary.
        windows: Targets of each pool, about.
        against: Other tracks.

    Raises:
        DataError: The other tracks have no windows.
        RunError: They have other coordinates.
    """
    found = dict(_places(data.store, config, part, windows))
    found |= _types(data, part, windows)
    if against is not None:
        found |= _strangers(against, data.store, config, windows)
    return found


def joined(batches: Iterable[Batch]) -> Batch:
    """Batches as one, padded to the largest crowd; without what lies around."""
    found = [replace(batch, around=None) for batch in batches]
    most = max(batch.target.shape[1] for batch in found)
    padded = [_padded(batch, most - batch.target.shape[1]) for batch in found]
    names = ("past", "future", "target", "scene", "start", "agent")
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(batch, name) for batch in padded]) for name in names
    }
    return Batch(**parts)


def _padded(batch: Batch, more: int) -> Batch:
    wide, narrow = ((0, 0), (0, more), (0, 0), (0, 0)), ((0, 0), (0, more))
    return replace(
        batch,
        past=np.pad(batch.past, wide, constant_values=np.nan),
        future=np.pad(batch.future, wide, constant_values=np.nan),
        target=np.pad(batch.target, narrow),
        agent=np.pad(batch.agent, narrow, constant_values=-1),
    )


def cut(store: Store, config: Config, **how: Any) -> TrackData:
    """The parts of a store under the settings of a run, but for what is said otherwise."""
    settings = config.data.model_dump() | {"reach": 1} | how
    return TrackData(store, **settings, order=config.train.seed)


def _places(store: Store, config: Config, part: str, windows: int) -> Pools:
    """The test parts of other folds, or recordings of the training part that the part has not."""
    if config.data.fold is not None and store.folds:
        for fold in [name for name in store.folds if name != config.data.fold][:MANY]:
            try:
                found = cut(store, config, fold=fold).validation(SIZE, windows, "test")
                yield f"place {fold}", joined(found)
            except DataError:
                continue
        return
    data = cut(store, config)
    here = {scene for scenes in data.groups(part).values() for scene in scenes}
    others = {n: s for n, s in data.groups("train").items() if not here & set(s)}
    if others:
        whole = joined(data.validation(SIZE, windows * len(others), "train"))
    for name, scenes in list(others.items())[:MANY]:
        rows = np.flatnonzero(np.isin(whole.scene, scenes))
        if len(rows):
            yield f"place {name}", whole.take(rows)


def _types(data: TrackData, part: str, windows: int) -> dict[str, Batch]:
    """Windows of the part whose targets are of another type than most training rows."""
    if len(data.store.types) < 2:
        return {}
    tracks = data.store.tracks()
    usual = data.store.types[int(np.bincount(tracks.kind[tracks.track]).argmax())]
    found = dict(_by_type("type", data, part, windows))
    return {name: pool for name, pool in found.items() if name != f"type {usual}"}


def _strangers(against: Store, store: Store, config: Config, windows: int) -> dict[str, Batch]:
    """Windows of other tracks, each type of agent on its own where there are several."""
    if against.dims != store.dims:
        raise RunError(
            f"{against.path} has {against.dims} coordinates and the run {store.dims}; "
            "give --against tracks with as many"
        )
    data = cut(against, config, fold=None, validation=(), split="stored")
    counts = data.describe()["parts"]
    part = next((name for name in ("test", "val", "train") if counts[name]["windows"]), None)
    if part is None:
        raise DataError(f"{against.path} has no windows as long as those of the run")
    if len(against.types) < 2:
        return {"against": joined(data.validation(SIZE, windows, part))}
    return dict(_by_type("against", data, part, windows))


def _by_type(kind: str, data: TrackData, part: str, windows: int) -> Pools:
    """The windows of each type of agent as targets, spread evenly over the part."""
    whole = joined(data.validation(SIZE, 10 * windows, part))
    tracks = data.store.tracks()
    codes = np.full(int(tracks.agent.max()) + 1, -1)
    codes[tracks.agent] = tracks.kind
    of: Ints = np.where(whole.agent >= 0, codes[whole.agent], -1)
    for code, name in list(enumerate(data.store.types))[:MANY]:
        target = whole.target & (of == code)
        rows = np.flatnonzero(target.any(1))
        if len(rows):
            every = max(1, int(target.sum()) // max(1, windows))
            yield f"{kind} {name}", replace(whole, target=target).take(rows[::every])
