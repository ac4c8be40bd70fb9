"""The mathematics of one-step generation with an average velocity; needs only torch.

The convention everywhere: t = 0 is data, t = 1 is noise, and r <= t.
A `Velocity` u(x, r, t) is the average velocity over [r, t] of the flow that carries noise to data,
so x_r = x_t - (t - r) u(x_t, r, t), and one step from noise to data is x_0 = x_1 - u(x_1, 0, 1).

Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, eqs. 3 and 12.

Example:
    Learn a one-step sampler of a normal distribution.

    >>> import torch
    >>> from trajflow.flow import PRESETS, sample
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.SiLU(), torch.nn.Linear(32, 2))
    >>> def u(x, r, t):
    ...     times = torch.stack([r, t], -1).expand(*x.shape[:-1], 2)
    ...     return net(torch.cat([x, times], -1))
    >>> loss = PRESETS["mmf"].objective()(u, torch.randn(64, 2), progress=0.5)
    >>> loss.shape
    torch.Size([64])
    >>> sample(u, torch.randn(5, 2)).shape
    torch.Size([5, 2])
"""

from trajflow.flow.objectives import (
    Curriculum,
    EnergyObjective,
    MeanFlowObjective,
    Slice,
    TerminalObjective,
    implied_velocity,
    modulate,
    terminal_velocity,
)
from trajflow.flow.path import linear_path
from trajflow.flow.presets import PRESETS, Preset
from trajflow.flow.sampling import instantaneous, sample
from trajflow.flow.time_samplers import AnchoredTimes, LogitNormalTimes, TimeSampler, UniformTimes

__all__ = [
    "PRESETS",
    "AnchoredTimes",
    "Curriculum",
    "EnergyObjective",
    "LogitNormalTimes",
    "MeanFlowObjective",
    "Preset",
    "Slice",
    "TerminalObjective",
    "TimeSampler",
    "UniformTimes",
    "implied_velocity",
    "instantaneous",
    "linear_path",
    "modulate",
    "sample",
    "terminal_velocity",
]
