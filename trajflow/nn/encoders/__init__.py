"""What turns an agent's past into a context, found by name: one file here, one encoder."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar, get_type_hints

from torch import Tensor, nn

from trajflow.errors import ConfigError, did_you_mean


class Encoder(nn.Module):
    """An agent's past, in its own frame, as one vector.

    Args:
        width: Length H of the vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """The contexts of N agents, [N, H].

        Args:
            past: Features of the last T steps, [N, T, ...], the channels last; what an
                unseen step holds (NaN, say) must not matter.
            seen: Whether the agent was observed at a step, [N, T].
        """
        raise NotImplementedError

    def folded(self) -> "Encoder":
        """An encoder in fewer operations for pasts of zeros where unseen; else this one."""
        return self


GROUP = "trajflow.encoders"
"""Entry point of a package that offers encoders: the encoder's name, and the module that has it."""

E = TypeVar("E", bound=Encoder)

_registered: dict[str, type[Encoder]] = {}


def register_encoder(name: str) -> Callable[[type[E]], type[E]]:
    """Makes an encoder known by a name; a file of this folder registers its own name."""

    def register(encoder: type[E]) -> type[E]:
        present = _registered.setdefault(name, encoder)
        if (present.__module__, present.__qualname__) != (encoder.__module__, encoder.__qualname__):
            raise ConfigError(
                f"encoder {name!r} exists: {present.__module__}.{present.__qualname__}; "
                f"choose another name for {encoder.__module__}.{encoder.__qualname__}"
            )
        _registered[name] = encoder
        return encoder

    return register


def available() -> list[str]:
    """Names of all encoders: the files of this folder, what was registered, and entry points."""
    files = {file.name for file in pkgutil.iter_modules(__path__) if file.name[0] != "_"}
    return sorted(files | _registered.keys() | _offered().keys())


def build(name: str, channels: int, width: int, **options: object) -> Encoder:
    """A new encoder.

    Args:
        name: One of `available()`.
        channels: How many features a step has.
        width: Length H of a context.
        **options: Keywords of the encoder's constructor.

    Raises:
        ConfigError: The encoder or one of its options does not exist, or an option does not
            fit.

    Example:
        >>> import torch
        >>> from trajflow.nn.encoders import build
        >>> encoder = build("gru", channels=4, width=16, depth=1)
        >>> encoder(torch.zeros(3, 8, 4), torch.ones(3, 8, dtype=torch.bool)).shape
        torch.Size([3, 16])
    """
    make: Callable[..., Encoder] = _find(name)
    present = [option for option in inspect.signature(make).parameters][2:]
    for option, value in options.items():
        if option not in present:
            raise ConfigError(did_you_mean(f"option of encoder {name!r}", option, present))
        _check(f"option {option!r} of encoder {name!r}", value, _kind(make, option))
    try:
        return make(channels, width, **options)
    except ValueError as error:
        raise ConfigError(f"encoder {name!r} cannot be built with {options}: {error}") from error


def _find(name: str) -> type[Encoder]:
    if name not in available():
        raise ConfigError(
            f"{did_you_mean('encoder', name, available())}; one of your own needs "
            "`trajflow --plugin FILE.py ...`, in Python the import of its module"
        )
    if name not in _registered:
        offered = _offered()
        module = offered[name].module if name in offered else f"{__name__}.{name}"
        importlib.import_module(module)
        if name not in _registered:
            raise ConfigError(f"{module} registers no {name!r}; add @register_encoder({name!r})")
    return _registered[name]


def _kind(make: Callable[..., Encoder], option: str) -> object:
    return get_type_hints(make.__init__).get(option)


def _check(what: str, value: object, kind: object) -> None:
    if kind not in (bool, int, float, str):
        return
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise ConfigError(f"{what} must be {kind.__name__}, got {value!r}")


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
