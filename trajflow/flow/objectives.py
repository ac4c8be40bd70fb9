"""The Modular MeanFlow objective."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from trajflow.flow.derivative import along
from trajflow.flow.path import Velocity, beside, linear_path
from trajflow.flow.time_samplers import TimeSampler

Tangent = Literal["marginal", "path"]


def modulate(z: Tensor, weight: float) -> Tensor:
    """SG_lambda[z] = lambda z + (1 - lambda) stopgrad(z): z itself, its gradient times lambda.

    Any z [...] comes back as it was, in value and in shape.

    Source: You, Liu, He, Modular MeanFlow, 2025, the gradient modulation.
    """
    if weight == 0:
        return z.detach()
    return z if weight == 1 else weight * z + (1 - weight) * z.detach()


def implied_velocity(
    u: Velocity, x: Tensor, r: Tensor, t: Tensor, tangent: Tensor, weight: float
) -> Tensor:
    """Velocity at (x, t) that u claims, u + (t - r) SG_lambda[d/dt u], [*, ...].

    Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, the identity
    v = u + (t - r) d/dt u; d/dt is along dx/dt = tangent, dr/dt = 0.

    Args:
        u: Average velocity.
        x: Points at time t, [*, ...].
        r: Start of each interval, [*].
        t: End of each interval, [*].
        tangent: dx/dt at x, [*, ...].
        weight: lambda in [0, 1].
    """
    directions = (tangent, torch.zeros_like(r), torch.ones_like(t))
    value, slope = along(u, (x, r, t), directions, still=weight == 0)
    return value + beside(t - r, x) * modulate(slope, weight)


@dataclass(frozen=True)
class Curriculum:
    """lambda as a function of progress in [0, 1]: `start`, held for `hold`, then to `end`."""

    start: float = 0.0
    end: float = 1.0
    hold: float = 0.0
    warmup: float = 0.3

    def __call__(self, progress: float) -> float:
        """Lambda when the share `progress` of the training is done."""
        climbed = (progress - self.hold) / self.warmup if self.warmup > 0 else progress >= self.hold
        return self.start + (self.end - self.start) * min(1.0, max(0.0, float(climbed)))


@dataclass(frozen=True)
class MeanFlowObjective:
    """Loss of an average velocity, for each event.

    With the path's velocity as tangent and lambda > 0 the loss penalises the Jacobian of the
    generated map and its samples lose their diversity; with the marginal velocity u(x, t, t) every
    lambda has the same minimiser. The paper divides the target by t - r; on the straight path
    between data and noise only the undivided velocity is consistent.

    Attributes:
        times: Draws (r, t).
        curriculum: lambda along the training.
        tangent: dx/dt in the derivative: the model's own "marginal" velocity or the "path"'s.
        power: p of the robust weight (|error|^2 + c)^-p; 0 is the plain square.
    """

    times: TimeSampler
    curriculum: Curriculum
    tangent: Tangent = "marginal"
    power: float = 0.0

    def __call__(
        self,
        u: Velocity,
        data: Tensor,
        progress: float,
        axes: int = 1,
        counts: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Loss of each event, [*].

        Args:
            u: Average velocity.
            data: Events at t = 0, [*, ...], with `axes` leading axes.
            progress: Share of the training that is done.
            axes: Number of leading axes; each of their entries has its own noise and times.
            counts: What each entry of an event counts, broadcastable to data; all alike if None.
            generator: Source of noise and times.
        """
        noise = torch.randn(data.shape, dtype=data.dtype, device=data.device, generator=generator)
        r, t = self.times(data.detach().flatten(axes)[..., 0], generator)
        x, v = linear_path(data, noise, t)
        return self._weigh(self._error(u, x, r, t, v, progress), axes, counts)

    def _error(
        self, u: Velocity, x: Tensor, r: Tensor, t: Tensor, v: Tensor, progress: float
    ) -> Tensor:
        """How far u is from what it should say, [*, ...], where the path has velocity v."""
        return self._claim(u, x, r, t, v, self.curriculum(progress)) - v

    def _claim(
        self, u: Velocity, x: Tensor, r: Tensor, t: Tensor, v: Tensor, weight: float
    ) -> Tensor:
        same = self._equal_rows(r, t)
        if same:
            near = u(x[:same], r[:same], t[:same])
            if same == len(r):
                return near
            far = self._claim(u, x[same:], r[same:], t[same:], v[same:], weight)
            return torch.cat([near, far])
        if self.tangent == "path":
            return implied_velocity(u, x, r, t, v, weight)
        with torch.no_grad():
            marginal = u(x, t, t)
        return implied_velocity(u, x, r, t, marginal, weight)

    @staticmethod
    def _equal_rows(r: Tensor, t: Tensor) -> int:
        """How many leading rows have r = t throughout: they need no derivative."""
        if r.ndim == 1:
            return len(r) if torch.equal(r, t) else 0
        return int((r == t).flatten(1).all(1).long().cumprod(0).sum())

    def _weigh(self, error: Tensor, axes: int, counts: Tensor | None) -> Tensor:
        kept = torch.ones_like(error) if counts is None else counts.to(error).expand_as(error)
        square = torch.where(kept > 0, kept * error.square(), 0).flatten(axes).sum(-1)
        square = square / kept.flatten(axes).sum(-1).clamp_min(1e-6)
        return square if self.power == 0 else square * (square.detach() + 1e-3) ** -self.power
