"""All settings of a run: frozen models, read from TOML and from `section.name=value` words."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from trajflow.config_renamed import RENAMED, nearest, renamed
from trajflow.errors import ConfigError
from trajflow.io import read_whole

MAX_BYTES = 1 << 20
"""Largest TOML file that is read."""
NUMBER = r"(\d+(?:\.\d+)?)"
DURATION = re.compile(rf"(?:{NUMBER}h)?(?:{NUMBER}m)?(?:{NUMBER}s?)?")
MAX_DEPTH = 8
"""Most nested sections of a word."""


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class DataConfig(_Section):
    """Windows and splits of a store."""

    history: int = Field(8, ge=1, le=100_000)
    """Past steps of a window."""
    horizon: int = Field(12, ge=1, le=100_000)
    """Future steps that are forecast."""
    stride: int = Field(1, ge=1)
    """Steps between the starts of two windows."""
    split: Literal["stored", "scene", "time", "agent"] = "stored"
    """How tracks are split into train, val and test: as stored, by whole recordings, by time within
    each recording, or by agents."""
    val_by: Literal["auto", "scene", "agent", "time"] = "auto"
    """How val is taken from train where the stored split has none: by recordings, by agents, or the
    end of each recording."""
    fold: str | None = None
    """Leave-one-out fold: this name's recordings are the test split."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of train, val and test if the split is not stored."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training agents that are used."""
    validation: tuple[str, ...] = ()
    """Recordings that are moved from train to val."""
    neighbors: int | None = Field(32, ge=0)
    """Most neighbors kept of each window, nearest first."""
    reach: int = Field(1, ge=1)
    """Training windows have this many times their steps, for `train.time_stretch` above 1."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the split."""
    max_rows: int = Field(20_000_000, ge=1)
    """Most rows in memory; a larger store is read by recordings, a larger recording in parts."""


class ModelConfig(_Section):
    """The network."""

    encoder: str = "gru"
    """Name of the encoder that reads the past."""
    encoder_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the encoder."""
    social: bool = True
    """Whether agents attend to their neighbors."""
    joint: bool = False
    """Whether the agents of a scene are sampled jointly."""
    width: int = Field(128, ge=4, le=8192)
    """Width of the context."""
    decoder_width: int = Field(128, ge=8, le=8192)
    """Width of the decoder."""
    decoder_depth: int = Field(4, ge=1, le=128)
    """Residual blocks of the decoder."""
    components: int = Field(8, ge=1, le=8192)
    """Principal components of a future that the decoder generates."""
    speed_floor: float = Field(1.0, gt=0)
    """Least speed that futures are scaled by, as a share of the displacement scale."""
    heading_steps: int = Field(1, ge=1)
    """Number of last steps whose mean displacement is an agent's heading and velocity."""
    own_speed: bool = False
    """Whether pasts are scaled by the agent's own speed instead of the displacement scale."""
    condition_on_dt: bool = False
    """Whether the seconds per step are an input, so that one model serves several."""
    memory: int = Field(0, ge=0, le=64)
    """Number of earlier tracks through an agent's position that are an input; 0: none."""
    types: bool = False
    """Whether the agent's type is an input, if the store has several; it may be unknown."""

    @field_validator("encoder_options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Refuse values that TOML cannot hold."""
        for name, value in options.items():
            if not (name.isidentifier() and name.isascii()):
                raise ValueError(f"{name!r} cannot be the name of an option")
            if not all(map(_is_plain, value if isinstance(value, list) else [value])):
                raise ValueError(f"{name} must be a finite number, text, true or false, or a list")
        return options


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


class FlowConfig(_Section):
    """The objective; None means the value of the preset."""

    preset: str = "mmf"
    """Objective: mmf, mmf-paper, meanflow, consistency, terminal, energy or flow."""
    flow_ratio: float | None = Field(None, ge=0, le=1)
    """Share of noise draws with r = t, which is flow matching."""
    tangent: Literal["marginal", "path"] | None = None
    """dx/dt in the derivative du/dt: u(x, t, t) (marginal) or noise - data (path)."""
    lambda_start: float | None = Field(None, ge=0, le=1)
    """lambda at the start."""
    lambda_end: float | None = Field(None, ge=0, le=1)
    """lambda at the end."""
    lambda_warmup: float | None = Field(None, ge=0, le=1)
    """Share of the training over which lambda rises."""
    loss_power: float = Field(0.0, ge=0, le=1)
    """Power of the robust weight of each event."""
    t_mean: float = 0.5
    """Mean of the logit of t."""
    t_std: float = Field(1.5, gt=0)
    """Deviation of the logit of t."""
    r_mean: float = -1.0
    """Mean of the logit of r; lower is nearer to the data."""
    r_std: float = Field(1.5, gt=0)
    """Deviation of the logit of r."""


class TrainConfig(_Section):
    """The training loop."""

    epochs: int = Field(20, ge=1)
    """Passes over the training windows."""
    updates: int | None = Field(None, ge=1)
    """Updates of the weights; None: as many as `epochs` make."""
    time_limit: float | None = Field(None, gt=0)
    """Time limit of `trajflow train`, in seconds or as "5m". The number of updates is lowered so
    that temperature, calibration and OOD detector are also done in time."""
    select_by: Literal["window", "recording"] = "window"
    """Whether the best weights minimise the mean energy score over windows or recordings."""
    race: bool = True
    """Whether short trainings, compared on validation, choose open settings that do not follow from
    the tracks, if the time limit or number of updates leaves room."""
    patience: int | None = Field(None, ge=1)
    """Validations in a row without a better energy score that end a training; None: never."""
    batch_size: int = Field(128, ge=1)
    """Target agents in a batch."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches per batch and process; saves memory, and the gradients are summed."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of training: bf16 is faster on hardware that has it; weights and validation stay
    fp32."""
    noise_samples: int = Field(4, ge=1)
    """Noise draws that share one encoder pass."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate; it rises over `warmup` and falls to zero along a cosine."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the training over which the learning rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of weight matrices; biases, norms, embeddings and tokens have none."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the moving average of the weights; the average is validated and saved."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Norm to which a larger gradient is clipped."""
    mirror: bool = True
    """Whether scenes are mirrored at random."""
    scale_jitter: float = Field(0.1, ge=0, lt=1)
    """Scenes are scaled at random by up to this share, up or down."""
    time_stretch: tuple[float, float] = (1.0, 1.0)
    """Range of random factors of the seconds per step: half of the scenes, or all with
    `model.condition_on_dt`, are played slower (below 1) or faster (above 1, needs `data.reach`)."""
    reverse_prob: float = Field(0.0, ge=0, le=1)
    """Share of the scenes that are played backwards."""
    agent_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the agents of a scene that are removed at random."""
    history_dropout: float = Field(0.0, ge=0, le=1)
    """Share of the agents that keep only their last steps, at least two."""
    position_noise: float = Field(0.0, ge=0)
    """Largest deviation of noise on seen positions, as a share of the displacement scale;
    half of the scenes stay clean."""
    memory_dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the agents trained without memory, so that forecasts also work without; half of the
    others get a random part of it."""
    type_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the agents trained without their type, so that unknown types can be forecast."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the numbers of a context that are set to zero at random."""
    validate_every: float = Field(1.0, gt=0)
    """Epochs between two validations."""
    save_minutes: float = Field(10.0, gt=0)
    """Most minutes between two checkpoints; every validation also writes one."""
    validation_windows: int = Field(2000, ge=1)
    """Most windows of a validation, evenly spread over the validation split."""
    samples: int = Field(20, ge=2)
    """Draws of each agent in a validation."""
    steps: int | None = Field(None, ge=1)
    """Network evaluations per draw in a validation; None: 1, or 8 for the preset `flow`."""
    choose_temperature: bool = True
    """Whether a temperature, the deviation of the noise, is chosen on validation at the end."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the weights, the order of the data and the noise."""
    threads: int = Field(1, ge=1)
    """CPU threads. Equal seeds give equal weights only for equal numbers of threads."""

    def evaluations(self, average: bool) -> int:
        """Network evaluations per draw; `average`: whether the model is trained with r < t."""
        return self.steps or (1 if average else 8)

    @property
    def selection_score(self) -> str:
        """Name of the validation score that the best weights minimise."""
        return "energy_score" if self.select_by == "window" else "energy_score_by_recording"

    @field_validator("time_stretch")
    @classmethod
    def _include_one(cls, stretch: tuple[float, float]) -> tuple[float, float]:
        if not 0.25 <= stretch[0] <= 1 <= stretch[1] <= 4:
            raise ValueError("must be [least, most] with least in 0.25 to 1 and most in 1 to 4")
        return stretch

    @field_validator("time_limit", mode="before")
    @classmethod
    def _in_seconds(cls, limit: object) -> object:
        return seconds_of(limit) if isinstance(limit, str) else limit

    @field_validator("threads", mode="before")
    @classmethod
    def _default_threads(cls, threads: object) -> object:
        """Earlier versions recorded None."""
        return 1 if threads is None else threads


def seconds_of(text: str) -> float:
    """Seconds of a duration such as 90, 90s, 5m, 1h or 1h30m.

    Raises:
        ValueError: The text is not a duration.

    Example:
        >>> from trajflow.config import seconds_of
        >>> seconds_of("1h30m")
        5400.0
    """
    match = DURATION.fullmatch(text.strip().lower())
    if not match or not any(match.groups()):
        raise ValueError("write a duration as 90s, 5m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


class SamplesConfig(_Section):
    """Learned samples: K futures of which the best is near the truth."""

    count: int = Field(20, ge=2)
    """Futures K of each agent."""
    epochs: int = Field(15, ge=1)
    """Passes over the training windows."""
    batch_size: int = Field(256, ge=1)
    """Target agents in a batch."""
    lr: float = Field(1e-3, gt=0)
    """Initial learning rate; it falls to zero along a cosine."""
    width: int = Field(256, ge=8)
    """Width of the network that moves the noises."""
    endpoint_weight: float = Field(1.0, ge=0)
    """Weight of the least error at the last step, beside the least mean error."""
    window_share: float = Field(0.5, gt=0, le=1)
    """Share of a batch's targets that is used: the windows of one person are similar."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the weights and the augmentation."""


class Config(_Section):
    """All settings of a run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    flow: FlowConfig = FlowConfig()
    train: TrainConfig = TrainConfig()
    samples: SamplesConfig = SamplesConfig()

    @model_validator(mode="after")
    def _check_combinations(self) -> Config:
        fastest = self.train.time_stretch[1]
        if fastest > self.data.reach:
            raise ValueError(
                f"train.time_stretch up to {fastest:g} needs positions outside the window: "
                f"set data.reach={math.ceil(fastest)}"
            )
        if self.flow.preset == "energy" and self.train.noise_samples < 2:
            raise ValueError(
                "the preset energy compares several draws: set train.noise_samples=2 or more, "
                f"got {self.train.noise_samples}"
            )
        self.to_toml().encode()  # refuses text that is not valid Unicode
        return self

    @classmethod
    def load(cls, path: str | Path | None = None, words: Sequence[str] = ()) -> Config:
        """Settings from a TOML file, overridden by words `a.b=c`.

        Raises:
            ConfigError: The file cannot be read, or a setting is unknown or out of bounds.
        """
        values = _read(Path(path)) if path is not None else {}
        for word in words:
            _assign(values, word)
        return cls.from_dict(values)

    @classmethod
    def parse(cls, content: bytes, name: str) -> Config:
        """The settings of a run from the bytes of its TOML file, called `name` in errors.

        Raises:
            ConfigError: The bytes are not TOML, or a setting is unknown or out of bounds.
        """
        return cls.recorded(_parse(content, name))

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> Config:
        """Settings that a run or plan has recorded, also by version 0.1.0.

        Records without `data.val_by` are of runs whose val split was the end of each recording.

        Raises:
            ConfigError: A setting is unknown, out of bounds or was removed.
        """
        result = renamed(values)
        if isinstance(data := result.get("data", {}), dict):
            result["data"] = {"val_by": "time", **data}
        return cls.from_dict(result)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Settings from nested values.

        Raises:
            ConfigError: A setting is unknown or out of bounds.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("\n".join(_explain(cls, e) for e in error.errors())) from None

    def to_toml(self) -> str:
        """All settings as TOML, without those that are None."""
        lines: list[str] = []
        for name, section in self.model_dump(mode="json").items():
            options = section.pop("encoder_options", {})
            lines += [f"[{name}]", *_lines(section), ""]
            if options:
                lines += [f"[{name}.encoder_options]", *_lines(options), ""]
        return "\n".join(lines)


def _lines(section: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {toml_value(value)}" for key, value in section.items() if value is not None]


def toml_value(value: Any) -> str:
    """A value in TOML: as in JSON, except for DEL and characters beyond U+FFFF."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(read_whole(path, MAX_BYTES), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}") from None


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise ConfigError(f"{name} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name} is not TOML: it is nested too deeply") from None


def _assign(values: dict[str, Any], word: str) -> None:
    key, equals, text = word.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set needs section.name=value, got {word!r}")
    *sections, name = key.strip().split(".")
    if len(sections) > MAX_DEPTH:
        raise ConfigError(f"--set needs section.name=value, got {len(sections)} sections")
    table = values
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{section!r} in {word!r} is a setting, not a section")
    table[name] = _value(text.strip())


def _value(text: str) -> Any:
    if text.lower() in ("none", "null"):
        return None
    try:
        result = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return result["value"] if len(result) == 1 else text


def _explain(root: type[BaseModel], error: Any) -> str:
    where = [str(part) for part in error["loc"]]
    name = ".".join(where)
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return str(error["ctx"]["error"])  # of several settings, which it names
    if error["type"] != "extra_forbidden":
        message = error["msg"].removeprefix("Value error, ")
        return f"{name}: {message[0].lower()}{message[1:]}, got {error['input']!r}"
    if name in RENAMED or where[0] in RENAMED:
        return f"{name} is now {RENAMED.get(name) or RENAMED[where[0]]}"
    names = _settings(root)
    near = nearest(where, [*names, *root.model_fields])
    return f"no setting {name!r}" + (
        f"; did you mean {near!r}?" if near else f"; the settings are {', '.join(names)}"
    )


def _settings(root: type[BaseModel]) -> list[str]:
    names: list[str] = []
    for name, field in root.model_fields.items():
        kind = field.annotation
        inner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        names += [f"{name}.{k}" for k in _settings(inner)] if inner else [name]
    return names
