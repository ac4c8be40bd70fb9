"""Weights as safetensors bytes, with their architecture and a digest of the content."""

import hashlib
import json
import math
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.random import fork_rng

from trajflow.errors import RunError, TrajflowWarning
from trajflow.io import parse_json, read_header
from trajflow.manifest import Manifest, read_kept
from trajflow.models.learned_samples import LearnedSamples, LearnedSamplesShape
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

SETS = "set-*.safetensors"
MOST = 1 << 32
"""Most bytes of a weights file."""
LARGEST = 1 << 16
"""Largest number of steps, coordinates, width or depth of a network that is loaded."""
NUMBERS = ("dt", "temperature", "least_rate", "most_rate")
RENAMED_TENSORS = {
    "scaling.unit": "normalizer.displacement_scale",
    "scaling.": "normalizer.",
    "decoder.enter.": "velocity_net.in_proj.",
    "decoder.leave.": "velocity_net.out_proj.",
    "decoder.by_context.": "velocity_net.context_embed.",
    "decoder.by_time.": "velocity_net.time_embed.",
    "decoder.from_context.": "velocity_net.context_modulation.",
    "decoder.from_time.": "velocity_net.time_modulation.",
    "decoder.": "velocity_net.",
}
"""Prefixes of tensor names in version 0.1.0 and today's; the first match applies."""
RENAMED_SHAPES = {
    "options": "encoder_options",
    "pace_floor": "speed_floor",
    "own_pace": "own_speed",
    "rate": "condition_on_dt",
}
"""Names of architecture values in version 0.1.0 and today's."""
OLD_TENSOR = re.compile(rf"(^|/|module\.)({'|'.join(map(re.escape, RENAMED_TENSORS))})")


def pack(model: TrajectoryModel, facts: Mapping[str, Any]) -> bytes:
    """A model and JSON facts about it (dt, unit, ...) as safetensors bytes."""
    values = asdict(model.architecture)
    if not values["memory"]:  # earlier versions can read the file of a model without memory
        del values["memory"]
    if not values["types"]:
        del values["types"]
    return pack_state(model.state_dict(), {"architecture": values, **facts})


def pack_state(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Named tensors of any shape and JSON facts as safetensors bytes with a digest of both."""
    state = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(facts, sort_keys=True)
    # One key: safetensors writes several in any order, and equal models must be equal files.
    return save(state, {"trajflow": json.dumps([text, _digest(state, text)])})


def pack_samples(noises: LearnedSamples, facts: Mapping[str, Any]) -> bytes:
    """Learned samples and JSON facts about them as safetensors bytes."""
    return pack_state(noises.state_dict(), {"set": noises.shape.to_dict(), **facts})


def unpack_samples(content: bytes, name: str) -> tuple[LearnedSamples, dict[str, Any]]:
    """Learned samples and facts from the bytes of `pack_samples`; errors call the bytes `name`.

    Raises:
        RunError: The bytes are not learned samples, or are damaged.
    """
    state, facts = unpack_state(content, name)
    try:
        shape = samples_shape_of(facts.pop("set"), state)
        with no_larger_than(state), fork_rng(devices=[]):  # random values are replaced at once
            noises = LearnedSamples(shape)
        noises.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{name} does not hold learned samples: {error}") from None
    return noises, facts


def read_samples(run: Path, weights: bytes) -> dict[int, LearnedSamples]:
    """The learned samples in a run folder that belong to its weights, by their number K.

    Args:
        run: The folder; may be missing.
        weights: Content of the weights file.

    Raises:
        RunError: A file is damaged or missing.
    """
    result = {}
    listed = {run / name for name in Manifest.read(run).files if fnmatch(name, SETS)}
    for path in sorted(listed | set(run.glob(SETS))):
        noises, facts = unpack_samples(read_kept(path, MOST), str(path))
        if facts.get("weights") == hashlib.sha256(weights).hexdigest():
            result[noises.shape.count] = noises
            continue
        warnings.warn(
            f"{path} was learned for other weights and is ignored; `trajflow fit RUN DATA samples` "
            "learns it again",
            TrajflowWarning,
            stacklevel=3,
        )
    return result


def unpack(content: bytes, name: str) -> tuple[TrajectoryModel, dict[str, Any]]:
    """The model and the facts from the bytes of `pack`.

    Args:
        content: The bytes; in memory, so that the file cannot change meanwhile.
        name: Name of the bytes in errors.

    Raises:
        RunError: The bytes are not a model, or are damaged.
    """
    state, facts = unpack_state(content, name)
    state = current_names(state)
    try:
        architecture = architecture_of(facts.pop("architecture"))
        with no_larger_than(state), fork_rng(devices=[]):  # random weights are replaced at once
            check_plan(architecture, state)
            model = TrajectoryModel(architecture)
        model.load_state_dict(state)
        check_facts(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{name} is not a trajflow model: {error}") from None
    except RuntimeError as error:
        raise RunError(f"{name} does not fit its own architecture: {error}") from None
    return model, facts


def current_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors (any shape) of a model or checkpoint with names of version 0.1.0 renamed."""
    return {
        OLD_TENSOR.sub(lambda old: old[1] + RENAMED_TENSORS[old[2]], name, count=1): value
        for name, value in state.items()
    }


def unpack_state(content: bytes, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (any shape) and the facts from the bytes of `pack_state`.

    Raises:
        RunError: The bytes are not such a file, or are damaged.
    """
    words = read_header(content, name).words
    try:
        state = load(content)
        text, digest = json.loads(words["trajflow"])
        if _digest(state, text) != digest:
            raise RunError(f"{name} is damaged: its contents do not match its own digest")
    except (SafetensorError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{name} is not a trajflow model: {error}") from None
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}") from None
    facts = parse_json(text, name)
    if not isinstance(facts, dict):
        raise RunError(f"{name} is not a trajflow model: its facts are missing")
    infinite = [key for key, value in state.items() if not _finite(value)]
    if infinite:
        raise RunError(f"{name} has values that are not finite in {infinite[0]}; train again")
    return state, facts


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _digest(state: Mapping[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(state):
        value = state[name]
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def architecture_of(values: Mapping[str, Any]) -> Architecture:
    """An architecture from its JSON values.

    Raises:
        ValueError: A value has another type or is out of bounds.
        TypeError: A value is missing or unknown.
    """
    plain = {RENAMED_SHAPES.get(name, name): value for name, value in dict(values).items()}
    options = tuple((str(key), value) for key, value in plain.pop("encoder_options"))
    types = tuple(plain.pop("types", ()))
    if len(types) > LARGEST or not all(isinstance(t, str) and len(t) <= 1000 for t in types):
        raise ValueError("its agent types are not names")
    architecture = Architecture(**plain, encoder_options=options, types=types)
    for field in fields(Architecture):
        value = getattr(architecture, field.name)
        absent = field.name == "memory" and type(value) is int and value == 0
        if field.name != "encoder_options" and not absent:
            _check(field.name, value, field.type)
    for name, value in options:
        if not isinstance(value, (bool, int, float, str)):
            raise ValueError(f"option {name!r} is {value!r}")
        _check(f"option {name!r}", value, type(value))
    return architecture


def samples_shape_of(values: Mapping[str, Any], state: Mapping[str, Tensor]) -> LearnedSamplesShape:
    """The shape of learned samples, checked against their tensors (any shape, by name).

    Raises:
        ValueError: They differ, or a value is out of bounds.
        TypeError: A value is missing or unknown.
        KeyError: The tensor `start` is missing.
    """
    shape = LearnedSamplesShape(**values)
    for name, value in shape.to_dict().items():
        _check(name, value, int)
    if tuple(state["start"].shape) != (shape.count, shape.components):
        raise ValueError("its noises have another shape than it says")
    return shape


def check_plan(architecture: Architecture, state: Mapping[str, Tensor]) -> None:
    """Check the size of the normalizer among tensors (any shape, by name) before it is allocated.

    Raises:
        ValueError: It does not fit the architecture.
        KeyError: It is missing.
    """
    size = architecture.horizon * architecture.dims
    if tuple(state["normalizer.axes"].shape) != (size, size):
        raise ValueError(f"its normalizer is not for {size} numbers")


def check_facts(facts: Mapping[str, Any]) -> None:
    """Check the facts about weights.

    Raises:
        ValueError: One of `NUMBERS` is not a positive number, or the unit is not a short word.
    """
    for name in NUMBERS:
        value = facts.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ValueError(f"{name} is {value!r}")
    unit = facts.get("unit", "m")
    if not isinstance(unit, str) or len(unit) > 40:
        raise ValueError(f"its unit is {str(unit)[:40]!r}, not a short word")


@contextmanager
def no_larger_than(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, a network that is larger than these tensors (any shape) cannot be built.

    So a damaged architecture does not exhaust the memory.

    Raises:
        ValueError: It has more tensors, or more numbers in them.
    """
    thread = threading.get_ident()
    # Twice as much, since a network may replace some of its tensors while it is built.
    numbers, tensors = 2 * sum(map(Tensor.numel, state.values())), 2 * len(state)

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal numbers, tensors
        if value is None or threading.get_ident() != thread:
            return
        numbers, tensors = numbers - value.numel(), tensors - 1
        if numbers < 0 or tensors < 0:
            raise ValueError("its network is larger than its file")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _check(name: str, value: object, kind: object) -> None:
    if kind is int and not (type(value) is int and 1 <= value <= LARGEST):
        raise ValueError(f"{name} is {value!r}, not a number from 1 to {LARGEST}")
    if kind is bool and type(value) is not bool:
        raise ValueError(f"{name} is {value!r}, not true or false")
    if kind is str and not (isinstance(value, str) and len(value) <= 100):
        raise ValueError(f"{name} is not a short name")
    if kind is float and not (type(value) in (int, float) and math.isfinite(value)):  # type: ignore[arg-type]
        raise ValueError(f"{name} is {value!r}, not a finite number")
