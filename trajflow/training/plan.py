"""Settings that the user leaves open, chosen from a fingerprint of the training tracks.

On the data of the published pedestrian benchmark the rules give the settings of that benchmark
(examples/benchmarks/pedestrians.toml). They were checked on storms, a robot and drone videos. Only
training rows are looked at.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trajflow.config import Config, TrainConfig
from trajflow.datasets.schema import Tracks
from trajflow.datasets.splits import choose
from trajflow.datasets.store import Store
from trajflow.training.temper import TEMPERATURES
from trajflow.types import Bools, Floats, Ints

MAX_ROWS = 2_000_000
"""Rows of the store that a fingerprint is computed from, at most."""
MAX_MOMENTS = 2000
"""Moments at which distances between agents are measured, at most; they are drawn at random."""
MOMENTS_SEED = 0
"""Seed of that draw."""
HISTORY = 8
"""Past steps, where tracks are long enough."""
HORIZON = 12
"""Future steps, where tracks are long enough."""
LONG_ENOUGH = 0.5
"""Share of the tracks that must be long enough for one window."""
FAST_QUANTILE = 0.9
"""The typical speed of fast agents is this quantile of all step lengths."""
STANDING = 0.15
"""A step shorter than this share of the fast speed counts as standing still."""
SPEED_STEPS = 4
"""Steps over which mean speeds before and after a moment are compared."""
PERSISTENT = 0.6
"""Correlation of these speeds above which pasts are scaled by the agent's own speed."""
ONE_SIDED = 0.1
"""A mean turn (or change of log speed) above this share of its typical size shows a direction of
time, so scenes are not played backwards."""
MIN_NEAR = 0.05
"""Share of agents with a neighbor within reach, below which the model ignores neighbors."""
BATCH_SIZE = 256
"""Target agents in a batch, where there are windows enough."""
LR = 0.002
"""Peak learning rate at that batch size; it falls with the root of smaller batches."""
UPDATES = 2000
"""Updates that suffice for `UPDATES_AGENTS` training agents."""
UPDATES_AGENTS = 1500
"""Training agents that `UPDATES` suffice for; four times as many need twice the updates."""
MAX_UPDATES = 8000
"""Updates that are planned at most."""
MAX_EPOCHS = 200
"""Epochs that are planned at most: small data sets are learned by heart sooner."""
LONGER = 2.0
"""A time limit that leaves room for it gets up to this many times the updates: on five of eight
data sets the validation score was still falling after `UPDATES`."""
VALIDATIONS = 12
"""Validations of a training; more of them find better weights and end a training sooner."""
MIN_BETWEEN = 50
"""Updates between two validations at least, unless an epoch has fewer."""
PATIENCE = 6
"""Validations in a row without a better score that end a training: half of them."""
TEMPERING = len(TEMPERATURES) + 1
"""Validations that the choice of a temperature takes."""
SAFETY = 0.9
"""Share of the time left that is planned for: later updates may be slower than those measured."""
MAX_VALIDATING = 0.4
"""Share of a time limit that validations may take; beyond it they look at fewer windows."""
FITS_SECONDS = 9.0
"""Seconds for the calibration, the OOD detector and the baselines on one core, beside
`FITS_VALIDATIONS`."""
FITS_VALIDATIONS = 4
"""Validations that take as long as the forecasts which calibration and OOD detector need."""
MAX_FITTING = 0.25
"""Share of a time limit that is reserved for these fits at most."""
FEW_RECORDINGS = 10
"""Training recordings below which pasts get much noise, because the model would learn their
annotation error."""
ROUGH = 0.02
"""Change from one step to the next, as a share of the fast speed, below which tracks are smooth;
noise would hide what smooth tracks tell."""
FEW_WINDOWS = 1000
"""Training windows below which the network is narrow."""
NARROW = 64
"""Width of a narrow network."""
TYPE_AGENTS = 20
"""Training agents of a type, from which a network can learn what is its own."""


@dataclass(frozen=True)
class Fingerprint:
    """Numbers that describe training tracks; lengths in the unit of the tracks, times in steps.

    Attributes:
        dt: Seconds per step.
        dims: Coordinates of a position.
        agents: Agents with training rows.
        recordings: Recordings with training rows.
        lengths: Rows of stretches without a gap: their 10, 25, 50, 75 and 90 % quantiles.
        speed: Length of a step that nine of ten steps do not exceed.
        standing: Share of steps much shorter than that.
        crowd: Mean number of agents at a moment.
        near: Share of agents who have another one as near as they move within a horizon.
        roughness: Median change from a step to the next, as a share of `speed`.
        persistence: Correlation of the logs of mean speeds before and after a moment.
        chirality: Mean turn over mean size of a turn; 0 where left is as frequent as right.
        speeding: Mean change of log speed over its deviation; 0 where time has no direction.
        types: Types of which there are 20 agents or more.
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
    types: int = 1

    @property
    def reversible(self) -> bool:
        """Whether a scene that is mirrored or played backwards looks like any other scene."""
        return abs(self.chirality) < ONE_SIDED and abs(self.speeding) < ONE_SIDED


def fingerprint(tracks: Tracks, own: Bools, horizon: int = HORIZON) -> Fingerprint:
    """The fingerprint of some rows of tracks.

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
    speed = float(np.quantile(steps, FAST_QUANTILE)) if len(steps) else 0.0
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
        types=int((np.bincount(tracks.kind[np.unique(track)], minlength=1) >= TYPE_AGENTS).sum()),
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
    if len(size) < 2 * SPEED_STEPS + 1:
        return turn, 0.0, 0.0, bend
    mean = np.lib.stride_tricks.sliding_window_view(size, SPEED_STEPS).mean(1)
    before, after = mean[:-SPEED_STEPS], mean[SPEED_STEPS:]
    whole = np.isfinite(before) & np.isfinite(after) & np.isfinite(size[SPEED_STEPS : len(mean)])
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
    chosen = np.random.default_rng(MOMENTS_SEED).permutation(len(moments))[:MAX_MOMENTS]
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
        history: Past steps that the user has set; None: to be chosen.
        horizon: Future steps that the user has set; None: to be chosen.
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


def choices(tracks: Fingerprint, windows: int, given: TrainConfig) -> list[Choice]:
    """The settings that suit tracks of a fingerprint.

    Args:
        tracks: The fingerprint.
        windows: Training windows.
        given: Settings of the training, of which those that are set are the user's.
    """
    fixed = given.model_fields_set
    batch = (
        given.batch_size
        if "batch_size" in fixed
        else int(min(BATCH_SIZE, max(32, 2 ** round(np.log2(max(windows, 1) / 10 + 1)))))
    )
    per_epoch = max(1, -(-windows // batch))
    updates = UPDATES * min(4.0, max(1.0, (tracks.agents / UPDATES_AGENTS) ** 0.5))
    updates = min(MAX_UPDATES, MAX_EPOCHS * per_epoch, 500 * round(updates / 500))
    if given.updates is not None or "epochs" in fixed:
        updates = given.updates or given.epochs * per_epoch
    size = f"{windows:,} windows of {tracks.agents:,} agents"
    persistent = tracks.persistence >= PERSISTENT
    near = f"{100 * tracks.near:.0f} % of agents have a neighbor closer than they move in a horizon"
    alike = f"before and after a moment speeds correlate by {tracks.persistence:.2f}"
    result = [
        Choice("model.own_speed", persistent, alike),
        Choice("model.social", tracks.near >= MIN_NEAR, near),
        Choice("model.width", NARROW if windows < FEW_WINDOWS else 128, size),
        Choice("train.batch_size", batch, size),
        Choice("train.lr", round(LR * (batch / BATCH_SIZE) ** 0.5, 5), f"batches of {batch}"),
        Choice("train.noise_samples", 2, "as in the benchmarks"),
        Choice("train.updates", int(updates), f"{size}: {updates / per_epoch:.0f} epochs"),
        Choice(
            "train.validate_every", _every(updates, per_epoch), f"about {VALIDATIONS} validations"
        ),
        Choice(
            "train.patience", PATIENCE, f"ends after {PATIENCE} validations without a better score"
        ),
        Choice("samples.epochs", 5, "as in the benchmarks"),
    ]
    if tracks.types > 1:
        why = f"{tracks.types} types have {TYPE_AGENTS} agents or more"
        result.append(Choice("model.types", True, why))
    side = f"mean turn {tracks.chirality:+.2f} and change of speed {tracks.speeding:+.2f} of size"
    if tracks.reversible and persistent:
        noise = 0.3 if tracks.recordings < FEW_RECORDINGS else 0.05
        if tracks.roughness < ROUGH:
            noise = min(noise, round(2 * tracks.roughness, 3))
        result += [
            Choice("train.reverse_prob", 0.3, f"time has no direction: {side}"),
            Choice("train.scale_jitter", 0.25, f"time has no direction: {side}"),
            Choice("data.reach", 2, "scenes are also played at other speeds"),
            Choice("train.time_stretch", (0.77, 1.8), "scenes are also played at other speeds"),
            Choice("model.condition_on_dt", True, "scenes are also played at other speeds"),
            Choice(
                "train.position_noise",
                noise,
                f"recordings: {tracks.recordings}; steps change by {100 * tracks.roughness:.1f} %",
            ),
        ]
    elif abs(tracks.chirality) >= ONE_SIDED:
        result.append(Choice("train.mirror", False, f"left differs from right: {side}"))
    return result


def _every(updates: float, per_epoch: int) -> float:
    """Epochs between two validations; a small part of one where an epoch is huge."""
    between = max(updates / VALIDATIONS, min(per_epoch, MIN_BETWEEN))
    return float(f"{between / per_epoch:.3g}")


@dataclass(frozen=True)
class Plan:
    """Settings of a training and what they follow from.

    Attributes:
        config: All settings; those that the user gave are unchanged.
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

    def changed(self, changes: list[Choice]) -> "Plan":
        """The plan with other values of settings that were open to choice."""
        names = {one.name for one in changes}
        kept = tuple(one for one in self.chosen if one.name not in names)
        return Plan(with_choices(self.config, tuple(changes)), (*kept, *changes), self.fingerprint)


def plan_settings(config: Config, store: Store) -> Plan:
    """Choose the settings that the user has left open.

    Args:
        config: Settings; what is set in them is what the user gave.
        store: The tracks, of which at most two million rows, or `data.max_rows`, are read.

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
    group = next(store.groups(min(MAX_ROWS, data.max_rows)))
    if group.steps is not None:
        rule = rule.with_cuts(store, group.scenes)
    tracks = store.tracks(group.scenes, group.steps)
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
        ConfigError: They contradict settings that are given.
    """
    values = config.model_dump(exclude_unset=True)
    for one in chosen:
        section, _, name = one.name.partition(".")
        values.setdefault(section, {})[name] = one.value
    return Config.from_dict(values)


def seconds_after(train: TrainConfig, validation: float) -> float:
    """Seconds to keep for what follows the last update, where a time limit bounds a training.

    That is a validation, the choice of a temperature, the calibration, the OOD detector and the
    baselines.

    Args:
        train: Settings of the training.
        validation: Seconds of a validation.
    """
    fits = FITS_SECONDS + FITS_VALIDATIONS * validation
    if train.time_limit is not None:
        fits = min(fits, MAX_FITTING * train.time_limit)
    return (1 + TEMPERING * train.choose_temperature) * validation + fits


def within(plan: Plan, left: float, update: float, validation: float, per_epoch: int) -> Plan:
    """The plan with as many updates, and as large validations, as a time limit allows.

    Args:
        plan: A plan whose number of updates is open to choice.
        left: Seconds that are left of the limit for everything from the first update on.
        update: Seconds of an update, measured.
        validation: Seconds of a validation, measured.
        per_epoch: Updates of an epoch.
    """
    train = plan.config.train
    count = VALIDATIONS + TEMPERING * train.choose_temperature
    share = min(1.0, MAX_VALIDATING * left / (count * validation + 1e-9))
    validating = validation * share
    rest = SAFETY * left - (VALIDATIONS - 1) * validating - seconds_after(train, validating)
    most = min(LONGER * (train.updates or 0), MAX_EPOCHS * per_epoch)
    updates = max(1, int(min(rest / update, max(most, train.updates or 0))))
    why = f"{_time(left)} left at {update:.2g} s an update; {updates / per_epoch:.3g} epochs"
    changes = [Choice("train.updates", updates, why)]
    names = {one.name for one in plan.chosen}
    if "train.validate_every" in names:
        changes.append(Choice("train.validate_every", _every(updates, per_epoch), why))
    if share < 1:
        windows = max(100, int(train.validation_windows * share))
        changes.append(Choice("train.validation_windows", windows, why))
    return plan.changed(changes)


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
