"""What is asked of a forecaster, and by which numbers it is judged."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trajflow.errors import ConfigError
from trajflow.types import Batch, Floats


class Forecaster(Protocol):
    """Whatever can be judged."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """World positions of S equally likely futures, [S, B, A, F, D]; NaN for non-targets.

        Args:
            batch: The scenes; only what was seen until the present may be used.
            samples: Futures S of each target.
            seed: The same gives the same futures, another gives other draws.
        """


@runtime_checkable
class Chooser(Forecaster, Protocol):
    """A forecaster that can also choose its samples of more draws."""

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """World positions [S, B, A, F, D] of a chosen set, and weights [S, B, A] of sum 1 over S.

        Args:
            batch: The scenes; only what was seen until the present may be used.
            samples: Futures S of each target.
            draws: Draws they are chosen from.
            rule: Name of how they are chosen.
            seed: The same gives the same futures.
        """


@dataclass(frozen=True)
class Judging:
    """The terms of an evaluation, which its report repeats.

    Attributes:
        samples: Futures S of each agent that are judged.
        draws: Futures that were drawn to choose these from; 0: no more than are judged.
        selection: How they were chosen; "plain" if they were not.
        joint: Whether sample s of all agents of a scene is meant as one future.
        steps: Network evaluations per draw.
        seed: What draws and intervals follow from.
        miss: Distance beyond which the best endpoint counts as a miss, in the store's unit.
        collide: Distance below which two agents collide, in the store's unit.
        resamples: Bootstrap resamples behind an interval.
        shuffles: How often samples are shuffled between agents, to score them without agreement.
        standing: Pace of the past below which an agent counts as standing, in the store's unit
            per step, to judge those who stand and those who move apart; None: not apart.
        clocks: Real seconds per step that the forecaster is told of some recordings, as
            "NAME=SECONDS,NAME=SECONDS"; the windows stay what they are.
    """

    samples: int = 20
    draws: int = 0
    selection: str = "plain"
    joint: bool = False
    steps: int = 1
    seed: int = 0
    miss: float = 2.0
    collide: float = 0.2
    resamples: int = 1000
    shuffles: int = 0
    standing: float | None = None
    clocks: str = ""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.resamples < 1:
            raise ConfigError(
                f"samples and resamples must be at least 1, got {self.samples} and {self.resamples}"
            )
        if self.shuffles < 0:
            raise ConfigError(f"shuffles must be 0 or more, got {self.shuffles}")
        plain = self.selection == "plain"
        if self.shuffles and not plain:
            raise ConfigError(
                f"samples chosen by {self.selection} are a set of each agent alone; there is no "
                "agreement between agents to score: judge plain draws for that"
            )
        if self.draws and (self.draws < self.samples or (plain and self.draws > self.samples)):
            raise ConfigError(
                f"{self.samples} samples of {self.draws} draws with selection {self.selection!r}: "
                "take as many draws at least, and say how samples were chosen if there are more"
            )
