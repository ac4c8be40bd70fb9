"""Chooses the settings that the user leaves open, from a fingerprint of the training tracks.

There is one function per choice. On the published pedestrian benchmark the rules reproduce its
settings (examples/benchmarks/pedestrians.toml); they were checked on storms, a robot and drone
videos.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.config import Config, TrainConfig
from trajflow.datasets.schema import Tracks
from trajflow.datasets.splits import PARTS, Split, choose
from trajflow.datasets.store import Store
from trajflow.runs import track_data
from trajflow.training.fingerprint import TYPE_AGENTS, Fingerprint, fingerprint, stretches
from trajflow.training.temperature import TEMPERATURES
from trajflow.types import Ints

MAX_ROWS = 2_000_000  # rows of the store from which a fingerprint is computed
HISTORY, HORIZON = 8, 12  # steps, if tracks are long enough
MAX_BATCH_SIZE = 256
MAX_EPOCHS = 200  # small data sets are overfitted sooner
ONE_SIDED = 0.1  # a mean above this share of the typical size shows a preferred direction
SHORT = 1.0  # seconds: people hardly move or turn in a shorter horizon
MANY_WINDOWS = 10  # tracks of so many windows leave room for steps that are longer as many times
WALKING_STEP = 0.4  # seconds per step of the pedestrian benchmarks
PATIENCE = 6  # validations: half of a training
VALIDATIONS = 12  # more of them find better weights, and end a training sooner
TEMPERATURE_VALIDATIONS = len(TEMPERATURES) + 1


@dataclass(frozen=True)
class Choice:
    """A chosen setting: its name, its value, and the reason."""

    name: str
    value: Any
    why: str


def shape_of(lengths: Ints, history: int | None, horizon: int | None) -> tuple[int, int]:
    """History and horizon for which half of the stretches are long enough, at most 8 and 12.

    Args:
        lengths: Rows of each stretch, [N].
        history: Past steps, if set by the user.
        horizon: Future steps, if set by the user.
    """
    rows = int(np.quantile(lengths, 0.5, method="lower")) if len(lengths) else HISTORY + HORIZON
    if history is None and horizon is None:
        total = min(HISTORY + HORIZON, max(4, rows))
        history = min(HISTORY, max(2, round(0.4 * total)))
        return history, total - history
    if history is None:
        return min(HISTORY, max(2, rows - (horizon or 0))), int(horizon or 0)
    return history, horizon if horizon is not None else min(HORIZON, max(1, rows - history))


def _batch_size(windows: int) -> int:
    """About a tenth of the windows, as a power of two from 32 to 256."""
    return int(min(MAX_BATCH_SIZE, max(32, 2 ** round(np.log2(max(windows, 1) / 10 + 1)))))


def _lr(batch_size: int) -> float:
    """0.002 for the largest batches, and less with the square root of smaller ones."""
    return float(round(0.002 * (batch_size / MAX_BATCH_SIZE) ** 0.5, 5))


def _updates(agents: int, updates_per_epoch: int) -> int:
    """2000 for 1500 agents or fewer; four times the agents get twice the updates, up to 8000."""
    updates = 2000 * min(4.0, max(1.0, (agents / 1500) ** 0.5))
    return int(min(8000, MAX_EPOCHS * updates_per_epoch, 500 * round(updates / 500)))


def _validate_every(updates: float, updates_per_epoch: int) -> float:
    """Epochs between two validations, at least 50 updates unless an epoch has fewer."""
    between = max(updates / VALIDATIONS, min(updates_per_epoch, 50))
    return float(f"{between / updates_per_epoch:.3g}")


def _own_speed(tracks: Fingerprint) -> bool:
    """Scale pasts by the agent's own speed if it is steady."""
    return tracks.persistence >= 0.6


def _width(windows: int) -> int:
    """A narrow network for few windows."""
    return 64 if windows < 1000 else 128


def _position_noise(tracks: Fingerprint) -> float:
    """Much noise for few recordings, of which a model would learn the annotation errors.

    Little for smooth tracks, whose information it would hide.
    """
    noise = 0.3 if tracks.recordings < 10 else 0.05
    return min(noise, round(2 * tracks.roughness, 3)) if tracks.roughness < 0.02 else noise


def _augmentation(tracks: Fingerprint) -> list[Choice]:
    """Play scenes backwards and at other speeds, unless time or turns have a direction."""
    drift = (
        f"mean turn {tracks.chirality:+.2f} and mean change of speed {tracks.speeding:+.2f}, over "
        "their typical size"
    )
    one_sided = abs(tracks.chirality) >= ONE_SIDED
    if one_sided or abs(tracks.speeding) >= ONE_SIDED or not _own_speed(tracks):
        why = f"left differs from right: {drift}"
        return [Choice("train.mirror", False, why)] if one_sided else []
    reversible = f"scenes look alike backwards: {drift}"
    speeds = "scenes are also played at other speeds"
    noise = (
        f"{tracks.recordings} recordings; a step changes by {100 * tracks.roughness:.1f} % to the "
        "next"
    )
    return [
        Choice("train.reverse_prob", 0.3, reversible),
        Choice("train.scale_jitter", 0.25, reversible),
        Choice("data.reach", 2, speeds),
        Choice("train.time_stretch", (0.77, 1.8), speeds),
        Choice("model.condition_on_dt", True, speeds),
        Choice("train.position_noise", _position_noise(tracks), noise),
    ]


def choose_settings(tracks: Fingerprint, windows: int, user: TrainConfig) -> list[Choice]:
    """The settings that suit tracks of a fingerprint.

    Args:
        tracks: The fingerprint.
        windows: Training windows.
        user: Settings of the training; those that are set determine the others.
    """
    fixed = user.model_fields_set
    batch_size = user.batch_size if "batch_size" in fixed else _batch_size(windows)
    per_epoch = max(1, -(-windows // batch_size))
    updates = _updates(tracks.agents, per_epoch)
    if user.updates is not None or "epochs" in fixed:
        updates = user.updates or user.epochs * per_epoch
    size = f"{windows:,} windows of {tracks.agents:,} agents"
    steady = f"speeds before and after a moment correlate by {tracks.persistence:.2f}"
    near = f"{100 * tracks.near:.0f} % of agents have a neighbor closer than they move in a horizon"
    epochs = f"{size}: {updates / per_epoch:.0f} epochs"
    patience = f"ends after {PATIENCE} validations without a better score"
    result = [
        Choice("model.own_speed", _own_speed(tracks), steady),
        Choice("model.social", tracks.near >= 0.05, near),
        Choice("model.width", _width(windows), size),
        Choice("train.batch_size", batch_size, size),
        Choice("train.lr", _lr(batch_size), f"batches of {batch_size}"),
        Choice("train.noise_samples", 2, "as in the benchmarks"),
        Choice("train.updates", updates, epochs),
        Choice(
            "train.validate_every",
            _validate_every(updates, per_epoch),
            f"about {VALIDATIONS} validations",
        ),
        Choice("train.patience", PATIENCE, patience),
    ]
    if tracks.types > 1:
        types = f"{tracks.types} types have {TYPE_AGENTS} agents or more"
        result.append(Choice("model.types", True, types))
    return result + _augmentation(tracks)


@dataclass(frozen=True)
class Plan:
    """Settings of a training and the reasons for them.

    Attributes:
        config: All settings; those set by the user are unchanged.
        chosen: The settings that were chosen.
        fingerprint: The fingerprint they were chosen from.
    """

    config: Config
    chosen: tuple[Choice, ...]
    fingerprint: Fingerprint

    def lines(self) -> list[str]:
        """The chosen settings, in at most 15 lines: one for each reason; and a hint."""
        if not self.chosen:
            return []
        by_reason: dict[str, list[str]] = {}
        for choice in self.chosen:
            value = list(choice.value) if isinstance(choice.value, tuple) else choice.value
            by_reason.setdefault(choice.why, []).append(f"{choice.name}={str(value).lower()}")
        lines = [f"  {' '.join(settings)}: {why}" for why, settings in by_reason.items()]
        head = "chosen from the training tracks (any --set or option overrides):"
        return [head, *lines[:14], *self._hint()]

    def _hint(self) -> list[str]:
        """How to get a longer horizon, where tracks are long and the chosen horizon is short."""
        dt, rows = self.fingerprint.dt, self.fingerprint.lengths[2]
        horizon = self.config.data.horizon
        windows = rows / (self.config.data.history + horizon)
        if not self.is_open("data.horizon") or horizon * dt >= SHORT or windows < MANY_WINDOWS:
            return []
        step = dt * min(int(windows), max(2, round(WALKING_STEP / dt)))
        return [
            f"hint: a horizon of {_time(horizon * dt)} is short for tracks of {_time(rows * dt)}; "
            f"import them with --resample {step:.3g}s, which makes it {_time(horizon * step)}, or "
            "set a longer --horizon"
        ]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values, without the config."""
        chosen = {choice.name: {"value": choice.value, "why": choice.why} for choice in self.chosen}
        return {"fingerprint": asdict(self.fingerprint), "chosen": chosen}

    def is_open(self, name: str) -> bool:
        """Whether a setting was chosen here, so that it may still change."""
        return any(choice.name == name for choice in self.chosen)

    def changed(self, changes: list[Choice]) -> "Plan":
        """The plan with other values of settings that are not set by the user."""
        names = {choice.name for choice in changes}
        others = tuple(choice for choice in self.chosen if choice.name not in names)
        config = with_choices(self.config, tuple(changes))
        return Plan(config, (*others, *changes), self.fingerprint)


def plan_settings(config: Config, store: Store) -> Plan:
    """Choose the settings that the user leaves open, from the training rows of a store.

    Args:
        config: Settings, of which those that are set were set by the user.
        store: The tracks; at most two million rows, or `data.max_rows`, are read.

    Raises:
        ConfigError: The split does not fit the store.
    """
    data, user = config.data, config.data.model_fields_set
    rule = choose(
        store, data.split, data.fold, data.fractions, data.seed, data.validation, data.val_by
    )
    group = next(store.groups(min(MAX_ROWS, data.max_rows)))
    tracks = store.tracks(group.scenes, group.steps)

    def measure(rule: Split) -> tuple[NDArray[np.int8], Ints, int, int]:
        """Roles of the rows, stretches of training rows, and history and horizon that fit these."""
        rule = rule if group.steps is None else rule.with_cuts(store, group.scenes)
        roles = rule.roles(tracks)
        lengths = stretches(tracks.track[roles == 0], tracks.step[roles == 0])
        steps = (getattr(data, n) if n in user else None for n in ("history", "horizon"))
        return roles, lengths, *shape_of(lengths, *steps)

    roles, lengths, history, horizon = measure(rule)
    by_default = data.split == "stored" and rule.kind == "time"
    if by_default and not _has_windows(tracks, roles, history + horizon):
        shape = data.model_copy(update={"history": history, "horizon": horizon})
        final = track_data(store, config.model_copy(update={"data": shape})).split
        if final.kind != rule.kind:
            roles, lengths, history, horizon = measure(final)
    described = fingerprint(tracks, roles == 0, horizon)
    windows = int(np.maximum(0, lengths - history - horizon + 1).sum() // data.stride)
    windows = int(windows * data.fraction * store.rows / max(1, len(tracks.step)))
    spans = " and ".join(f"{n} steps are {_time(n * store.dt)}" for n in (history, horizon))
    fits = f"half of the stretches have {described.lengths[2]:.0f} rows or more; {spans}"
    proposed = [
        Choice("data.history", history, fits),
        Choice("data.horizon", horizon, fits),
        *choose_settings(described, windows, config.train),
    ]
    no_reach = "reach" in user and data.reach < 2  # playing faster needs rows beyond the window
    chosen = tuple(
        choice
        for choice in proposed
        if not _set_by_user(config, choice.name)
        and not (no_reach and choice.name == "train.time_stretch")
    )
    return Plan(with_choices(config, chosen), chosen, described)


def _has_windows(tracks: Tracks, roles: NDArray[np.int8], steps: int) -> bool:
    """Whether a track of each split is long enough for a window of so many steps."""
    splits = (roles == role for role in range(len(PARTS)))
    lengths = (stretches(tracks.track[rows], tracks.step[rows]) for rows in splits)
    return all(steps <= length.max(initial=0) for length in lengths)


def with_choices(config: Config, chosen: tuple[Choice, ...]) -> Config:
    """The settings with those that were chosen.

    Raises:
        ConfigError: They contradict settings of the user.
    """
    values = config.model_dump(exclude_unset=True)
    for choice in chosen:
        section, _, name = choice.name.partition(".")
        values.setdefault(section, {})[name] = choice.value
    return Config.from_dict(values)


def _set_by_user(config: Config, name: str) -> bool:
    section, _, key = name.partition(".")
    names: set[str] = getattr(config, section).model_fields_set
    if section == "train" and key in ("updates", "epochs"):
        return bool(names & {"updates", "epochs"})
    return key in names


def seconds_after(train: TrainConfig, validation: float) -> float:
    """Seconds needed after the last update.

    They are for a validation, the choice of a temperature, the calibration, the OOD detector and
    the baselines. The last three take about nine seconds on one core and forecasts as long as four
    validations; at most a quarter of the time limit is reserved for them.
    """
    fits = 9.0 + 4 * validation
    if train.time_limit is not None:
        fits = min(fits, 0.25 * train.time_limit)
    return (1 + TEMPERATURE_VALIDATIONS * train.choose_temperature) * validation + fits


def fit_time_limit(
    plan: Plan, time_left: float, update: float, validation: float, per_epoch: int
) -> Plan:
    """The plan with as many updates, and as large validations, as a time limit allows.

    Validations get at most 40 % of the time, and look at fewer windows beyond that. A tenth of the
    time stays free, since later updates may be slower than the timed ones. Spare time is used for
    up to twice the planned updates: on five of eight data sets the score was still falling.
    """
    train = plan.config.train
    count = VALIDATIONS + TEMPERATURE_VALIDATIONS * train.choose_temperature
    share = min(1.0, 0.4 * time_left / (count * validation + 1e-9))
    validation *= share
    rest = 0.9 * time_left - (VALIDATIONS - 1) * validation - seconds_after(train, validation)
    planned = train.updates or 0
    most = max(planned, min(2 * planned, MAX_EPOCHS * per_epoch))
    updates = max(1, int(min(rest / update, most)))
    why = f"{_time(time_left)} left at {update:.2g} s an update; {updates / per_epoch:.3g} epochs"
    changes = [Choice("train.updates", updates, why)]
    if plan.is_open("train.validate_every"):
        changes.append(Choice("train.validate_every", _validate_every(updates, per_epoch), why))
    if share < 1:
        windows = max(100, int(train.validation_windows * share))
        changes.append(Choice("train.validation_windows", windows, why))
    return plan.changed(changes)


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 3 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
