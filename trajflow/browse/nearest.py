"""The training tracks whose past the encoder takes for the most alike, laid over another one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from trajflow.types import Batch, Floats

GAP = 0.12
"""Between tracks that stand side by side, as a share of the longest."""


@dataclass(frozen=True)
class TrainingTracks:
    """N training windows as the encoder sees them.

    Attributes:
        context: What it makes of each past, over the standard deviation of each number, [N, H].
        path: Positions at the T past and F future steps, [N, W, D] with W = T + F.
        history: Past steps T.
        scale: Usual deviation of each number of a context, [H].
    """

    context: Floats
    path: Floats
    history: int
    scale: Floats

    @classmethod
    def of(cls, contexts: Callable[[Batch], Floats], batches: Iterable[Batch]) -> "TrainingTracks":
        """All targets of some training batches; `contexts` gives theirs, [N, H]."""
        result, paths, history = [], [], 0
        for batch in batches:
            result.append(contexts(batch))
            whole = np.concatenate([batch.past, batch.future], 2)
            paths.append(whole[batch.target])
            history = batch.past.shape[2]
        context = np.concatenate(result)
        scale = np.maximum(context.std(0), 1e-9)
        return cls(context / scale, np.concatenate(paths), history, scale)

    def nearest(self, context: Floats, count: int) -> tuple[Floats, Floats]:
        """Paths of the nearest, [N, W, D], and how far each is, [N]; N is `count` or all.

        Args:
            context: What the encoder makes of a past, [H].
            count: How many.
        """
        away = np.linalg.norm(self.context - context / self.scale, axis=1)
        order = np.argsort(away, kind="stable")[:count]
        return self.path[order], away[order]


def laid_over(path: Floats, past: Floats) -> Floats:
    """Tracks [N, W, D] turned and moved onto another: same present, same way from first to last.

    Lengths stay, so who is faster reaches farther back.

    Args:
        path: Tracks, their first T steps whole.
        past: The track they are laid over, [T, D]; NaN where not seen.
    """
    seen = np.isfinite(past).all(-1)
    if not seen.any():
        return path
    here, now = past[seen], path[:, len(past) - 1]
    moved = path - now[:, None]
    if past.shape[-1] == 2:
        way = _turn(now - path[:, 0])
        wanted = _turn((here[-1] - here[0])[None])
        flat = (moved[..., 0] + 1j * moved[..., 1]) * (wanted / way)[:, None]
        moved = np.stack([flat.real, flat.imag], -1)
    return np.asarray(moved + here[-1])


def fanned(path: Floats, past: Floats) -> Floats:
    """Tracks that were laid over another [N, W, D], moved apart to its left and right in turn.

    So their shapes stand beside its own: the nearest next to it. Only in the plane.
    """
    seen = np.isfinite(past).all(-1)
    if past.shape[-1] != 2 or not seen.any():
        return path
    here, length = past[seen], len(past)
    extent = np.linalg.norm(path[:, length - 1] - path[:, 0], axis=1).max(initial=0)
    gap = GAP * max(float(np.linalg.norm(here[-1] - here[0])), float(extent))
    way = _turn((here[-1] - here[0])[None])[0]
    order = np.arange(len(path))
    side = np.where(order % 2 == 0, 1, -1) * (order // 2 + 1)
    aside = np.array([-way.imag, way.real])
    return np.asarray(path + gap * side[:, None, None] * aside)


def _turn(way: Floats) -> Floats:
    """Directions of vectors [N, 2] as complex numbers of length 1; 1 of none."""
    flat = way[:, 0] + 1j * way[:, 1]
    return np.where(flat == 0, 1, flat / np.where(flat == 0, 1, np.abs(flat)))
