"""What each corruption does to windows: one function each, given severities [B]."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from trajflow.types import Batch, Bools, Floats, Ints

Rng = np.random.Generator


@dataclass(frozen=True)
class World:
    """What corruptions need beside the windows.

    Attributes:
        metre: Length of a metre in the unit of the tracks.
        pools: Other windows by name: "crowd" lends neighbors; windows of "place NAME", "type NAME"
            and "against" replace the ordinary ones.
    """

    metre: float = 1.0
    pools: Mapping[str, Batch] = field(default_factory=dict)


def noise(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Add Gaussian noise of standard deviation `severity` [B] metres to every past position."""
    size = world.metre * severity[:, None, None, None]
    return replace(batch, past=batch.past + size * rng.normal(size=batch.past.shape))


def glitch(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Move one observed position of each target by `severity` [B] metres in a random direction."""
    past, (rows, agents) = batch.past.copy(), np.nonzero(batch.target)
    seen = batch.seen[rows, agents]
    steps = np.where(seen, rng.random(seen.shape), -1.0).argmax(1)
    direction = rng.normal(size=(len(rows), past.shape[-1]))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    past[rows, agents, steps] += world.metre * severity[rows, None] * direction
    return replace(batch, past=past)


def speed(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Make targets `severity` [B] times as fast, on paths of the same shape through the present."""
    now, moved = batch.past[:, :, -1:], batch.target[..., None, None]
    factor = severity[:, None, None, None]
    past, future = (
        np.where(moved, now + factor * (path - now), path) for path in (batch.past, batch.future)
    )
    return replace(batch, past=past, future=future)


def unit(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Multiply all positions by `severity` [B], as if read in a wrong unit."""
    factor = severity[:, None, None, None]
    return replace(batch, past=batch.past * factor, future=batch.future * factor)


def mirrored(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Flip the sign of the second coordinate; the severity [B] has no effect."""
    dims = batch.past.shape[-1]
    factor = np.where(np.arange(dims) == min(1, dims - 1), -1, 1)
    return replace(batch, past=batch.past * factor, future=batch.future * factor)


def resampled(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Observe everybody every `severity` [B] steps instead of every step.

    Above 1, frames are skipped. Below 1, frames are inserted, so that everybody seems slow.
    Positions between steps come from a natural cubic spline; past positions use nothing after the
    present. If the batch has no `around`, the present moves to the end of the window when frames
    are skipped, and the future is NaN.
    """
    steps, horizon = batch.past.shape[2], batch.future.shape[2]
    window = np.concatenate([batch.past, batch.future], 2)
    past, future = np.full_like(batch.past, np.nan), np.full_like(batch.future, np.nan)
    for pace in np.unique(severity):
        rows, path, present = severity == pace, window, steps - 1
        if pace > 1 and batch.around is not None:
            path = batch.around
            present = steps * path.shape[2] // (steps + horizon) - 1
        elif pace > 1:
            present = min(int(np.ceil(pace * (steps - 1))), window.shape[2] - 1)
        path = path[rows]
        past[rows] = at_times(path[:, :, : present + 1], present + pace * np.arange(1 - steps, 1))
        future[rows] = at_times(path, present + pace * np.arange(1, horizon + 1))
    target = batch.target & np.isfinite(past).all((2, 3))
    return replace(batch, past=past, future=future, target=target)


def reversed_time(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Reverse the window in time; the severity [B] has no effect."""
    steps = batch.past.shape[2]
    path = np.concatenate([batch.past, batch.future], 2)[:, :, ::-1]
    return replace(batch, past=path[:, :, :steps], future=path[:, :, steps:])


def filled(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Replace `severity` [B] consecutive steps of targets by a straight line."""
    return replace(batch, past=_interpolated(batch.past, _gap(batch, severity, rng)))


def filled_anywhere(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """As `filled` by `severity` [B], with the steps consecutive or scattered at random."""
    return replace(batch, past=_interpolated(batch.past, _gap(batch, severity, rng, True)))


def dropped(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Remove `severity` [B] consecutive steps of targets between the first step and the present."""
    gap = _gap(batch, severity, rng)
    return replace(batch, past=np.where(gap[..., None], np.nan, batch.past))


def dropped_anywhere(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """As `dropped` by `severity` [B], with the steps consecutive or scattered at random."""
    gap = _gap(batch, severity, rng, True)
    return replace(batch, past=np.where(gap[..., None], np.nan, batch.past))


def momentary(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Remove all observations before the last `severity` [B] steps."""
    hidden = np.arange(batch.past.shape[2]) < batch.past.shape[2] - severity[:, None]
    return replace(batch, past=np.where(hidden[:, None, :, None], np.nan, batch.past))


def padded(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """As `momentary` by `severity` [B], with the first remaining position repeated before."""
    steps = batch.past.shape[2]
    source = np.maximum(np.arange(steps), steps - severity[:, None]).astype(int)
    past = np.take_along_axis(batch.past, source[:, None, :, None], 2)
    return replace(batch, past=past)


def late(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Remove the first `severity` [B] steps of targets; neighbors keep theirs."""
    hidden = np.arange(batch.past.shape[2]) < severity[:, None]
    hidden = batch.target[..., None] & hidden[:, None]
    return replace(batch, past=np.where(hidden[..., None], np.nan, batch.past))


def shortened(batch: Batch, steps: Ints) -> Batch:
    """Cut the pasts of targets to their last `steps` [B] steps; not a corruption but a young track.

    The neighbors of every other scene are cut too, as at the start of a recording.
    """
    count, length = batch.past.shape[0], batch.past.shape[2]
    hidden = np.arange(length) < length - steps[:, None]
    everybody = np.arange(count) % 2 == 1
    cut = hidden[:, None] & (batch.target | everybody[:, None])[..., None]
    past = np.where(cut[..., None], np.nan, batch.past)
    target = batch.target & np.isfinite(past).all(-1).any(-1)
    return replace(batch, past=past, target=target, around=None)


def crowd(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Add everybody from `severity` [B] other moments of the same recording as neighbors.

    They do not avoid anybody, so some walk through others. A recording without a window that does
    not overlap with this one adds nobody.
    """
    pool = world.pools.get("crowd", batch)
    span = batch.past.shape[2] + batch.future.shape[2]
    lends = np.abs(batch.start[:, None] - pool.start) >= span
    lends &= batch.scene[:, None] == pool.scene
    for number in range(int(severity.max(initial=0))):
        row = np.where(lends, rng.random(lends.shape), -1.0).argmax(1)
        here = lends[np.arange(len(row)), row] & (number < severity)
        batch = _beside(batch, pool.take(row), here)
        lends[np.arange(len(row)), row] = False
    return batch


def _beside(batch: Batch, others: Batch, here: Bools) -> Batch:
    """Add the agents of other windows as neighbors where `here` [B]."""

    def both(own: Floats, other: Floats) -> Floats:
        return np.concatenate([own, np.where(here[:, None, None, None], other, np.nan)], 1)

    agent: Ints = np.where(here[:, None], others.agent, -1)
    return replace(
        batch,
        past=both(batch.past, others.past),
        future=both(batch.future, others.future),
        target=np.concatenate([batch.target, np.zeros_like(others.target)], 1),
        agent=np.concatenate([batch.agent, agent], 1),
    )


def _gap(batch: Batch, severity: Floats, rng: Rng, scattered: bool = False) -> Bools:
    """Steps that each target misses, [B, A, T]; never the first one or the present.

    With `scattered`, half of the scenes miss random steps instead of consecutive ones.
    """
    steps = batch.past.shape[2]
    count = np.clip(severity, 0, max(0, steps - 2))[:, None, None]
    first = 1 + np.floor(rng.random((*batch.target.shape, 1)) * (steps - 1 - count))
    step = np.arange(steps)
    gap = (step >= first) & (step < first + count)
    if scattered:
        inner = rng.random((*batch.target.shape, steps))
        inner[..., [0, -1]] = 2.0
        anywhere = inner.argsort(2).argsort(2) < count
        gap = np.where(rng.random((len(count), 1, 1)) < 0.5, gap, anywhere)
    gap[..., [0, -1]] = False
    return np.asarray(gap & batch.target[..., None])


def _interpolated(past: Floats, gap: Bools) -> Floats:
    """Replace gaps [B, A, T] in pasts [B, A, T, D] by straight lines."""
    step = np.arange(gap.shape[2])
    before = np.maximum.accumulate(np.where(gap, 0, step), 2)
    after = np.minimum.accumulate(np.where(gap, step[-1], step)[..., ::-1], 2)[..., ::-1]
    share = ((step - before) / np.maximum(after - before, 1))[..., None]
    left, right = (np.take_along_axis(past, at[..., None], 2) for at in (before, after))
    return np.where(gap[..., None], left + share * (right - left), past)


def at_times(path: Floats, times: Floats) -> Floats:
    """Interpolate tracks at times between their steps, [B, A, W, D] -> [B, A, N, D].

    Each run of observed steps gets a natural cubic spline (de Boor 1978, "A practical guide to
    splines", ch. IV); outside the runs the result is NaN. Straight lines would leave corners that a
    detector recognizes.

    Args:
        path: World positions; NaN where not seen.
        times: Times in steps since the first one of the path, [N].
    """
    result = np.full((*path.shape[:2], len(times), path.shape[-1]), np.nan)
    seen = np.isfinite(path).all(-1)
    patterns, which = np.unique(seen.reshape(-1, seen.shape[-1]), axis=0, return_inverse=True)
    which = which.reshape(seen.shape[:2])
    for number, pattern in enumerate(patterns):
        edges = np.diff(np.concatenate([[False], pattern, [False]]).astype(int))
        rows, agents = np.nonzero(which == number)
        for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            inside = np.flatnonzero((times >= first) & (times <= end - 1))
            run = path[rows, agents, first:end]
            result[rows[:, None], agents[:, None], inside] = _spline(run, times[inside] - first)
    return result


def _spline(run: Floats, times: Floats) -> Floats:
    """Evaluate a natural cubic spline through [N, W, D] at times [K], [N, K, D]."""
    from scipy.interpolate import CubicSpline

    if run.shape[1] == 1:
        return np.repeat(run, len(times), 1)
    return np.asarray(CubicSpline(np.arange(run.shape[1]), run, axis=1, bc_type="natural")(times))
