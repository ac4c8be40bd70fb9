"""How observed agents move, in numbers that no turn or shift of the world changes."""

from dataclasses import dataclass, replace

import numpy as np

from trajflow.types import Bools, Floats, Ints

STILL = 0.1
"""Least pace that accelerations are measured by, as a share of the usual one."""
EXACT = 1e-5
"""Accelerations below this share of the usual step are none: positions were computed, not seen."""
FINE = 5e-3
"""Accelerations below this share of an agent's own pace make a straight line at equal distances."""


@dataclass(frozen=True)
class Motion:
    """The observed steps of N agents; NaN where one of the positions involved was not seen.

    Attributes:
        seen: Whether a position was seen, [N, T].
        moves: Displacement from each position to the next, [N, T - 1, D].
        turns: Change of the displacement at each inner position, [N, T - 2, D].
        usual: Usual length of a displacement in training tracks.
        dt: Seconds per step; 0 if nobody said.
        length: Name of the unit of the tracks.
    """

    seen: Bools
    moves: Floats
    turns: Floats
    usual: float
    dt: float = 0.0
    length: str = ""

    @classmethod
    def of(cls, past: Floats, usual: float, dt: float = 0.0, length: str = "") -> "Motion":
        """The motion in pasts [N, T, D], in which NaN is where a step was not seen."""
        moves = np.diff(past, axis=1)
        turns = np.diff(moves, axis=1)
        return cls(np.asarray(np.isfinite(past).all(-1)), moves, turns, usual, dt, length)

    def take(self, rows: Ints | Bools) -> "Motion":
        """Some of the agents."""
        seen, moves, turns = self.seen[rows], self.moves[rows], self.turns[rows]
        return replace(self, seen=seen, moves=moves, turns=turns)

    @property
    def lengths(self) -> Floats:
        """Length of each displacement, [N, T - 1]."""
        return np.asarray(np.linalg.norm(self.moves, axis=-1))

    @property
    def bends(self) -> Floats:
        """Length of each change of displacement, [N, T - 2]."""
        return np.asarray(np.linalg.norm(self.turns, axis=-1))

    @property
    def pace(self) -> Floats:
        """Mean length of the displacements seen, [N]; 0 where none was."""
        return mean(self.lengths)

    @property
    def unit(self) -> Floats:
        """Length that accelerations are measured by, [N]: its pace, and a little more."""
        return np.asarray(np.sqrt(self.pace**2 + (STILL * self.usual) ** 2))

    @property
    def moving(self) -> Bools:
        """Whether the agent moved both to and from each inner position, [N, T - 2]."""
        moved: Bools = np.asarray(self.lengths > FINE * self.usual)
        return np.asarray(moved[:, 1:] & moved[:, :-1])

    @property
    def computed(self) -> Bools:
        """Whether an inner position lies exactly halfway between its neighbours, [N, T - 2]."""
        return np.asarray(self.moving & (self.bends < EXACT * self.usual))


def spoken(motion: Motion, size: float) -> str:
    """A length, as "0.12 m"."""
    return f"{size:.2g} {motion.length}".rstrip()


def mean(values: Floats) -> Floats:
    """Mean of what is finite in each row, [N]; 0 where nothing is."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(1) / np.maximum(known.sum(1), 1))


def most(values: Floats) -> Floats:
    """The largest finite value of each row, [N]; 0 where there is none."""
    return np.asarray(np.where(np.isfinite(values), values, 0).max(1, initial=0))
