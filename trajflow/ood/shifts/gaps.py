"""Steps that were not seen, left open or made up; what follows is the true future."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trajflow.ood.shifts.shift import Shift, World
from trajflow.types import Batch, Bools


def dropped(batch: Batch, rng: np.random.Generator, count: int) -> Batch:
    """Each target misses `count` steps in a row before the present and after the first: NaN.

    Args:
        batch: The windows; their futures stay as they are.
        rng: What decides where.
        count: Steps missed; no more than lie between the first and the last.
    """
    past = np.where(_gap(batch, rng, count)[..., None], np.nan, batch.past)
    return replace(batch, past=past, around=None)


def filled(batch: Batch, rng: np.random.Generator, count: int) -> Batch:
    """As `dropped`, but somebody has filled the gap: equal steps on a straight line across it."""
    gap = _gap(batch, rng, count)
    step = np.arange(gap.shape[2])
    before = np.maximum.accumulate(np.where(gap, 0, step), 2)
    after = np.minimum.accumulate(np.where(gap, step[-1], step)[..., ::-1], 2)[..., ::-1]
    share = (step - before) / np.maximum(after - before, 1)
    left, right = (np.take_along_axis(batch.past, at[..., None], 2) for at in (before, after))
    line = left + share[..., None] * (right - left)
    return replace(batch, past=np.where(gap[..., None], line, batch.past), around=None)


def momentary(batch: Batch, keep: int) -> Batch:
    """Nobody was seen before the last `keep` steps."""
    hidden = np.arange(batch.past.shape[2]) < batch.past.shape[2] - keep
    return replace(batch, past=np.where(hidden[:, None], np.nan, batch.past), around=None)


def padded(batch: Batch, keep: int) -> Batch:
    """As `momentary`, but the first position seen is repeated before: everybody seems to stand."""
    step = np.maximum(np.arange(batch.past.shape[2]), batch.past.shape[2] - keep)
    return replace(batch, past=batch.past[:, :, step], around=None)


def late(batch: Batch, steps: int) -> Batch:
    """Targets are found `steps` steps late and missed before; neighbours are seen as ever."""
    hidden = batch.target[..., None] & (np.arange(batch.past.shape[2]) < steps)
    return replace(batch, past=np.where(hidden[..., None], np.nan, batch.past), around=None)


def _gap(batch: Batch, rng: np.random.Generator, count: int) -> Bools:
    """Steps that a target misses, [B, A, T]."""
    length = batch.past.shape[2]
    count = max(0, min(count, length - 2))
    first = rng.integers(1, length - count, batch.target.shape) if count else length
    step, begin = np.arange(length), np.asarray(first)[..., None]
    return np.asarray(batch.target[..., None] & (step >= begin) & (step < begin + count))


Gap = Callable[[Batch, np.random.Generator, int], Batch]
Late = Callable[[Batch, int], Batch]


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"


def _missed(name: str, what: str, gap: Gap, severity: int, count: int) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return gap(batch, rng, count)

    return Shift(name, severity, _steps(count), what, change)


def _short(name: str, what: str, cut: Late, severity: int, count: int) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return cut(batch, count)

    return Shift(name, severity, _steps(count), what, change)


SHIFTS = [
    *(_missed("filled", "a gap filled linearly", filled, n, k) for n, k in enumerate((1, 2, 4), 1)),
    *(_missed("dropped", "a gap left open", dropped, n, k) for n, k in enumerate((1, 2, 4), 1)),
    *(
        _short("momentary", "only the last steps of everybody", momentary, n, k)
        for n, k in enumerate((3, 2, 1), 1)
    ),
    *(
        _short("padded", "only the last steps, the first repeated before", padded, n, k)
        for n, k in enumerate((3, 2, 1), 1)
    ),
    *(
        _short("late", "targets found late, neighbours whole", late, n, k)
        for n, k in enumerate((2, 4, 6), 1)
    ),
]
