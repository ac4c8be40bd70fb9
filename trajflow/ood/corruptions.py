"""Corruptions of ordinary windows, each at several severities.

The detector is trained on corruptions of random severity; the evaluation applies fixed severities
to windows that the run has not seen. To add a corruption, write one function in `changes.py` and
add one entry to `CORRUPTIONS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trajflow.errors import ConfigError, did_you_mean
from trajflow.ood import changes
from trajflow.ood.changes import Rng, World
from trajflow.types import Batch, Floats, Ints

# A pixel of a camera above a campus shows about 4 cm.
PIXELS_PER_METRE, FEET_PER_METRE = 25.0, 3.28084


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
        changes.noise,
        {"2 cm": 0.02, "5 cm": 0.05, "10 cm": 0.1},
        _log_uniform(0.04, 0.4, of_step=True),
        weight=3,
        reason="noisy positions",
    ),
    Corruption(
        "glitch",
        "one observed position jumps",
        changes.glitch,
        {"0.5 m": 0.5, "1 m": 1.0, "2 m": 2.0},
        _log_uniform(0.7, 5, of_step=True),
        reason="tracks with one position off",
    ),
    Corruption(
        "skip",
        "frames are skipped, so that all agents seem fast",
        changes.resampled,
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
        changes.resampled,
        {"x1.5": 1 / 1.5, "x2": 0.5, "x3": 1 / 3},
        _constant(0.5),
        weight=3,
        reason="tracks with interpolated steps",
        keeps_future=False,
    ),
    Corruption(
        "reversed", "time runs backwards", changes.reversed_time, {"all": 1.0}, keeps_future=False
    ),
    Corruption("filled", "a gap filled linearly", changes.filled, _counted(1, 2, 4)),
    Corruption(
        "filled anywhere",
        "steps filled in linearly, in a row or not",
        changes.filled_anywhere,
        {},
        _steps(2, 5),
        weight=3,
        reason="tracks with steps filled in",
    ),
    Corruption("dropped", "a gap left open", changes.dropped, _counted(1, 2, 4)),
    Corruption(
        "dropped anywhere",
        "steps missing, in a row or not",
        changes.dropped_anywhere,
        {},
        _steps(2, 5),
        reason="tracks with steps missing",
    ),
    Corruption(
        "momentary",
        "only the last steps are observed, which makes all tracks short",
        changes.momentary,
        _counted(3, 2, 1),
    ),
    Corruption(
        "padded",
        "only the last steps, with the first of them repeated before",
        changes.padded,
        _counted(3, 2, 1),
        _steps(2, 7),
        reason="tracks with a repeated beginning",
    ),
    Corruption(
        "late",
        "short tracks of targets detected late, neighbors complete",
        changes.late,
        _counted(2, 4, 6),
        _steps(1, 7),
        reason="tracks that have just begun",
    ),
    Corruption(
        "speed",
        "targets as fast as bikers",
        changes.speed,
        {"x1.5": 1.5, "x2": 2.0, "x3": 3.0},
        _log_uniform(1.6, 4),
        weight=4,
        reason="faster agents",
        keeps_future=False,
    ),
    Corruption(
        "slower",
        "slower targets",
        changes.speed,
        {},
        _log_uniform(0.25, 0.65),
        weight=2,
        reason="slower agents",
        keeps_future=False,
    ),
    Corruption(
        "unit",
        "positions in a wrong unit",
        changes.unit,
        {"feet": FEET_PER_METRE, "px": PIXELS_PER_METRE, "cm": 100.0},
        keeps_future=False,
    ),
    Corruption(
        "mirrored", "the scene in a mirror", changes.mirrored, {"all": 1.0}, keeps_future=False
    ),
    Corruption(
        "crowd",
        "agents of other moments added as neighbors",
        changes.crowd,
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
