"""Settings that follow from the tracks, where the user has not set them: a fingerprint, then rules.

The rules give the settings of the published pedestrian benchmark on its data
(examples/benchmarks/pedestrians.toml), and were checked on storms, a robot and drone videos. They
look at training rows only.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trajflow.config import Config, TrainConfig
from trajflow.datasets.schema import Tracks
from trajflow.datasets.splits import choose
from trajflow.datasets.store import Store
from trajflow.types import Bools, Floats, Ints

ROWS = 2_000_000
"""Observations that a fingerprint looks at."""
MOMENTS, SEED = 2000, 0
"""Moments at which distances between agents are taken, and their lot."""
HISTORY, HORIZON = 8, 12
LONG_ENOUGH = 0.5
"""Share of the tracks, by number, that shall hold a window."""
STANDING, FAST = 0.15, 0.9
"""A step below this share of the speed that nine of ten steps do not exceed is none."""
AHEAD = 4
"""Steps over which speed is compared with itself."""
PERSISTENT = 0.6
"""Correlation of speeds above which the own speed says what comes."""
ONE_SIDED = 0.1
"""Mean of turns, or of changes of log speed, over their size, that shows a direction of time."""
NEAR = 0.05
"""Share of agents with a neighbor within reach below whom neighbors are not attended to."""
BATCH, LR, UPDATES = 256, 0.002, 2000
AGENTS = 1500
"""Agents for which `UPDATES` suffice; four times as many take twice as long."""
MOST_EPOCHS, MOST_UPDATES = 200, 8000
VALIDATIONS, PATIENCE = 6, 4
SAFE, MOST_VALIDATING, TEMPERING = 0.85, 0.4, 10
"""Shares of a time limit that updates, and validations, are planned for; and validations that the
choice of a temperature takes."""
FEW_RECORDINGS, ROUGH = 10, 0.02
"""Recordings below which, and roughness above which, pasts get much noise: the noise of their
annotation is learned otherwise. Smooth tracks lose what matters by it."""
SMALL, NARROW = 1000, 64
"""Windows below which a network is narrow, and how narrow."""


@dataclass(frozen=True)
class Fingerprint:
    """Training tracks in some numbers; lengths in the unit of the tracks, times in steps.

    Attributes:
        dt: Seconds per step.
        dims: Coordinates of a position.
        agents: Agents with training rows.
        recordings: Recordings with training rows.
        lengths: Rows of stretches without a gap, at 10, 25, 50, 75 and 90 % of them.
        speed: Length of a step that nine of ten steps do not exceed.
        standing: Share of steps much shorter than that.
        crowd: Agents at a moment, mean.
        near: Share of agents who have another one as near as they move within a horizon.
        roughness: Median change of a step to the next over `speed`.
        persistence: Correlation of the logs of mean speeds before and after a moment.
        chirality: Mean turn over mean size of a turn; 0 where left is as frequent as right.
        speeding: Mean change of log speed over its deviation; 0 where time has no direction.
    """

    dt: float
    dims: int
    agents: int
    recordings: int
    lengths: tuple[float, ...]
    speed: float
    standing: float
    crowd: float
    near: float
    roughness: float
    persistence: float
    chirality: float
    speeding: float

    @property
    def reversible(self) -> bool:
        """Whether a scene played backwards, or in a mirror, looks like another scene."""
        return abs(self.chirality) < ONE_SIDED and abs(self.speeding) < ONE_SIDED


def fingerprint(tracks: Tracks, own: Bools, horizon: int = HORIZON) -> Fingerprint:
    """The fingerprint of the own rows of tracks.

    Args:
        tracks: Where positions come from.
        own: Rows that are looked at, [N].
        horizon: Future steps, for how far agents move.
    """
    track, step, place = tracks.track[own], tracks.step[own], tracks.position[own]
    follows = (np.diff(track) == 0) & (np.diff(step) == 1)
    moved = np.diff(place, axis=0)
    size = np.where(follows, np.linalg.norm(moved, axis=1), np.nan)
    steps = size[follows]
    speed = float(np.quantile(steps, FAST)) if len(steps) else 0.0
    slow = STANDING * speed
    now = tracks.scene[track] * (int(np.ptp(step)) + 1 if len(step) else 1) + step
    turn, change, persistence, bend = _motion(moved, size, slow)
    return Fingerprint(
        dt=tracks.dt,
        dims=int(place.shape[1]),
        agents=len(np.unique(track)),
        recordings=len(np.unique(tracks.scene[track])),
        lengths=tuple(np.quantile(stretches(track, step), (0.1, 0.25, 0.5, 0.75, 0.9)).tolist())
        if len(step)
        else (0.0,) * 5,
        speed=speed,
        standing=float((steps < slow).mean()) if len(steps) else 1.0,
        crowd=float(np.unique(now, return_counts=True)[1].mean()) if len(now) else 0.0,
        near=_near(now, place, speed * horizon),
        roughness=bend / speed if speed > 0 else 0.0,
        persistence=persistence,
        chirality=turn,
        speeding=change,
    )


def stretches(track: Ints, step: Ints) -> Ints:
    """Rows of each stretch of a track without a gap, [N]."""
    breaks = np.flatnonzero((np.diff(track) != 0) | (np.diff(step) != 1)) + 1
    return np.diff(np.concatenate([[0], breaks, [len(track)]]))


def _motion(moved: Floats, size: Floats, slow: float) -> tuple[float, float, float, float]:
    """Chirality, speeding, persistence and bend of steps [N, D] of these sizes; NaN between tracks.

    The bend is the median length of the change from a step to the next.
    """
    moving = size > max(slow, 1e-12)
    pair = moving[1:] & moving[:-1]
    first, second = moved[:-1][pair], moved[1:][pair]
    sine = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / (
        np.linalg.norm(first[:, :2], axis=1) * np.linalg.norm(second[:, :2], axis=1) + 1e-300
    )
    turn = float(sine.mean() / (np.abs(sine).mean() + 1e-12)) if len(sine) else 0.0
    bend = float(np.median(np.linalg.norm(second - first, axis=1))) if len(sine) else 0.0
    if len(size) < 2 * AHEAD + 1:
        return turn, 0.0, 0.0, bend
    mean = np.lib.stride_tricks.sliding_window_view(size, AHEAD).mean(1)
    before, after = mean[:-AHEAD], mean[AHEAD:]
    whole = np.isfinite(before) & np.isfinite(after) & np.isfinite(size[AHEAD : len(mean)])
    floor = max(slow, 1e-12)
    before, after = np.log(before[whole] + floor), np.log(after[whole] + floor)
    if len(before) < 3 or before.std() < 1e-9 or after.std() < 1e-9:
        return turn, 0.0, 1.0 if len(before) else 0.0, bend
    change = after - before
    speeding = float(change.mean() / (change.std() + 1e-12))
    return turn, speeding, float(np.corrcoef(before, after)[0, 1]), bend


def _near(now: Ints, place: Floats, reach: float) -> float:
    """Share of the agents, at some moments, who have another one within reach."""
    order = np.argsort(now, kind="stable")
    moments, first, count = np.unique(now[order], return_index=True, return_counts=True)
    chosen = np.random.default_rng(SEED).permutation(len(moments))[:MOMENTS]
    near = total = 0
    for number in chosen:
        here = place[order[first[number] : first[number] + min(count[number], 200)]]
        away = np.linalg.norm(here[:, None] - here, axis=-1)
        np.fill_diagonal(away, np.inf)
        near += int((away.min(1) < reach).sum()) if len(here) > 1 else 0
        total += len(here)
    return near / total if total else 0.0


def shape_of(lengths: Ints, history: int | None, horizon: int | None) -> tuple[int, int]:
    """History and horizon that half of the stretches are long enough for, at most 8 and 12.

    Args:
        lengths: Rows of each stretch, [N].
        history: Past steps that the user wants; None if open.
        horizon: Future steps that the user wants; None if open.
    """
    room = int(np.quantile(lengths, 1 - LONG_ENOUGH, method="lower")) if len(lengths) else 20
    if history is None and horizon is None:
        total = min(HISTORY + HORIZON, max(4, room))
        history = min(HISTORY, max(2, round(0.4 * total)))
        return history, total - history
    if history is None:
        return min(HISTORY, max(2, room - (horizon or 0))), int(horizon or 0)
    return history, horizon if horizon is not None else min(HORIZON, max(1, room - history))


@dataclass(frozen=True)
class Choice:
    """A setting that was chosen: its name, its value, and why."""

    name: str
    value: Any
    why: str


def choices(print_: Fingerprint, windows: int, given: TrainConfig) -> list[Choice]:
    """The settings that suit tracks of a fingerprint.

    Args:
        print_: The fingerprint.
        windows: Training windows.
        given: Settings of the training, of which those that are set are the user's.
    """
    fixed = given.model_fields_set
    batch = (
        given.batch_size
        if "batch_size" in fixed
        else int(min(BATCH, max(32, 2 ** round(np.log2(max(windows, 1) / 10 + 1)))))
    )
    per_epoch = max(1, -(-windows // batch))
    updates = UPDATES * min(4.0, max(1.0, (print_.agents / AGENTS) ** 0.5))
    updates = min(MOST_UPDATES, MOST_EPOCHS * per_epoch, 500 * round(updates / 500))
    if given.updates is not None or "epochs" in fixed:
        updates = given.updates or given.epochs * per_epoch
    every = float(f"{max(1.0, round(updates / VALIDATIONS / per_epoch)):g}")
    many = f"{windows:,} windows of {print_.agents:,} agents"
    persistent = print_.persistence >= PERSISTENT
    near = f"{100 * print_.near:.0f} % of agents have one within a horizon's way"
    alike = f"before and after a moment speeds correlate by {print_.persistence:.2f}"
    result = [
        Choice("model.own_speed", persistent, alike),
        Choice("model.social", print_.near >= NEAR, near),
        Choice("model.width", NARROW if windows < SMALL else 128, many),
        Choice("train.batch_size", batch, many),
        Choice("train.lr", round(LR * (batch / BATCH) ** 0.5, 5), f"batches of {batch}"),
        Choice("train.noise_samples", 2, "two noises a target, as in the benchmarks"),
        Choice("train.updates", int(updates), f"{many}: {updates / per_epoch:.0f} epochs"),
        Choice("train.validate_every", every, f"about {VALIDATIONS} validations"),
        Choice("train.patience", PATIENCE, "ends where that many validations are no better"),
        Choice("samples.epochs", 5, "as in the benchmarks"),
    ]
    side = f"turns {print_.chirality:+.2f}, speeding {print_.speeding:+.2f} of their size"
    if print_.reversible and persistent:
        noise = 0.3 if print_.recordings < FEW_RECORDINGS else 0.05
        if print_.roughness < ROUGH:
            noise = min(noise, round(2 * print_.roughness, 3))
        result += [
            Choice("train.reverse_prob", 0.3, f"time has no direction: {side}"),
            Choice("train.scale_jitter", 0.25, side),
            Choice("data.reach", 2, "room for faster scenes"),
            Choice("train.time_stretch", (0.77, 1.8), side),
            Choice("model.condition_on_dt", True, "scenes of several speeds"),
            Choice(
                "train.position_noise",
                noise,
                f"{print_.recordings} recordings, steps change by {100 * print_.roughness:.1f} %",
            ),
        ]
    elif abs(print_.chirality) >= ONE_SIDED:
        result.append(Choice("train.mirror", False, f"left is not as right: {side}"))
    return result


@dataclass(frozen=True)
class Plan:
    """Settings of a training and what they follow from.

    Attributes:
        config: All settings; those that the user gave are as given.
        chosen: Settings that were chosen here.
        fingerprint: What they follow from.
    """

    config: Config
    chosen: tuple[Choice, ...]
    fingerprint: Fingerprint

    def lines(self) -> list[str]:
        """What was chosen and why, in at most 15 lines: one for each reason."""
        if not self.chosen:
            return []
        reasons: dict[str, list[str]] = {}
        for one in self.chosen:
            word = str(list(one.value) if isinstance(one.value, tuple) else one.value).lower()
            reasons.setdefault(one.why, []).append(f"{one.name}={word}")
        shown = [f"  {' '.join(words)}: {why}" for why, words in reasons.items()]
        return ["chosen from the training tracks (any --set or option overrides):", *shown[:14]]

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        chosen = {one.name: {"value": one.value, "why": one.why} for one in self.chosen}
        return {"fingerprint": asdict(self.fingerprint), "chosen": chosen}


def plan_settings(config: Config, store: Store) -> Plan:
    """Choose what the user has left open.

    Args:
        config: Settings; what is set in them is what the user gave.
        store: The tracks, of which at most two million training rows are looked at.

    Raises:
        ConfigError: The split does not suit the store.
    """
    data = config.data
    rule = choose(
        store,
        data.split,
        data.fold,
        data.fractions,
        data.seed,
        data.validation,
        data.val_by,
    )
    group = next(iter(store.parts(ROWS))) if store.rows > ROWS else None
    tracks = store.tracks(group)
    own = rule.roles(tracks) == 0
    lengths = stretches(tracks.track[own], tracks.step[own])
    given = data.model_fields_set
    history, horizon = shape_of(
        lengths,
        data.history if "history" in given else None,
        data.horizon if "horizon" in given else None,
    )
    made = fingerprint(tracks, own, horizon)
    windows = int(np.maximum(0, lengths - history - horizon + 1).sum() // data.stride)
    windows = int(windows * data.fraction * store.rows / max(1, len(tracks.step)))
    middle = f"half of the stretches have {made.lengths[2]:.0f} rows or more"
    spans = [f"{n} steps are {_time(n * store.dt)}" for n in (history, horizon)]
    proposed = [
        Choice("data.history", history, f"{middle}; {' and '.join(spans)}"),
        Choice("data.horizon", horizon, f"{middle}; {' and '.join(spans)}"),
        *choices(made, windows, config.train),
    ]
    chosen = tuple(one for one in proposed if not _is_given(config, one.name))
    if (wide := next((c for c in chosen if c.name == "train.time_stretch"), None)) and (
        "reach" in given and data.reach < 2
    ):
        chosen = tuple(one for one in chosen if one is not wide)
    return Plan(with_choices(config, chosen), chosen, made)


def with_choices(config: Config, chosen: tuple[Choice, ...]) -> Config:
    """The settings with those that were chosen.

    Raises:
        ConfigError: They do not go with those that are given.
    """
    values = config.model_dump(exclude_unset=True)
    for one in chosen:
        section, _, name = one.name.partition(".")
        values.setdefault(section, {})[name] = one.value
    return Config.from_dict(values)


def within(plan: Plan, limit: float, update: float, validation: float, per_epoch: int) -> Plan:
    """The plan with as many updates, and as large validations, as a time limit allows.

    Args:
        plan: A plan whose number of updates is open to choice.
        limit: Seconds.
        update: Seconds of an update, measured.
        validation: Seconds of a validation, measured.
        per_epoch: Updates of an epoch.
    """
    train = plan.config.train
    count = VALIDATIONS + TEMPERING * train.choose_temperature
    share = min(1.0, MOST_VALIDATING * limit / (count * validation + 1e-9))
    updates = int((SAFE * limit - count * validation * share) / update)
    if updates >= (train.updates or 0) and share == 1:
        return plan
    updates = max(1, min(updates, train.updates or updates))
    why = f"{_time(limit)} at {update:.2g} s an update"
    every = max(0.01, round(updates / VALIDATIONS / per_epoch, 2))
    proposed = [Choice("train.updates", updates, why), Choice("train.validate_every", every, why)]
    if share < 1:
        windows = max(100, int(train.validation_windows * share))
        proposed.append(Choice("train.validation_windows", windows, why))
    names = {one.name for one in plan.chosen}
    news = [c for c in proposed if c.name in names or c.name == "train.validation_windows"]
    others = [one for one in plan.chosen if one.name not in {new.name for new in news}]
    chosen = (*others, *news)
    return Plan(with_choices(plan.config, tuple(news)), chosen, plan.fingerprint)


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 3 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _is_given(config: Config, name: str) -> bool:
    section, _, key = name.partition(".")
    given: set[str] = getattr(config, section).model_fields_set
    if section == "train" and key in ("updates", "epochs"):
        return bool(given & {"updates", "epochs"})
    return key in given
