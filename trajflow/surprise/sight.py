"""What there is to see of pasts: how agents moved, and what the trained model makes of it."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trajflow.surprise.motion import Motion
from trajflow.types import Bools, Floats, Ints

DRAWS, AGAIN = 4, 2
"""Futures of each agent that the model's scores are made of, always from the same noise, and how
many of them are drawn again in twice the evaluations."""
TINY = 1e-4
"""Distances that count as none, as a share of an agent's pace."""


@dataclass(frozen=True)
class View:
    """What a model makes of N pasts.

    Attributes:
        context: What its encoder makes of them, [N, H].
        once: Futures of the same noise for every agent, [S, N, F, D] with S = `DRAWS`.
        twice: Those of the first `AGAIN` noises in twice the evaluations, [S, N, F, D].
    """

    context: Floats
    once: Floats
    twice: Floats


class Viewer(Protocol):
    """A model that looks at pasts, whatever computes it."""

    @property
    def usual(self) -> float:
        """Usual length of a displacement in training tracks."""

    @property
    def horizon(self) -> int:
        """Future steps F."""

    def __call__(self, past: Floats, target: Bools) -> View:
        """What it makes of the targets [B, A] of pasts [B, A, T, D], in world coordinates.

        Neither the order of agents nor the others of a batch matter.
        """


@dataclass(frozen=True)
class Sight:
    """N agents as the scores see them.

    Attributes:
        motion: Their observed steps.
        context: What the encoder makes of their pasts, [N, H].
        spread: Logarithm of the spread of futures, over an agent's own pace, [N].
        agreement: Logarithm of the distance between futures of the same noise in one and in two
            evaluations, over their spread, [N].
        foretold: Logarithm of the energy score, over an agent's own pace, of the last steps of the
            past under the model's forecast from the steps before, [N]; NaN if none of them was
            seen.
    """

    motion: Motion
    context: Floats
    spread: Floats
    agreement: Floats
    foretold: Floats

    def __len__(self) -> int:
        """How many agents, N."""
        return len(self.context)

    def take(self, rows: Ints | Bools) -> "Sight":
        """Some of the agents."""
        rest = (self.context, self.spread, self.agreement, self.foretold)
        return Sight(self.motion.take(rows), *(one[rows] for one in rest))


def joined(sights: list[Sight]) -> Sight:
    """All agents of several sights of the same model."""
    motions = [one.motion for one in sights]
    seen, moves, turns = (
        np.concatenate([getattr(m, name) for m in motions]) for name in ("seen", "moves", "turns")
    )
    names = ("context", "spread", "agreement", "foretold")
    rest = (np.concatenate([getattr(one, name) for one in sights]) for name in names)
    motion = replace(motions[0], seen=seen, moves=moves, turns=turns)
    return Sight(motion, *rest)


def look(viewer: Viewer, past: Floats, target: Bools, dt: float = 0.0, length: str = "") -> Sight:
    """What there is to see of the N targets of pasts [B, A, T, D], target [B, A].

    Args:
        viewer: What looks.
        past: World positions; NaN where not seen.
        target: Who is looked at.
        dt: Seconds per step, for what is said of a pace.
        length: Unit of the positions, for what is said of a distance.
    """
    motion = Motion.of(past[target], viewer.usual, dt, length)
    unit, view = motion.unit, viewer(past, target)
    off = np.square(view.once - view.once.mean(0)).sum(-1)
    spread = np.sqrt(off.mean((0, -1)))
    apart = _length(view.once[:AGAIN] - view.twice).mean((0, -1))
    return Sight(
        motion=motion,
        context=view.context,
        spread=_log(spread / unit),
        agreement=_log(apart / (spread + TINY * unit)),
        foretold=_log(_foretold(viewer, past, target) / unit),
    )


def _foretold(viewer: Viewer, past: Floats, target: Bools) -> Floats:
    """Energy score of the last half of pasts under forecasts from the first half, [N]."""
    ahead = min(past.shape[2] // 2, viewer.horizon)
    score = np.full(int(target.sum()), np.nan)
    nothing = np.full_like(past[:, :, :ahead], np.nan)
    early = np.concatenate([nothing, past[:, :, : past.shape[2] - ahead]], 2)
    known = target & np.isfinite(early).all(-1).any(-1)
    if not ahead or not known.any():
        return score
    truth = past[:, :, -ahead:][known]
    seen = np.asarray(np.isfinite(truth).all(-1))
    drawn = viewer(early, known).once[:, :, :ahead]
    off = np.where(seen[..., None], drawn - np.where(seen[..., None], truth, 0), 0)
    paths = off.reshape(*off.shape[:2], -1)
    near = _length(paths).mean(0)
    apart = _length(paths[:, None] - paths).sum((0, 1)) / (len(paths) * (len(paths) - 1))
    energy = (near - apart / 2) / np.sqrt(np.maximum(seen.sum(-1), 1))
    score[known[target]] = np.where(seen.any(-1), energy, np.nan)
    return score


def _length(vectors: Floats) -> Floats:
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def _log(ratio: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(ratio, TINY)))
