"""The batches of a split that are scored, and their parts for several processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.errors import ConfigError, did_you_mean
from trajflow.evaluation.scores import BatchScores, EvaluationOptions, score_batches
from trajflow.inference.base import Predictor
from trajflow.inference.loading import load_predictor
from trajflow.remote import is_remote
from trajflow.runs import RunFolder, run_settings, track_data
from trajflow.types import Batch

BATCH = 512
"""Targets of a batch, about."""
PART_BATCHES, MOST_PARTS = 4, 128
"""Least batches of a part, and most parts: each loads its recordings again if they are many."""


def read_clocks(text: str) -> dict[str, float]:
    """Parse "NAME=SECONDS,NAME=SECONDS" into seconds per step by the name of a recording.

    Raises:
        ConfigError: It has another form, or a time is not positive.
    """
    clocks: dict[str, float] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = word.rpartition("=")
        try:
            clocks[name.strip()] = seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not name.strip() or not 0 < seconds < np.inf:
            raise ConfigError(
                f"a clock is RECORDING=SECONDS with more than 0 seconds per step, got {word!r}"
            )
    return clocks


def with_clocks(
    batches: Iterable[Batch], scenes: Sequence[str], clocks: Mapping[str, float], dt: float
) -> Iterator[Batch]:
    """Set `dt_ratio` of the batches from the real clocks of their recordings.

    Args:
        batches: The batches.
        scenes: Names of the store's recordings.
        clocks: Real seconds per step by the name of a recording; `dt` for all others.
        dt: Seconds per step according to the store.

    Raises:
        ConfigError: A named recording does not exist.
    """
    for name in clocks:
        if name not in scenes:
            raise ConfigError(did_you_mean("recording", name, list(scenes)))
    ratios = np.array([clocks.get(name, dt) / dt for name in scenes])
    return (
        (replace(batch, dt_ratio=ratios[batch.scene]) for batch in batches)
        if clocks
        else iter(batches)
    )


def split_batches(
    data: TrackData,
    options: EvaluationOptions,
    first: int = 0,
    count: int | None = None,
    by_time: bool = False,
) -> Iterator[Batch]:
    """The batches of the split of the options, or `count` of them from the `first` on."""
    batches = islice(data.batches(options.split, BATCH, skip=first, by_time=by_time), count)
    return with_clocks(batches, data.store.scenes, read_clocks(options.clocks), data.store.dt)


@dataclass(frozen=True)
class BatchRange:
    """Consecutive batches of a split.

    Attributes:
        first: Place of the first among all batches.
        count: How many they are.
        number: How many batches before them are scored, which the seeds follow from.
    """

    first: int
    count: int
    number: int


def parts_of(data: TrackData, options: EvaluationOptions) -> list[BatchRange]:
    """Parts of all batches of the split of the options."""
    scored = [most >= options.min_agents for most in data.most_targets(options.split, BATCH)]
    count = max(PART_BATCHES, -(-len(scored) // MOST_PARTS))
    return [BatchRange(n, count, sum(scored[:n])) for n in range(0, len(scored), count)]


@dataclass(frozen=True)
class RunScorer:
    """Scores a part of the batches of a split; what a process is sent.

    Attributes:
        run: A run folder, or an exported model in one.
        data: The store.
        device: Where a run computes.
        options: How to evaluate.
        memory: Whether batches bring a memory, for a model that has one.
    """

    run: str
    data: str
    device: str
    options: EvaluationOptions
    memory: bool

    @classmethod
    def of(
        cls, run: Path, store: Store, device: str, options: EvaluationOptions, memory: bool
    ) -> RunScorer:
        """With absolute paths, because a worker may run in another folder."""
        place = store.path if is_remote(store.path) else store.path.absolute()
        return cls(str(run.absolute()), str(place), device, options, memory)

    def __call__(self, part: BatchRange) -> list[BatchScores]:
        """The scores of a part's batches."""
        predictor, data = _opened(self)
        batches = split_batches(data, self.options, part.first, part.count)
        first = part.number == 0
        return list(score_batches(predictor, batches, self.options, part.number, first))


@lru_cache(maxsize=1)
def _opened(scorer: RunScorer) -> tuple[Predictor, TrackData]:
    """The model and the tracks, which a process keeps from part to part."""
    store = open_store(scorer.data)
    predictor = load_predictor(scorer.run, scorer.device, scorer.options.steps)
    data = track_data(store, run_settings(store, RunFolder.open(scorer.run), scorer.options.fold))
    if scorer.memory:
        data.watch(predictor.format.memory, predictor.displacement_scale)
    return predictor, data
