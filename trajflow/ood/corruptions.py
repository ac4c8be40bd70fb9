"""Corruptions of ordinary windows, each at several severities.

The detector is trained on corruptions of random severity; the evaluation applies fixed severities
to windows that the run has not seen. To add a corruption, write one function and add one entry to
`CORRUPTIONS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trajflow.errors import ConfigError, did_you_mean
from trajflow.types import Batch, Bools, Floats, Ints

Rng = np.random.Generator
# A pixel of a camera above a campus shows about 4 cm.
PIXELS_PER_METRE, FEET_PER_METRE = 25.0, 3.28084


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


Apply = Callable[[Batch, Floats, Rng, World], Batch]
Draw = Callable[[Rng, int, float], Floats]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: Short name, such as "noise".
        what: Description in one line.
        apply: Returns the corrupted batch, given the severity of each scene [B]. The future stays
            the true one, or NaN where it is not known. Agents that cannot be corrupted stop being
            targets.
        levels: Severities of the evaluation by their label, mildest first.
        draw: Draws N severities for training, given the typical step length; None: the detector is
            not trained on this corruption.
        weight: How often the detector is trained on it, relative to the others.
        reason: Name used in the reasons of a score.
        keeps_future: Whether the future is unchanged.
        reach: Window lengths that batches must hold around the present (`Batch.around`).
        pool: Whether it replaces the windows by a pool of other windows.
    """

    name: str
    what: str
    apply: Apply
    levels: Mapping[str, float] = field(default_factory=dict)
    draw: Draw | None = None
    weight: float = 1.0
    reason: str = ""
    keeps_future: bool = True
    reach: int = 1
    pool: bool = False


@dataclass(frozen=True)
class GradedCorruption:
    """A corruption at one of its severities, counted from 1 for the mildest."""

    corruption: Corruption
    severity: int

    @property
    def key(self) -> str:
        """Name and severity, such as "noise-2"."""
        return f"{self.corruption.name}-{self.severity}"

    @property
    def level(self) -> str:
        """Label of the severity, such as "5 cm"."""
        return list(self.corruption.levels)[self.severity - 1]

    def apply(self, batch: Batch, rng: Rng, world: World | None = None) -> Batch:
        """Corrupt the windows. Without `world`, the unit of length is the metre."""
        value = list(self.corruption.levels.values())[self.severity - 1]
        severity = np.full(len(batch.scene), value)
        corrupted = self.corruption.apply(batch, severity, rng, world or World())
        return replace(corrupted, around=None)


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


def _log_uniform(low: float, high: float, of_step: bool = False) -> Draw:
    """Draw log-uniform severities; with `of_step`, as multiples of the typical step."""

    def draw(rng: Rng, count: int, step: float) -> Floats:
        drawn = np.exp(rng.uniform(np.log(low), np.log(high), count))
        return np.asarray(drawn * step if of_step else drawn)

    return draw


def _steps(low: int, high: int) -> Draw:
    def draw(rng: Rng, count: int, step: float) -> Floats:
        return rng.integers(low, high + 1, count).astype(float)

    return draw


def _constant(*values: float) -> Draw:
    def draw(rng: Rng, count: int, step: float) -> Floats:
        return rng.choice(values, count)

    return draw


def _counted(*counts: int) -> dict[str, float]:
    return {f"{count} step{'s' if count > 1 else ''}": count for count in counts}


CORRUPTIONS = (
    Corruption(
        "noise",
        "Gaussian noise on observed positions",
        noise,
        {"2 cm": 0.02, "5 cm": 0.05, "10 cm": 0.1},
        _log_uniform(0.04, 0.4, of_step=True),
        weight=3,
        reason="noisy positions",
    ),
    Corruption(
        "glitch",
        "one observed position jumps",
        glitch,
        {"0.5 m": 0.5, "1 m": 1.0, "2 m": 2.0},
        _log_uniform(0.7, 5, of_step=True),
        reason="tracks with one position off",
    ),
    Corruption(
        "skip",
        "frames are skipped, so that all agents seem fast",
        resampled,
        {"x1.5": 1.5, "x2": 2.0, "x3": 3.0},
        _constant(2.0),
        weight=4,
        reason="tracks with every other step left out",
        keeps_future=False,
        reach=3,
    ),
    Corruption(
        "slow",
        "frames are interpolated, so that all agents seem slow",
        resampled,
        {"x1.5": 1 / 1.5, "x2": 0.5, "x3": 1 / 3},
        _constant(0.5),
        weight=3,
        reason="tracks with interpolated steps",
        keeps_future=False,
    ),
    Corruption("reversed", "time runs backwards", reversed_time, {"all": 1.0}, keeps_future=False),
    Corruption("filled", "a gap filled linearly", filled, _counted(1, 2, 4)),
    Corruption(
        "filled anywhere",
        "steps filled in linearly, in a row or not",
        filled_anywhere,
        {},
        _steps(2, 5),
        weight=3,
        reason="tracks with steps filled in",
    ),
    Corruption("dropped", "a gap left open", dropped, _counted(1, 2, 4)),
    Corruption(
        "dropped anywhere",
        "steps missing, in a row or not",
        dropped_anywhere,
        {},
        _steps(2, 5),
        reason="tracks with steps missing",
    ),
    Corruption(
        "momentary",
        "only the last steps are observed, which makes all tracks short",
        momentary,
        _counted(3, 2, 1),
    ),
    Corruption(
        "padded",
        "only the last steps, with the first of them repeated before",
        padded,
        _counted(3, 2, 1),
        _steps(2, 7),
        reason="tracks with a repeated beginning",
    ),
    Corruption(
        "late",
        "short tracks of targets detected late, neighbors complete",
        late,
        _counted(2, 4, 6),
        _steps(1, 7),
        reason="tracks that have just begun",
    ),
    Corruption(
        "speed",
        "targets as fast as bikers",
        speed,
        {"x1.5": 1.5, "x2": 2.0, "x3": 3.0},
        _log_uniform(1.6, 4),
        weight=4,
        reason="faster agents",
        keeps_future=False,
    ),
    Corruption(
        "slower",
        "slower targets",
        speed,
        {},
        _log_uniform(0.25, 0.65),
        weight=2,
        reason="slower agents",
        keeps_future=False,
    ),
    Corruption(
        "unit",
        "positions in a wrong unit",
        unit,
        {"feet": FEET_PER_METRE, "px": PIXELS_PER_METRE, "cm": 100.0},
        keeps_future=False,
    ),
    Corruption("mirrored", "the scene in a mirror", mirrored, {"all": 1.0}, keeps_future=False),
    Corruption(
        "crowd",
        "agents of other moments added as neighbors",
        crowd,
        {"+1": 1, "+2": 2, "+4": 4},
    ),
)
# Kinds of pools that replace the windows. The name of a pool starts with its kind.
POOLS = {
    "place": "people of another place",
    "type": "another kind of agent",
    "against": "people of other tracks",
}


def available(world: World | None = None) -> dict[str, GradedCorruption]:
    """All graded corruptions by key ("noise-2"), mildest first, then the pools of `world`."""
    graded = [GradedCorruption(c, n) for c in CORRUPTIONS for n in range(1, len(c.levels) + 1)]
    for kind, what in POOLS.items():
        names = [pool for pool in (world or World()).pools if pool.partition(" ")[0] == kind]
        levels = {name.partition(" ")[2] or "all": n for n, name in enumerate(names)}
        taken = Corruption(kind, what, _take(names), levels, keeps_future=False, pool=True)
        graded += [GradedCorruption(taken, n) for n in range(1, len(names) + 1)]
    return {c.key: c for c in graded}


def _take(names: Sequence[str]) -> Apply:
    def apply(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
        return world.pools[names[int(severity[0])]]

    return apply


def select(world: World, names: Iterable[str] = ()) -> list[GradedCorruption]:
    """Select corruptions by name.

    Args:
        world: Its pools are corruptions too.
        names: "noise" for all severities, "noise-2" for one; empty: all corruptions.

    Raises:
        ConfigError: There is no such corruption, or these tracks do not allow it.
    """
    graded, wanted = available(world), list(names)
    names_there = {name for key, c in graded.items() for name in (key, c.corruption.name)}
    for name in wanted:
        if name in POOLS and name not in names_there:
            raise ConfigError(
                f"corruption {name!r} needs {POOLS[name]}, and these tracks have none; "
                "leave it out or give --against OTHER.zarr"
            )
        if name not in names_there:
            raise ConfigError(did_you_mean("corruption", name, sorted(names_there)))
    return [
        c for key, c in graded.items() if not wanted or key in wanted or c.corruption.name in wanted
    ]


def trained(names: Iterable[str] | None = None) -> list[Corruption]:
    """The corruptions that a detector is trained on, by name; None: all of them.

    Raises:
        ConfigError: There is no such corruption, or no detector is trained on it.
    """
    by_name = {c.name: c for c in CORRUPTIONS if c.draw is not None}
    for name in names or ():
        if name not in by_name:
            raise ConfigError(did_you_mean("corruption to train on", name, sorted(by_name)))
    return [c for name, c in by_name.items() if names is None or name in set(names)]


def corrupt(
    batch: Batch, corruptions: Sequence[Corruption], step: float, rng: Rng
) -> tuple[Batch, Ints]:
    """Corrupt every scene of a batch by a random corruption of random severity.

    Args:
        batch: The windows.
        corruptions: Corruptions to choose from, by their weights; each has a `draw`.
        step: Typical step length of training tracks, in their unit.
        rng: Source of randomness.

    Returns:
        The corrupted windows, and the index of each scene's corruption, [B].
    """
    share = np.array([corruption.weight for corruption in corruptions])
    which = rng.choice(len(corruptions), len(batch.scene), p=share / share.sum())
    past, future, target = batch.past.copy(), batch.future.copy(), batch.target.copy()
    for number in np.unique(which):
        corruption, rows = corruptions[number], np.flatnonzero(which == number)
        assert corruption.draw is not None
        severity = corruption.draw(rng, len(rows), step)
        changed = corruption.apply(replace(batch.take(rows), around=None), severity, rng, World())
        past[rows], future[rows], target[rows] = changed.past, changed.future, changed.target
    target &= np.isfinite(past).all(-1).any(-1)
    return replace(batch, past=past, future=future, target=target, around=None), which
