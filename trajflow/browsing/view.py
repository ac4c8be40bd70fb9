"""One window and what was forecast of it, as plain values that travel between processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trajflow.batch import Bools, Floats


@dataclass(frozen=True)
class Asked:
    """How a window is forecast.

    Attributes:
        samples: Futures of each agent.
        seed: What they follow from.
        steps: Network evaluations per draw.
        select: Rule that chooses them; None: plain draws.
    """

    samples: int = 20
    seed: int = 0
    steps: int = 1
    select: str | None = None


PLAIN = Asked()
"""Twenty plain draws."""


@dataclass(frozen=True)
class View:
    """A window of A agents and S futures of those who are forecast.

    Attributes:
        past: World positions of the last T steps, [A, T, D], in `unit`; NaN where unseen.
        future: What happened at the next F steps, [A, F, D]; NaN where unseen; None if unknown.
        target: Agents that are forecast, [A].
        samples: Futures, [S, A, F, D]; NaN for who is not forecast. S may be 0.
        labels: The source's own id of each agent, A strings as they stand in the data.
        kinds: What each agent is, A strings.
        scene: Name of the recording.
        start: First step of the window, in steps of the recording.
        index: Which window of the part this is, from 0.
        count: Windows of the part.
        dt: Seconds per step.
        unit: Unit of the coordinates.
        regions: Centres [A, F, D] and radii [A, F] of the discs of each level.
        surprise: How strange each past is, [A], larger is stranger, at most 1; None if unknown.
        reasons: What made each past strange, A strings.
        metrics: Scores of each agent by name, [A]; NaN for who is not forecast.
        by: Who made the forecast.
        weights: How likely each of chosen samples is, [S, A]; None for plain draws.
        seconds: How long the forecast took.
        edited: Past steps that were changed by hand, [A, T]; None if none were.
    """

    past: Floats
    future: Floats | None
    target: Bools
    samples: Floats
    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    scene: str
    start: int
    index: int
    count: int
    dt: float
    unit: str
    regions: Mapping[float, tuple[Floats, Floats]] = field(default_factory=dict)
    surprise: Floats | None = None
    reasons: tuple[str, ...] | None = None
    metrics: Mapping[str, Floats] = field(default_factory=dict)
    by: str = ""
    weights: Floats | None = None
    seconds: float = 0.0
    edited: Bools | None = None

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
        """Seconds of the recording at the present step."""
        return (self.start + self.history - 1) * self.dt

    @property
    def present(self) -> Floats:
        """Where each agent was last seen in the past, [A, D]; NaN if never."""
        seen: Bools = np.asarray(np.isfinite(self.past).all(-1))
        last = self.history - 1 - np.argmax(np.flip(seen, 1), 1)
        there: Floats = np.asarray(self.past[np.arange(self.agents), last])
        return np.where(np.any(seen, -1)[:, None], there, np.nan)

    def mean(self, name: str) -> float:
        """Mean of a score over the targets; NaN if it is not known."""
        values = self.metrics.get(name)
        if values is None or not np.isfinite(values).any():
            return float("nan")
        return float(np.nanmean(values))
