"""Corruptions: graded changes of ordinary windows into ones a model was not made for.

One catalogue serves both ends: the detector learns from corruptions of random severity on training
windows, and the evaluation walks their graded severities on windows the run has never seen. A new
corruption is one function and one entry of `CORRUPTIONS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trajflow.errors import ConfigError, did_you_mean
from trajflow.types import Batch, Bools, Floats, Ints

Rng = np.random.Generator
PIXELS_PER_METRE, FEET_PER_METRE = 25.0, 3.28084
"""Wrong units; pixels as of a camera above a campus, 4 cm each."""


@dataclass(frozen=True)
class World:
    """What a corruption may know beside the windows it changes.

    Attributes:
        metre: Length of a metre in the unit of the tracks.
        pools: Other windows by name: "crowd" to borrow neighbors from; "place NAME", "type NAME"
            and "against" to take as they are.
    """

    metre: float = 1.0
    pools: Mapping[str, Batch] = field(default_factory=dict)


Apply = Callable[[Batch, Floats, Rng, World], Batch]
Draw = Callable[[Rng, int, float], Floats]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: What is changed, such as "noise".
        what: The same in one line.
        apply: Changes a batch, given the severity of each scene [B]. Futures are what really
            follows: NaN where that is not known. Agents whose past cannot be changed so are no
            targets of the result.
        levels: Severities that the evaluation walks, mildest first, by their label.
        draw: Severities [N] for training, given the typical step length; None: never trained on.
        weight: How often it is trained on, relative to the others.
        reason: What a past that looks most like it is called.
        keeps_future: Whether what follows stays what it was.
        reach: Window lengths that batches must bring around the present (`Batch.around`).
        pool: Whether the result is a pool of other windows.
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
class Graded:
    """A corruption at one severity of its levels, counted from 1 for the mildest."""

    corruption: Corruption
    severity: int

    @property
    def key(self) -> str:
        """Name and severity, such as "noise-2"."""
        return f"{self.corruption.name}-{self.severity}"

    @property
    def level(self) -> str:
        """The severity as a label, such as "5 cm"."""
        return list(self.corruption.levels)[self.severity - 1]

    def apply(self, batch: Batch, rng: Rng, world: World | None = None) -> Batch:
        """Corrupt the windows; without a world, lengths are in metres."""
        value = list(self.corruption.levels.values())[self.severity - 1]
        severity = np.full(len(batch.scene), value)
        corrupted = self.corruption.apply(batch, severity, rng, world or World())
        return replace(corrupted, around=None)


def noise(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Gaussian noise of the deviation `severity` [B] metres on every past position."""
    size = world.metre * severity[:, None, None, None]
    return replace(batch, past=batch.past + size * rng.normal(size=batch.past.shape))


def glitch(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """One observed position of each target jumps by `severity` [B] metres in any direction."""
    past, (rows, agents) = batch.past.copy(), np.nonzero(batch.target)
    seen = batch.seen[rows, agents]
    steps = np.where(seen, rng.random(seen.shape), -1.0).argmax(1)
    direction = rng.normal(size=(len(rows), past.shape[-1]))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    past[rows, agents, steps] += world.metre * severity[rows, None] * direction
    return replace(batch, past=past)


def speed(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Targets move `severity` [B] times as fast on paths of the same shape through the present."""
    now, moved = batch.past[:, :, -1:], batch.target[..., None, None]
    factor = severity[:, None, None, None]
    past, future = (
        np.where(moved, now + factor * (path - now), path) for path in (batch.past, batch.future)
    )
    return replace(batch, past=past, future=future)


def unit(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """All positions, and so all errors, times `severity` [B]: in a unit that is not mentioned."""
    factor = severity[:, None, None, None]
    return replace(batch, past=batch.past * factor, future=batch.future * factor)


def mirrored(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """The scene in a mirror, whatever the severity [B]: the second coordinate changes sign."""
    dims = batch.past.shape[-1]
    factor = np.where(np.arange(dims) == min(1, dims - 1), -1, 1)
    return replace(batch, past=batch.past * factor, future=batch.future * factor)


def resampled(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Everybody is observed every `severity` [B] steps, and that is called one step.

    Above 1 frames are skipped, below 1 there are more frames in a second, as if people were slow.
    Positions between steps come from a natural cubic spline through the track; those of the past
    know nothing of what comes after the present. Where the batch has no `around`, the present of
    skipped frames moves to the end of the window, and no future is known.
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
    """The window backwards, whatever the severity [B]: the past begins where the future ended."""
    steps = batch.past.shape[2]
    path = np.concatenate([batch.past, batch.future], 2)[:, :, ::-1]
    return replace(batch, past=path[:, :, :steps], future=path[:, :, steps:])


def filled(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Targets miss `severity` [B] steps in a row, and the gap is filled on a straight line."""
    return replace(batch, past=_interpolated(batch.past, _gap(batch, severity, rng)))


def filled_anywhere(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """As `filled` by `severity` [B], the steps in a row or scattered at random."""
    return replace(batch, past=_interpolated(batch.past, _gap(batch, severity, rng, True)))


def dropped(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Targets miss `severity` [B] steps in a row between the first and the present."""
    gap = _gap(batch, severity, rng)
    return replace(batch, past=np.where(gap[..., None], np.nan, batch.past))


def dropped_anywhere(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """As `dropped` by `severity` [B], the steps in a row or scattered at random."""
    gap = _gap(batch, severity, rng, True)
    return replace(batch, past=np.where(gap[..., None], np.nan, batch.past))


def momentary(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Nobody was observed before the last `severity` [B] steps."""
    hidden = np.arange(batch.past.shape[2]) < batch.past.shape[2] - severity[:, None]
    return replace(batch, past=np.where(hidden[:, None, :, None], np.nan, batch.past))


def padded(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """As `momentary` by `severity` [B], the first position seen repeated before: all stand."""
    steps = batch.past.shape[2]
    source = np.maximum(np.arange(steps), steps - severity[:, None]).astype(int)
    past = np.take_along_axis(batch.past, source[:, None, :, None], 2)
    return replace(batch, past=past)


def late(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Targets are detected `severity` [B] steps late; neighbors are seen as ever."""
    hidden = np.arange(batch.past.shape[2]) < severity[:, None]
    hidden = batch.target[..., None] & hidden[:, None]
    return replace(batch, past=np.where(hidden[..., None], np.nan, batch.past))


def crowd(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
    """Everybody of `severity` [B] other moments of the recording stands around as neighbors.

    They do not give way: some walk through others. A recording without another window that ends
    before or begins after this one lends nobody.
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
    """Windows with the agents of other windows as neighbors, where `here` [B]."""

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
    """Steps that each target misses, never the first or the present, [B, A, T].

    With `scattered`, half of the scenes miss them at random places instead of in a row.
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
    """Pasts [B, A, T, D] with gaps [B, A, T] on straight lines between what is around them."""
    step = np.arange(gap.shape[2])
    before = np.maximum.accumulate(np.where(gap, 0, step), 2)
    after = np.minimum.accumulate(np.where(gap, step[-1], step)[..., ::-1], 2)[..., ::-1]
    share = ((step - before) / np.maximum(after - before, 1))[..., None]
    left, right = (np.take_along_axis(past, at[..., None], 2) for at in (before, after))
    return np.where(gap[..., None], left + share * (right - left), past)


def at_times(path: Floats, times: Floats) -> Floats:
    """Positions of tracks between their steps, [B, A, W, D] -> [B, A, N, D].

    A natural cubic spline through each run of observed steps (de Boor 1978, "A practical guide to
    splines", ch. IV); NaN outside the runs. Unlike straight lines it leaves no staircase, but it is
    smoother than a sensor, which repeats its own noise at every step.

    Args:
        path: World positions; NaN where not seen.
        times: In steps from the first one of the path, [N].
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
    """A natural cubic spline through [N, W, D] at times [K], [N, K, D]."""
    from scipy.interpolate import CubicSpline

    if run.shape[1] == 1:
        return np.repeat(run, len(times), 1)
    return np.asarray(CubicSpline(np.arange(run.shape[1]), run, axis=1, bc_type="natural")(times))


def _log_uniform(low: float, high: float, of_step: bool = False) -> Draw:
    """Severities spread evenly in the logarithm; with `of_step`, shares of the typical step."""

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
        "frames are skipped, as if everybody were fast",
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
        "more frames a second, interpolated, as if everybody were slow",
        resampled,
        {"x1.5": 1 / 1.5, "x2": 0.5, "x3": 1 / 3},
        _constant(0.5),
        weight=3,
        reason="tracks with steps put between the ones observed",
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
    Corruption("momentary", "only the last steps of everybody", momentary, _counted(3, 2, 1)),
    Corruption(
        "padded",
        "only the last steps, the first repeated before",
        padded,
        _counted(3, 2, 1),
        _steps(2, 7),
        reason="tracks with a repeated beginning",
    ),
    Corruption(
        "late",
        "targets detected late, neighbors whole",
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
        reason="agents who are faster",
        keeps_future=False,
    ),
    Corruption(
        "slower",
        "targets who are slower",
        speed,
        {},
        _log_uniform(0.25, 0.65),
        weight=2,
        reason="agents who are slower",
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
        "everybody of so many other moments stands around",
        crowd,
        {"+1": 1, "+2": 2, "+4": 4},
    ),
)
POOLS = {
    "place": "people of another place",
    "type": "another kind of agent",
    "against": "people of other tracks",
}
"""Kinds of pools that are taken as they are; a pool is named by its kind and which one."""


def available(world: World | None = None) -> dict[str, Graded]:
    """Graded corruptions by key ("noise-2"), mildest first, and the pools of a world."""
    graded = [Graded(c, n) for c in CORRUPTIONS for n in range(1, len(c.levels) + 1)]
    for kind, what in POOLS.items():
        names = [pool for pool in (world or World()).pools if pool.partition(" ")[0] == kind]
        levels = {name.partition(" ")[2] or "all": n for n, name in enumerate(names)}
        taken = Corruption(kind, what, _take(names), levels, keeps_future=False, pool=True)
        graded += [Graded(taken, n) for n in range(1, len(names) + 1)]
    return {one.key: one for one in graded}


def _take(names: Sequence[str]) -> Apply:
    def apply(batch: Batch, severity: Floats, rng: Rng, world: World) -> Batch:
        return world.pools[names[int(severity[0])]]

    return apply


def select(world: World, names: Iterable[str] = ()) -> list[Graded]:
    """The corruptions of some names: all severities of "noise", or one as "noise-2"; none: all.

    Raises:
        ConfigError: There is no such corruption, or these tracks have none.
    """
    graded, wanted = available(world), list(names)
    names_there = {name for key, one in graded.items() for name in (key, one.corruption.name)}
    for name in wanted:
        if name in POOLS and name not in names_there:
            raise ConfigError(
                f"corruption {name!r} needs {POOLS[name]}, and these tracks have none; "
                "leave it out or give --against OTHER.zarr"
            )
        if name not in names_there:
            raise ConfigError(did_you_mean("corruption", name, sorted(names_there)))
    return [
        one
        for key, one in graded.items()
        if not wanted or key in wanted or one.corruption.name in wanted
    ]


def trained(names: Iterable[str] | None = None) -> list[Corruption]:
    """The corruptions that a detector learns from; None: all of them.

    Raises:
        ConfigError: There is no such corruption, or it is never trained on.
    """
    by_name = {c.name: c for c in CORRUPTIONS if c.draw is not None}
    for name in names or ():
        if name not in by_name:
            raise ConfigError(did_you_mean("corruption to train on", name, sorted(by_name)))
    return [c for name, c in by_name.items() if names is None or name in set(names)]


def corrupt(
    batch: Batch, corruptions: Sequence[Corruption], step: float, rng: Rng
) -> tuple[Batch, Ints]:
    """Corrupt every scene of a batch in one way of random severity.

    Args:
        batch: The windows.
        corruptions: What to choose from, by their weights; each has a `draw`.
        step: The typical step length of training tracks, in their unit.
        rng: What decides.

    Returns:
        The corrupted windows, and the place of each scene's corruption in the list, [B].
    """
    share = np.array([one.weight for one in corruptions])
    which = rng.choice(len(corruptions), len(batch.scene), p=share / share.sum())
    past, future, target = batch.past.copy(), batch.future.copy(), batch.target.copy()
    for number in np.unique(which):
        one, rows = corruptions[number], np.flatnonzero(which == number)
        assert one.draw is not None
        severity = one.draw(rng, len(rows), step)
        changed = one.apply(replace(batch.take(rows), around=None), severity, rng, World())
        past[rows], future[rows], target[rows] = changed.past, changed.future, changed.target
    target &= np.isfinite(past).all(-1).any(-1)
    return replace(batch, past=past, future=future, target=target, around=None), which
