"""From numpy world coordinates to tensors that keep their precision, and back."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajflow.pasts import scene_centres as scene_centres

Floats = NDArray[np.float64]


def to_tensor(points: Floats, centre: Floats, device: torch.device) -> Tensor:
    """World points [B, A, T, D] about the scenes' centres [B, D], in single precision."""
    return torch.as_tensor(points - centre[:, None, None], dtype=torch.float32, device=device)
