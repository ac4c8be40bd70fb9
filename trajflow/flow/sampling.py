"""From noise to data in one or a few evaluations of the same network."""

import torch
from torch import Tensor

from trajflow.flow.path import Velocity, beside


def instantaneous(u: Velocity) -> Velocity:
    """The velocity u(x, t, t) [*, ...], for a network that was trained with r = t only."""

    def velocity(x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return u(x, t, t)

    return velocity


def sample(u: Velocity, noise: Tensor, steps: int = 1, axes: int = 1) -> Tensor:
    """Data from noise: x_r = x_t - (t - r) u(x_t, r, t) over `steps` equal intervals.

    Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, eq. 12.

    Args:
        u: Average velocity, evaluated `steps` times; its times broadcast over the events.
        noise: Events at t = 1, [*, ...], with `axes` leading axes.
        steps: Number of evaluations.
        axes: Number of leading axes.

    Returns:
        Events at t = 0, [*, ...].
    """
    grid = torch.linspace(1, 0, steps + 1, dtype=noise.dtype, device=noise.device)
    x = noise
    for k in range(steps):
        t, r = (grid[i].reshape((1,) * axes) for i in (k, k + 1))
        x = x - beside(t - r, x) * u(x, r, t)
    return x
