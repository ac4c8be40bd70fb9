"""A shift: a small, graded change of ordinary windows into ones a model was not made for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from trajflow.types import Batch


@dataclass(frozen=True)
class World:
    """What a shift may know beside the windows it changes.

    Attributes:
        metre: Length of a metre in the unit of the tracks; where the unit is no length, the usual
            step of the training tracks over that of a person walking (see `metre_of`).
        pools: Windows of others by name: "crowd" for those people are borrowed from, "place NAME",
            "type NAME" and "against" for those that are taken as they are.
    """

    metre: float = 1.0
    pools: Mapping[str, Batch] = field(default_factory=dict)


Change = Callable[[Batch, np.random.Generator, World], Batch]


@dataclass(frozen=True)
class Shift:
    """One shift at one severity.

    Attributes:
        name: What is changed, as "noise".
        severity: 1 for the mildest, counting up; kinds without an order count too.
        level: How much, for people to read, as "5 cm".
        what: What is changed, in one line.
        change: What changes a batch.
        reach: Times T and F that batches must bring around the present, as
            `TrackData(reach=..., around=...)` makes them do; 1: the window itself is enough.
        taken: Whether the result is a pool of other windows and has nothing of those given.
    """

    name: str
    severity: int
    level: str
    what: str
    change: Change
    reach: int = 1
    taken: bool = False

    @property
    def key(self) -> str:
        """Name and severity, as "noise-2"."""
        return f"{self.name}-{self.severity}"

    def apply(self, batch: Batch, rng: np.random.Generator, world: World | None = None) -> Batch:
        """The shifted windows, with the future that really follows under the shift.

        Targets of the result are those whose past could be changed; where what follows them is
        not known, their future is NaN, so they can be detected but not scored.

        Args:
            batch: Ordinary windows, `around` among them if `reach` is above 1.
            rng: What decides where the shift leaves a choice.
            world: What else it may know; None: lengths in metres, no other windows.
        """
        return self.change(batch, rng, world or World())
