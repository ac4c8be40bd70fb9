"""Known faults, put on training tracks so that a classifier learns what faults look like."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from trajflow.types import Batch, Bools, Floats, Ints

Chance = np.random.Generator
Fault = Callable[[Floats, Floats, float, Chance], Floats]
"""Pasts [B, A, T, D] and futures [B, A, F, D] in, a usual step and chance; faulty pasts out."""


def noise(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Every position is off a little, [B, A, T, D]."""
    size = usual * np.exp(chance.uniform(np.log(0.04), np.log(0.4), (len(past), 1, 1, 1)))
    return past + size * chance.normal(size=past.shape)


def glitch(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """One position of each agent is far off, [B, A, T, D]."""
    far = usual * np.exp(chance.uniform(np.log(0.7), np.log(5), past.shape[:2]))[..., None]
    way = chance.normal(size=(*past.shape[:2], past.shape[-1]))
    way *= far / np.linalg.norm(way, axis=-1, keepdims=True)
    which = chance.integers(past.shape[2], size=past.shape[:2])
    return (
        past
        + np.where(np.arange(past.shape[2]) == which[..., None], 1, 0)[..., None]
        * (way[:, :, None])
    )


def faster(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """All go faster: another clock or unit, or bicycles, [B, A, T, D]."""
    return _scaled(past, np.exp(chance.uniform(np.log(1.6), np.log(4), (len(past), 1, 1, 1))))


def slower(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """All go slower, [B, A, T, D]."""
    return _scaled(past, np.exp(chance.uniform(np.log(0.25), np.log(0.65), (len(past), 1, 1, 1))))


def skipped(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Every other step is left out, [B, A, T, D]."""
    path = np.concatenate([past, future], 2)
    first = chance.integers(max(1, path.shape[2] - 2 * past.shape[2] + 2))
    return path[:, :, first::2][:, :, : past.shape[2]]


def halved(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Twice as many steps were made of half as many, straight or smooth, [B, A, T, D]."""
    path = np.concatenate([past, future], 2)
    steps = past.shape[2]
    first = int(chance.integers(1, max(2, path.shape[2] - steps // 2 - 2)))
    when = first + 0.5 * chance.integers(2) + np.arange(steps) / 2
    when = when[when < path.shape[2] - 2] if path.shape[2] > steps + 4 else when
    early = np.clip(np.floor(when).astype(int), 0, path.shape[2] - 2)
    share = (when - early)[:, None]
    before, left, right, after = (
        path[:, :, np.clip(early + k, 0, path.shape[2] - 1)] for k in (-1, 0, 1, 2)
    )
    between = (1 - share) * left + share * right
    if chance.random() < 0.5:
        between = between + share * (1 - share) / 4 * (left + right - before - after)
    return np.asarray(between[:, :, -steps:])


def filled(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Some steps are computed from those around, [B, A, T, D]."""
    known = _kept(past.shape[:3], chance)
    return _interpolated(past, known)


def lost(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Some steps are missing, [B, A, T, D]."""
    return np.where(_kept(past.shape[:3], chance)[..., None], past, np.nan)


def late(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Only the last steps were seen, [B, A, T, D]."""
    return np.where(_late(past.shape[:3], chance, least=1)[..., None], past, np.nan)


def padded(past: Floats, future: Floats, usual: float, chance: Chance) -> Floats:
    """Only the last steps were seen, and the first of them stands for the others, [B, A, T, D]."""
    seen = _late(past.shape[:3], chance)
    first = np.take_along_axis(past, seen.argmax(2)[..., None, None], 2)
    return np.where(seen[..., None], past, first)


FAULTS: dict[str, Fault] = {
    one.__name__: one
    for one in (noise, glitch, faster, slower, skipped, halved, filled, lost, late, padded)
}
"""All of them by name."""
SHARES = {"noise": 3.0, "faster": 4.0, "slower": 2.0, "skipped": 4.0, "halved": 3.0, "filled": 3.0}
"""How often those are shown that are harder to tell than the others, which are shown once."""


def faulted(
    batches: Iterable[Batch], names: Sequence[str], usual: float, chance: Chance
) -> Iterator[tuple[Batch, Ints]]:
    """Batches with their pasts under faults, one for each scene, and which of `names`, [B].

    Who is not seen any more is no target; nor is what follows made to fit.
    """
    share = np.array([SHARES.get(name, 1.0) for name in names])
    for batch in batches:
        which = chance.choice(len(names), len(batch.scene), p=share / share.sum())
        past = batch.past.copy()
        for one in np.unique(which):
            rows = which == one
            past[rows] = FAULTS[names[one]](batch.past[rows], batch.future[rows], usual, chance)
        seen = np.isfinite(past).all(-1).any(-1)
        yield replace(batch, past=past, target=batch.target & seen), which


def _scaled(past: Floats, factor: Floats) -> Floats:
    now = np.nan_to_num(past[:, :, -1:])
    return now + factor * (past - now)


def _kept(shape: tuple[int, ...], chance: Chance) -> Bools:
    """All but 2 or more of the inner steps, at random or in a row, [B, A, T]."""
    steps = shape[2]
    count = chance.integers(2, max(3, steps - 2), shape[:2])[..., None]
    if chance.random() < 0.5:
        first = 1 + np.floor(chance.random((*shape[:2], 1)) * np.maximum(steps - 1 - count, 1))
        place = np.arange(steps)
        gone = (place >= first) & (place < first + count)
    else:
        order = chance.random(shape).argsort(2).argsort(2)
        gone = order < count
    gone[..., 0] = gone[..., -1] = False
    return np.asarray(~gone)


def _late(shape: tuple[int, ...], chance: Chance, least: int = 2) -> Bools:
    """The last steps, `least` of them or more, [B, A, T]."""
    first = chance.integers(1, max(2, shape[2] + 1 - least), shape[:2])[..., None]
    return np.asarray(np.arange(shape[2]) >= first)


def _interpolated(past: Floats, known: Bools) -> Floats:
    """Pasts with what is not known on straight lines between what is; the ends are known."""
    steps = np.arange(past.shape[2])
    before = np.maximum.accumulate(np.where(known, steps, 0), 2)[..., None]
    after = np.where(known, steps, len(steps) - 1)[:, :, ::-1]
    after = np.minimum.accumulate(after, 2)[:, :, ::-1][..., None]
    left, right = (np.take_along_axis(past, where, 2) for where in (before, after))
    share = (steps[:, None] - before) / np.maximum(after - before, 1)
    return np.where(known[..., None], past, left + share * (right - left))
