"""One window and its forecast as plain values that travel between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trajflow.types import Bools as Bools
from trajflow.types import Floats as Floats
from trajflow.types import Ints as Ints

SAMPLE_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class SplitSummary:
    """The W windows of a split of a store.

    Attributes:
        count: W.
        selections: Rules of the run that can select samples.
        scene: Recording of each window, an index of `store_scenes`, [W].
        store_scenes: Names of the recordings of the store.
        seconds: Time of the present step of each window in its recording, [W].
        targets: Agents that are forecast in each window, [W].
        detects: Whether the run has an OOD detector.
    """

    count: int
    selections: tuple[str, ...] = ()
    scene: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    store_scenes: tuple[str, ...] = ()
    seconds: Floats = field(default_factory=lambda: np.zeros(0))
    targets: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    detects: bool = False


@dataclass(frozen=True)
class SamplingOptions:
    """How a window is forecast.

    Attributes:
        samples: Futures of each agent.
        seed: Seed of the noise.
        steps: Network evaluations per sample.
        select: Rule that chooses the samples from many more; None: plain samples.
        watched: Whether a run with memory sees earlier tracks of the recording.
    """

    samples: int = 20
    seed: int = 0
    steps: int = 1
    select: str | None = None
    watched: bool = False

    def with_more_samples(self, way: int) -> "SamplingOptions":
        """With the next larger (way 1) or smaller (-1) usual number of samples."""
        nearest = int(np.abs(np.array(SAMPLE_COUNTS) - self.samples).argmin())
        place = min(len(SAMPLE_COUNTS) - 1, max(0, nearest + way))
        return replace(self, samples=SAMPLE_COUNTS[place])

    def with_next_rule(self, rules: Sequence[str]) -> "SamplingOptions":
        """With the next rule that selects samples; after the last one with none."""
        every = [None, *rules]
        place = every.index(self.select) if self.select in every else 0
        rule = every[(place + 1) % len(every)]
        return replace(self, select=rule, samples=20 if rule else self.samples)


@dataclass(frozen=True)
class ReportWindow:
    """An agent's window in a report of `trajflow evaluate --ood`.

    Attributes:
        key: The corruption, as "noise-2"; "" for windows in distribution.
        batch: Number of the batch.
        row: Row of the window in the batch.
        column: Place of the agent in the window.
    """

    key: str
    batch: int
    row: int
    column: int


@dataclass(frozen=True)
class View:
    """A window of A agents with S futures of those that are forecast.

    Attributes:
        past: World positions of the last T steps, [A, T, D], in `unit`; NaN where unseen.
        future: What happened at the next F steps, [A, F, D]; NaN where unseen; None if unknown.
        target: Agents that are forecast, [A].
        samples: Futures, [S, A, F, D]; NaN for agents that are not forecast. S may be 0.
        labels: Id of each agent as it stands in the data, A strings.
        agent_types: Type of each agent, A strings.
        scene: Name of the recording.
        start: First step of the window, in steps of the recording.
        index: Number of the window in its split, from 0.
        count: Windows of the split.
        dt: Seconds per step.
        unit: Unit of the coordinates.
        regions: Centres [A, F, D] and radii [A, F] of the prediction regions of each level.
        ood_score: OOD score of each past, [A], at most 1; None if the run has no OOD detector.
        ood_reasons: What is unusual about each past, A strings.
        metrics: Scores of each agent by name, [A]; NaN for agents that are not forecast.
        miss: Distance beyond which the best endpoint is a miss, in `unit`; None: there is none.
        forecaster: Name of the run or baseline that made the forecast.
        weights: Probability of each selected sample, [S, A]; None for plain samples.
        seconds: Time the forecast took.
        edited: Past steps that were changed by hand, [A, T]; None if none were.
        without_memory: Whether the run has memory that this forecast does not use.
        earlier: Earlier tracks of others that the forecast uses, [A, K, W, D]; NaN where there are
            none. None: it uses no memory.
    """

    past: Floats
    future: Floats | None
    target: Bools
    samples: Floats
    labels: tuple[str, ...]
    agent_types: tuple[str, ...]
    scene: str
    start: int
    index: int
    count: int
    dt: float
    unit: str
    regions: Mapping[float, tuple[Floats, Floats]] = field(default_factory=dict)
    ood_score: Floats | None = None
    ood_reasons: tuple[str, ...] | None = None
    metrics: Mapping[str, Floats] = field(default_factory=dict)
    miss: float | None = None
    forecaster: str = ""
    weights: Floats | None = None
    seconds: float = 0.0
    edited: Bools | None = None
    without_memory: bool = False
    earlier: Floats | None = None

    @property
    def agents(self) -> int:
        """Agents A, forecast or not."""
        return len(self.target)

    @property
    def history(self) -> int:
        """Past steps T."""
        return int(self.past.shape[1])

    @property
    def horizon(self) -> int:
        """Future steps F."""
        return int(self.samples.shape[2])

    @property
    def now(self) -> float:
        """Time of the present step, in seconds of the recording."""
        return (self.start + self.history - 1) * self.dt

    @property
    def present(self) -> Floats:
        """Last observed position of each agent, [A, D]; NaN if it was never observed."""
        seen: Bools = np.asarray(np.isfinite(self.past).all(-1))
        last = self.history - 1 - np.argmax(np.flip(seen, 1), 1)
        position: Floats = np.asarray(self.past[np.arange(self.agents), last])
        return np.where(np.any(seen, -1)[:, None], position, np.nan)

    def at(self, moment: float) -> Floats:
        """Where each agent is, [A, D], some steps after the present; NaN where it was not seen.

        Args:
            moment: Steps after the present one, not necessarily whole; negative in the past.
        """
        if moment <= 0:
            path, place = self.past, self.history - 1 + moment
        elif self.future is None:
            return np.full_like(self.present, np.nan)
        else:
            path, place = np.concatenate([self.present[:, None], self.future], 1), moment
        if moment == 0:
            return self.present
        place = min(max(place, 0.0), path.shape[1] - 1.0)
        before, share = int(place), place % 1
        after = before + (share > 0)
        return np.asarray((1 - share) * path[:, before] + share * path[:, after])

    def same_agent(self, other: "View", agent: int | None) -> int | None:
        """Number of an agent of another window here; None if it is not forecast here."""
        if agent is None or agent >= other.agents or other.scene != self.scene:
            return None
        label = other.labels[agent]
        here = self.labels.index(label) if label in self.labels else None
        return here if here is not None and self.target[here] else None

    def mean(self, name: str) -> float:
        """Mean of a score over the targets; NaN if it is not known."""
        values = self.metrics.get(name)
        if values is None or not np.isfinite(values).any():
            return float("nan")
        return float(np.nanmean(values))
