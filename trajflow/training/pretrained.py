"""Start a training from the weights of another run: fine-tuning, or pretraining on other tracks."""

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
"""Settings of `data` that the shape of the weights depends on."""


def with_architecture_of(run: str | Path, config: Config) -> Config:
    """The settings, with those that shape the network taken from a run.

    Args:
        run: The run whose weights a training starts from.
        config: Settings; what is set in them is what the user gave.

    Raises:
        ConfigError: The user gave another value for one of them.
        RunError: There is no such run.
    """
    kept = RunFolder.open(run).config
    values = config.model_dump(exclude_unset=True)
    shaping = [("model", name) for name in type(kept.model).model_fields]
    shaping += [("data", name) for name in SHAPE] + [("flow", "preset")]
    for section, name in shaping:
        value = getattr(getattr(kept, section), name)
        given = values.setdefault(section, {})
        if name in given and getattr(getattr(config, section), name) != value:
            if name == "preset" and "flow" not in (given[name], value):
                continue  # the objective may change, the meaning of the network's times may not
            raise ConfigError(
                f"{section}.{name}={given[name]} does not fit the weights of {run}, which were "
                f"trained with {value}; leave it out"
            )
        given[name] = value
    return Config.from_dict(values)


def load_weights(model: TrajectoryModel, run: str | Path) -> dict[str, Any]:
    """Put the weights of a run into a model whose normalizer is fitted to other tracks.

    The network reads and writes lengths relative to the displacement scale, so that scale stays
    the one of the new tracks, also in another unit. The principal components of the futures are
    those of the run: the decoder's weights mean nothing in others.

    Returns:
        What is kept of where the weights came from: "run", and "weights", their SHA-256.

    Raises:
        ConfigError: The network of the run is another one.
        RunError: The run has no weights, or they are damaged.
    """
    content = RunFolder.open(run).read(WEIGHTS, "it has not been trained yet")
    source, _ = unpack(content, str(Path(run) / WEIGHTS))
    own, other = model.architecture, source.architecture
    differing = [
        f"{field.name} {getattr(other, field.name)} instead of {getattr(own, field.name)}"
        for field in fields(own)
        if getattr(own, field.name) != getattr(other, field.name)
    ]
    if differing:
        raise ConfigError(f"the network of {run} does not fit: it has {', '.join(differing)}")
    scale = model.normalizer.displacement_scale.clone()
    model.load_state_dict(source.state_dict())
    model.normalizer.displacement_scale.copy_(scale)
    return {"run": str(run), "weights": hashlib.sha256(content).hexdigest()}
