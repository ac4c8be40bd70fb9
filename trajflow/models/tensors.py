"""Tensors from numpy world coordinates, without loss of precision; and devices."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajflow.errors import ConfigError
from trajflow.types import Floats, type_codes


def to_tensor(points: Floats, centre: Floats, device: torch.device) -> Tensor:
    """World points [B, A, T, D] minus their scenes' centres [B, D], in single precision."""
    return torch.as_tensor(points - centre[:, None, None], dtype=torch.float32, device=device)


def memory_tensor(memory: Floats | None, centre: Floats, device: torch.device) -> Tensor | None:
    """Memory [B, A, K, W, D + 1] minus the scenes' centres [B, D]; None without memory."""
    if memory is None:
        return None
    shift = np.pad(centre, ((0, 0), (0, 1)))[:, None, None, None]
    return torch.as_tensor(memory - shift, dtype=torch.float32, device=device)


def type_tensor(
    types: NDArray[np.str_] | None, names: Sequence[str], device: torch.device
) -> Tensor | None:
    """`type_codes` [B, A] for a model with the types `names`; None for a model without."""
    if types is None or not names:
        return None
    return torch.as_tensor(type_codes(types, names), device=device)


def device_of(name: str) -> torch.device:
    """The device by name; "auto" is a GPU if there is one.

    Raises:
        ConfigError: The device does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"no device {name!r} here: torch finds no CUDA GPU (torch {torch.__version__}); use "
            "--device cpu, or install a torch built for your GPU"
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"no device {name!r} here ({reason}); use auto, cpu or cuda") from None
    return device
