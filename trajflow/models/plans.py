"""What a stranger's file says of its own network, checked before the network is built."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from trajflow.models.learned_samples import LearnedSamplesShape
from trajflow.models.trajectory_model import Architecture

LARGEST = 1 << 16
"""Most steps, coordinates, widths and depths of a network that is loaded."""
NUMBERS = ("dt", "temperature", "least_rate", "most_rate")


def architecture_of(values: Mapping[str, Any]) -> Architecture:
    """An architecture from its JSON values.

    Raises:
        ValueError: A value is of another kind than it should be, or out of bounds.
        TypeError: One is missing or strange.
    """
    plain = dict(values)
    options = tuple((str(key), value) for key, value in plain.pop("encoder_options"))
    architecture = Architecture(**plain, encoder_options=options)
    for field in fields(Architecture):
        if field.name != "encoder_options":
            _check(field.name, getattr(architecture, field.name), field.type)
    for name, value in options:
        if not isinstance(value, (bool, int, float, str)):
            raise ValueError(f"option {name!r} is {value!r}")
        _check(f"option {name!r}", value, type(value))
    return architecture


def samples_shape_of(values: Mapping[str, Any], state: Mapping[str, Tensor]) -> LearnedSamplesShape:
    """The shape of a noise set, as far as its own start agrees; tensors of any shape by name.

    Raises:
        ValueError: It does not, or a value is out of bounds.
        TypeError: One is missing or strange.
        KeyError: There is no start.
    """
    shape = LearnedSamplesShape(**values)
    for name, value in shape.to_dict().items():
        _check(name, value, int)
    if tuple(state["start"].shape) != (shape.count, shape.components):
        raise ValueError("it starts from other noises than it says")
    return shape


def check_plan(architecture: Architecture, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors of any shape by name whose normalizer is of other futures.

    A normalizer is made before it is filled.

    Raises:
        ValueError: It is.
        KeyError: There is none.
    """
    size = architecture.horizon * architecture.dims
    if tuple(state["normalizer.axes"].shape) != (size, size):
        raise ValueError(f"its normalizer is not of {size} numbers")


def check_facts(facts: Mapping[str, Any]) -> None:
    """Refuse facts about weights that cannot be.

    Raises:
        ValueError: One of `NUMBERS` is no positive number, or the unit no short word.
    """
    for name in NUMBERS:
        value = facts.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ValueError(f"{name} is {value!r}")
    unit = facts.get("unit", "m")
    if not isinstance(unit, str) or len(unit) > 40:
        raise ValueError("its unit is no word")


@contextmanager
def no_larger_than(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, a network that outgrows these tensors, of any shape, takes no memory.

    Raises:
        ValueError: It has more tensors, or more numbers in them.
    """
    thread = threading.get_ident()
    # A network may replace a few of its tensors while it is built, and none is that small.
    left, tensors = 2 * sum(map(Tensor.numel, state.values())), 2 * len(state)

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal left, tensors
        if value is None or threading.get_ident() != thread:
            return
        left, tensors = left - value.numel(), tensors - 1
        if left < 0 or tensors < 0:
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
        raise ValueError(f"{name} is no short name")
    if kind is float and not (type(value) in (int, float) and math.isfinite(value)):  # type: ignore[arg-type]
        raise ValueError(f"{name} is {value!r}, not a finite number")
