"""Start a training from the weights of another run: fine-tuning, or memory for a trained run."""

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from trajflow.config import Config
from trajflow.errors import ConfigError
from trajflow.models.serialization import unpack
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.runs import WEIGHTS, RunFolder

SHAPE = ("history", "horizon")
"""Settings of `data` that determine the shape of the weights."""


def with_architecture_of(run: str | Path, config: Config) -> Config:
    """Take the settings that determine the network from a run.

    Memory may be added to a run without. Its other weights and its temperature then stay as they
    are, so every agent trains with memory.

    Raises:
        ConfigError: The user has set another value for one of them.
        RunError: There is no such run.
    """
    source = RunFolder.open(run).config
    values = config.model_dump(exclude_unset=True)
    names = [("model", name) for name in type(source.model).model_fields]
    names += [("data", name) for name in SHAPE] + [("flow", "preset")]
    for section, name in names:
        value = getattr(getattr(source, section), name)
        user = values.setdefault(section, {})
        if name in user and getattr(getattr(config, section), name) != value:
            # Flow matching alone never trains r < t; all other presets mean the same by (r, t).
            if name == "preset" and "flow" not in (user[name], value):
                continue
            if name == "memory" and not value:
                alone = {"choose_temperature": False, "memory_dropout": 0.0}
                values["train"] = alone | values.get("train", {})
                continue
            raise ConfigError(
                f"{section}.{name}={user[name]} does not fit the weights of {run}, which were "
                f"trained with {value}; leave it out"
            )
        user[name] = value
    return Config.from_dict(values)


def load_weights(model: TrajectoryModel, run: str | Path, unit: str) -> dict[str, Any]:
    """Load the weights of a run into a model whose normalizer is fitted to other tracks.

    The displacement scale stays that of the new tracks, also in another unit: the network reads and
    writes lengths relative to it. The principal components become those of the run, because the
    decoder is trained on them. If the model has memory and the run has none, the scale becomes that
    of the run too, and only the weights of the memory will be trained.

    Args:
        model: The model.
        run: The run.
        unit: Length unit of the new tracks.

    Returns:
        The origin of the weights: "run", and "weights", their SHA-256; "added" and "temperature" if
        memory was added.

    Raises:
        ConfigError: The run has another architecture, or another unit and memory is added.
        RunError: The run has no weights, or they are damaged.
    """
    content = RunFolder.open(run).read(WEIGHTS, "it has not been trained yet")
    source, facts = unpack(content, str(Path(run) / WEIGHTS))
    expected, actual = model.architecture, source.architecture
    adds = bool(expected.memory and not actual.memory)
    if adds:
        actual = replace(actual, memory=expected.memory)
    differences = [
        f"{field.name} {getattr(actual, field.name)} instead of {getattr(expected, field.name)}"
        for field in fields(expected)
        if getattr(expected, field.name) != getattr(actual, field.name)
    ]
    if differences:
        raise ConfigError(f"the network of {run} does not fit: it has {', '.join(differences)}")
    origin = {"run": str(run), "weights": hashlib.sha256(content).hexdigest()}
    scale = model.normalizer.displacement_scale.clone()
    model.load_state_dict(source.state_dict(), strict=not adds)
    if adds:
        if facts["unit"] != unit:
            raise ConfigError(
                f"{run} forecasts in {facts['unit']} and the tracks are in {unit}; memory is added "
                "on tracks in the unit of the run, or leave model.memory out"
            )
        train_memory_alone(model)
        return origin | {"added": "memory", "temperature": facts.get("temperature", 1.0)}
    model.normalizer.displacement_scale.copy_(scale)
    return origin


def train_memory_alone(model: TrajectoryModel) -> None:
    """Let a training change the memory, and no other weights or running statistics."""
    assert model.memory is not None
    model.eval().requires_grad_(False)
    model.memory.train().requires_grad_(True)
