"""The mathematics of one-step generation by an average velocity; knows only torch.

One convention holds everywhere: t = 0 is data, t = 1 is noise, and r <= t.
A `Velocity` u(x, r, t) is the average velocity over [r, t] of the flow that carries noise to data,
so x_r = x_t - (t - r) u(x_t, r, t), and one step from noise to data is x_0 = x_1 - u(x_1, 0, 1).
"""

from trajflow.flow.objectives import (
    Curriculum,
    EnergyObjective,
    MeanFlowObjective,
    Part,
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
    "Part",
    "Preset",
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
