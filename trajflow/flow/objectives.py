"""Objectives: Modular MeanFlow, terminal velocity matching, and the energy score of one step."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from trajflow.flow.path import Velocity, beside, linear_path
from trajflow.flow.time_samplers import TimeSampler


@dataclass(frozen=True)
class Part:
    """Entries `first` up to `last` of the `whole` number along an axis.

    Draws for a part are those of the whole, cut: the parts of a batch together learn exactly what
    the batch learns at once.
    """

    first: int
    last: int
    whole: int

    def cut(self, x: Tensor, axis: int) -> Tensor:
        """The part's entries of x [...], which holds the whole along the axis."""
        return x.narrow(axis, self.first, self.last - self.first)

    def shape(self, shape: torch.Size, axis: int) -> list[int]:
        """The shape of the whole, from that of the part."""
        return [*shape[:axis], self.whole, *shape[axis + 1 :]]


def normal(data: Tensor, generator: Generator | None, part: Part | None = None) -> Tensor:
    """Standard normal noise [*, ...] for data [*, ...]; of a part of its second axis, cut."""
    shape = data.shape if part is None else part.shape(data.shape, 1)
    noise = torch.randn(shape, dtype=data.dtype, device=data.device, generator=generator)
    return noise if part is None else part.cut(noise, 1)


@runtime_checkable
class HasJVP(Protocol):
    """An average velocity with a forward derivative of its own."""

    def jvp(
        self,
        point: tuple[Tensor, Tensor, Tensor],
        direction: tuple[Tensor, Tensor, Tensor],
        create_graph: bool,
    ) -> tuple[Tensor, Tensor] | None:
        """The velocity at (x, r, t) and its derivative along (dx, dr, dt); None where it cannot.

        Args:
            point: x [*, ...], r [*], t [*].
            direction: How they move, of the same shapes.
            create_graph: Whether the derivative shall have a gradient.
        """


def jvp(
    u: Velocity,
    point: tuple[Tensor, Tensor, Tensor],
    direction: tuple[Tensor, Tensor, Tensor],
    create_graph: bool = True,
) -> tuple[Tensor, Tensor]:
    """The velocity at (x, r, t) and its derivative along (dx, dr, dt).

    Args:
        u: Average velocity.
        point: x [*, ...], r [*], t [*].
        direction: How they move, of the same shapes.
        create_graph: Whether the derivative shall have a gradient; work is saved where not.
    """
    if isinstance(u, HasJVP) and (result := u.jvp(point, direction, create_graph)) is not None:
        return result
    both = torch.func.jvp(u, point, direction)
    return both[0], both[1]


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
    velocity, dudt = jvp(u, (x, r, t), directions, create_graph=weight > 0)
    return velocity + beside(t - r, x) * modulate(dudt, weight)


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
        part: Part | None = None,
    ) -> Tensor:
        """Loss of each event, [*].

        Args:
            u: Average velocity.
            data: Events at t = 0, [*, ...], with `axes` leading axes.
            progress: Share of the training that is done.
            axes: Number of leading axes; each of their entries has its own noise and times.
            counts: What each entry of an event counts, broadcastable to data; all alike if None.
            generator: Source of noise and times.
            part: Which entries of the second of two or more leading axes the data are, where
                noise and times are those of a larger batch; None: all.
        """
        noise = normal(data, generator, part)
        r, t = self._times(data.detach().flatten(axes)[..., 0], generator, part)
        x, v = linear_path(data, noise, t)
        return self._weigh(self._error(u, x, r, t, v, progress), axes, counts)

    def _times(
        self, like: Tensor, generator: Generator | None, part: Part | None
    ) -> tuple[Tensor, Tensor]:
        """Times r and t with the shape of `like`."""
        if part is None:
            return self.times(like, generator)
        r, t = self.times(like.new_empty(part.shape(like.shape, 1)), generator)
        return part.cut(r, 1), part.cut(t, 1)

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
    velocity, dudr = jvp(u, (x, r, t), directions)
    gap = beside(t - r, x)
    return x - gap * velocity, velocity - gap * dudr


@dataclass(frozen=True)
class TerminalObjective(MeanFlowObjective):
    """Loss of an average velocity whose steps end where, and as, the flow passes.

    Where r = t it is flow matching; elsewhere the end's motion is matched with the model's own
    velocity there, which has no gradient. lambda and the tangent play no part.

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
            equal = beside(r[same:] == t[same:], x)
            errors.append(moving - torch.where(equal, v[same:], there))
        return torch.cat(errors)


@dataclass(frozen=True)
class EnergyObjective(MeanFlowObjective):
    """Energy score of the draws of the one-step map, and a share of Modular MeanFlow beside it.

    The draws x1 - u(x1, 0, 1) of an event are scored as a forecast is. The score is strictly
    proper, so its minimiser is the distribution of the data; the rest keeps several steps usable.

    Source: Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, 2007,
    eq. 22, without bias for any number of draws.

    Attributes:
        flow_share: What the loss of Modular MeanFlow counts.
        metric_power: Squares count by this power of `counts` in a distance. A model counts the
            components of a future by the root of their deviation, so 4 makes it the distance
            between paths.
    """

    flow_share: float = 0.3
    metric_power: float = 4.0

    def __call__(
        self,
        u: Velocity,
        data: Tensor,
        progress: float,
        axes: int = 1,
        counts: Tensor | None = None,
        generator: Generator | None = None,
        part: Part | None = None,
    ) -> Tensor:
        """Loss of each event, [*]; the first axis of data holds the draws of one event, 2 or more.

        Arguments are those of `MeanFlowObjective`.
        """
        flow = super().__call__(u, data, progress, axes, counts, generator, part)
        noise = normal(data, generator, part)
        end = torch.ones_like(data.flatten(axes)[..., 0])
        drawn = noise - u(noise, torch.zeros_like(end), end)
        weight = torch.ones_like(data) if counts is None else counts.to(data).expand_as(data)
        weight = (weight**self.metric_power).flatten(axes)
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-12)

        def distance(difference: Tensor) -> Tensor:
            square = (weight[0] * difference.flatten(axes).square()).sum(-1)
            return (square + 1e-12).sqrt()

        away = distance(drawn - data)
        pairs = torch.stack(
            [distance(drawn - drawn.roll(shift, 0)) for shift in range(1, len(drawn))]
        ).mean(0)
        return self.flow_share * flow + away - pairs / 2
