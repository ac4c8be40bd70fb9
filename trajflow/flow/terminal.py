"""Terminal velocity matching: the end of a step must move as the flow does there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trajflow.flow.derivative import along
from trajflow.flow.objectives import MeanFlowObjective
from trajflow.flow.path import Velocity, beside


def terminal_velocity(u: Velocity, x: Tensor, r: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Where a step from t to r ends, and how that end moves with r, both [*, ...].

    The end is x_r = x - (t - r) u(x, r, t), so dx_r/dr = u - (t - r) du/dr.

    Args:
        u: Average velocity.
        x: Points at time t, [*, ...].
        r: End of each step, [*].
        t: Start of each step, [*].
    """
    directions = (torch.zeros_like(x), torch.ones_like(r), torch.zeros_like(t))
    value, slope = along(u, (x, r, t), directions)
    gap = beside(t - r, x)
    return x - gap * value, value - gap * slope


@dataclass(frozen=True)
class TerminalObjective(MeanFlowObjective):
    """Loss of an average velocity whose steps end where, and as, the flow passes.

    Where r = t it is flow matching; elsewhere the end's motion is matched with the model's own
    velocity there, which is held still. lambda and the tangent play no part.

    Source: Zhou et al., Terminal Velocity Matching, 2025, with the weights themselves in place of
    their moving average.
    """

    def _error(
        self, u: Velocity, x: Tensor, r: Tensor, t: Tensor, v: Tensor, progress: float
    ) -> Tensor:
        same = self._equal_rows(r, t)
        errors = [u(x[:same], r[:same], t[:same]) - v[:same]] if same else []
        if same < len(r):
            end, moving = terminal_velocity(u, x[same:], r[same:], t[same:])
            with torch.no_grad():
                there = u(end, r[same:], r[same:])
            still = beside(r[same:] == t[same:], x)
            errors.append(moving - torch.where(still, v[same:], there))
        return torch.cat(errors)
