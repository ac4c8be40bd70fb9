"""Start a training from the weights of another run (fine-tuning)."""

import hashlib
from dataclasses import fields
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
            raise ConfigError(
                f"{section}.{name}={user[name]} does not fit the weights of {run}, which were "
                f"trained with {value}; leave it out"
            )
        user[name] = value
    return Config.from_dict(values)


def load_weights(model: TrajectoryModel, run: str | Path) -> dict[str, Any]:
    """Load the weights of a run into a model whose normalizer is fitted to other tracks.

    The displacement scale stays that of the new tracks, also in another unit: the network reads and
    writes lengths relative to it. The principal components become those of the run, because the
    decoder is trained on them.

    Returns:
        The origin of the weights: "run", and "weights", their SHA-256.

    Raises:
        ConfigError: The run has another architecture.
        RunError: The run has no weights, or they are damaged.
    """
    content = RunFolder.open(run).read(WEIGHTS, "it has not been trained yet")
    source, _ = unpack(content, str(Path(run) / WEIGHTS))
    expected, actual = model.architecture, source.architecture
    differences = [
        f"{field.name} {getattr(actual, field.name)} instead of {getattr(expected, field.name)}"
        for field in fields(expected)
        if getattr(expected, field.name) != getattr(actual, field.name)
    ]
    if differences:
        raise ConfigError(f"the network of {run} does not fit: it has {', '.join(differences)}")
    scale = model.normalizer.displacement_scale.clone()
    model.load_state_dict(source.state_dict())
    model.normalizer.displacement_scale.copy_(scale)
    return {"run": str(run), "weights": hashlib.sha256(content).hexdigest()}
