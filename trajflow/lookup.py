"""Which observations of others are most like an agent's own place, heading and speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajflow.observations import ObservationStore
from trajflow.types import Floats, Ints

# Radius of a lookup, in typical displacements per step.
RADIUS = 8.5
# Cost of a future that was not observed; the cost of a distance of `RADIUS` is 1.
UNKNOWN = 1.0
# Speed, over the typical one, above which an agent has a heading.
MOVING = 0.2
# Least cosine between the headings of two moving agents: 60 degrees.
COSINE = 0.5
# The best observations are sorted first: they nearly always belong to enough tracks.
SHORTLIST = 128


@dataclass(frozen=True)
class Lookup:
    """Looks up observations before a present.

    Attributes:
        observations: Where to look.
        scale: Typical displacement per step.
        now: The present step.
        count: Most observations K for an agent, each of another track.
        horizon: Following steps F that are wanted of a track.
    """

    observations: ObservationStore
    scale: float
    now: int
    count: int
    horizon: int

    def best(
        self, scene: int, position: Floats, velocity: Floats, own: int, oldest: int | None
    ) -> Ints:
        """Rows of the observations that are most alike, best first, [K] or fewer.

        Args:
            scene: Code of the scene.
            position: Position of the agent, [D].
            velocity: Its displacement per step, [D]; NaN if unknown.
            own: Number of its own track, which is ignored.
            oldest: Earliest step; None: any.
        """
        rows = self.observations.around(scene, position, oldest, self.now)
        rows, cost = self._similar(rows, own, position, velocity)
        best = rows[:0]
        for most in (SHORTLIST, len(rows)):
            shortlist = slice(None)
            if most < len(rows):
                # Ties with the last one are included, so that the order of rows is irrelevant.
                shortlist = cost <= np.partition(cost, most)[most]
            best = self._best_of_each(rows[shortlist], cost[shortlist])
            if len(best) >= self.count:
                break
        return best[: self.count]

    def _best_of_each(self, rows: Ints, cost: Floats) -> Ints:
        """The best row of each track, best first."""
        r = self.observations.rows
        track, step = r.track[rows], r.step[rows]
        following = self.observations.count_following(rows, self.now, self.horizon)
        cost = cost + UNKNOWN * (1 - following / self.horizon)
        # Equal costs are common where people stand: the order must not be that of the rows.
        order = np.lexsort((track, -step, cost))
        first = np.sort(np.unique(track[order], return_index=True)[1])
        return np.asarray(rows[order[first]])

    def _similar(
        self, rows: Ints, own: int, position: Floats, velocity: Floats
    ) -> tuple[Ints, Floats]:
        """The rows that are near and have a similar heading, and their costs, [N] both."""
        r = self.observations.rows
        square = _squares(r.position[rows] - position) / (RADIUS * self.scale) ** 2
        near = square <= 1
        rows, square = rows[near], square[near]
        theirs = r.velocity[rows]
        usable = (theirs[:, 0] == theirs[:, 0]) & (r.track[rows] != own)
        rows, square, theirs = rows[usable], square[usable], theirs[usable]
        heading = np.nan_to_num(velocity)
        speed, own_speed = np.sqrt(_squares(theirs)), float(np.sqrt(_squares(heading)))
        dot = theirs[:, 0] * heading[0]
        for axis in range(1, len(position)):
            dot = dot + theirs[:, axis] * heading[axis]
        least = MOVING * self.scale
        both = (speed > least) & (own_speed > least)
        cosine = np.where(both, dot / np.where(both, speed * own_speed, 1), 1.0)
        difference = (speed - own_speed) / self.scale if np.isfinite(velocity).all() else 0 * speed
        aligned = cosine >= COSINE
        cost = square + (1 - cosine) + difference * difference
        return rows[aligned], cost[aligned]


def _squares(vectors: Floats) -> Floats:
    """Squared lengths of vectors [*, D], [*].

    Summed by hand: the rounding of numpy's sum may depend on the number of rows.
    """
    total = vectors[..., 0] * vectors[..., 0]
    for axis in range(1, vectors.shape[-1]):
        total = total + vectors[..., axis] * vectors[..., axis]
    return np.asarray(total)
