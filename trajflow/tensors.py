"""From numpy world coordinates to tensors that keep their precision, and back."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def scene_centres(past: Floats) -> Floats:
    """A point near each scene's agents, [B, D] from pasts [B, A, T, D]: any seen position.

    Taken off before the cast to single precision, so that map coordinates of millions of metres
    keep their millimetres.
    """
    flat = past.reshape(len(past), -1, past.shape[-1])
    if not flat.shape[1]:
        return np.zeros((len(past), past.shape[-1]))
    seen = np.asarray(np.isfinite(flat).all(-1))
    first = seen.argmax(1)
    centre = flat[np.arange(len(flat)), first]
    known = np.asarray(seen.any(1))
    return np.where(known[:, None], centre, 0.0)


def to_tensor(points: Floats, centre: Floats, device: torch.device) -> Tensor:
    """World points [B, A, T, D] about the scenes' centres [B, D], in single precision."""
    return torch.as_tensor(points - centre[:, None, None], dtype=torch.float32, device=device)
