"""Objectives: Modular MeanFlow, terminal velocity matching, and the energy score of one step."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from trajflow.flow.path import Velocity, beside, linear_path
from trajflow.flow.time_samplers import TimeSampler


@dataclass(frozen=True)
class Slice:
    """The entries from `first` to `last` of `whole` along an axis.

    Noise for a part is drawn for the whole and cut, so that the losses of all parts of a batch sum
    to that of the batch.
    """

    first: int
    last: int
    whole: int

    def cut(self, x: Tensor, axis: int) -> Tensor:
        """The entries of x [...], which has all `whole` of them along the axis."""
        return x.narrow(axis, self.first, self.last - self.first)

    def shape(self, shape: torch.Size, axis: int) -> list[int]:
        """The shape of the whole, from the shape of the part."""
        return [*shape[:axis], self.whole, *shape[axis + 1 :]]


def normal(data: Tensor, generator: Generator | None, part: Slice | None = None) -> Tensor:
    """Standard normal noise [*, ...] for data [*, ...], or for a part along its second axis."""
    shape = data.shape if part is None else part.shape(data.shape, 1)
    noise = torch.randn(shape, dtype=data.dtype, device=data.device, generator=generator)
    return noise if part is None else part.cut(noise, 1)


@runtime_checkable
class HasJVP(Protocol):
    """An average velocity that implements its own Jacobian-vector product (jvp)."""

    def jvp(
        self,
        point: tuple[Tensor, Tensor, Tensor],
        direction: tuple[Tensor, Tensor, Tensor],
        create_graph: bool,
    ) -> tuple[Tensor, Tensor] | None:
        """The velocity at (x, r, t) and its derivative along (dx, dr, dt); None: not available.

        Args:
            point: x [*, ...], r [*], t [*].
            direction: dx, dr and dt, of the same shapes.
            create_graph: Whether the derivative can be backpropagated through.
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
        direction: dx, dr and dt, of the same shapes.
        create_graph: Whether the derivative can be backpropagated through; cheaper if not.
    """
    if isinstance(u, HasJVP) and (result := u.jvp(point, direction, create_graph)) is not None:
        return result
    result = torch.func.jvp(u, point, direction)
    return result[0], result[1]


Tangent = Literal["marginal", "path"]


def modulate(z: Tensor, weight: float) -> Tensor:
    """SG_lambda[z] = lambda z + (1 - lambda) stopgrad(z), [...]: z with lambda times its gradient.

    Source: You, Liu, He, Modular MeanFlow, 2025, the gradient modulation.

    Example:
        >>> import torch
        >>> from trajflow.flow import modulate
        >>> z = torch.tensor(3.0, requires_grad=True)
        >>> modulate(z, 0.25).backward()
        >>> z.grad
        tensor(0.2500)
    """
    if weight == 0:
        return z.detach()
    return z if weight == 1 else weight * z + (1 - weight) * z.detach()


def implied_velocity(
    u: Velocity, x: Tensor, r: Tensor, t: Tensor, tangent: Tensor, weight: float
) -> Tensor:
    """Velocity at (x, t) implied by u: v = u + (t - r) SG_lambda[d/dt u], [*, ...].

    The total derivative d/dt u = (du/dx) dx/dt + du/dt is one jvp along (dx/dt, 0, 1).

    Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, the MeanFlow identity
    (eq. 6) and eq. 8; the gradient modulation as in `modulate`.

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
    """lambda over a training: `start` until progress `hold`, then linear over `warmup` to `end`.

    Source: You, Liu, He, Modular MeanFlow, 2025, the curriculum.

    Example:
        >>> from trajflow.flow import Curriculum
        >>> Curriculum(start=0.0, end=1.0, warmup=0.5)(progress=0.25)
        0.5
    """

    start: float = 0.0
    end: float = 1.0
    hold: float = 0.0
    warmup: float = 0.3

    def __call__(self, progress: float) -> float:
        """Lambda when a share `progress` in [0, 1] of the training is done."""
        share = (progress - self.hold) / self.warmup if self.warmup > 0 else progress >= self.hold
        return self.start + (self.end - self.start) * min(1.0, max(0.0, float(share)))


@dataclass(frozen=True)
class MeanFlowObjective:
    """Modular MeanFlow: |u + (t - r) SG_lambda[d/dt u] - (noise - data)|^2 for each event.

    d/dt needs the velocity dx/dt. With that of the path, noise - data, which is random given x, a
    lambda > 0 adds the term Tr[J Cov(v|x) J^T] with the Jacobian J of the generated map: it is
    penalised, and samples lose their diversity. With the marginal velocity u(x, t, t) the term does
    not depend on the weights, and every lambda has the same minimiser.

    The paper divides the target by t - r; on the straight path between data and noise only the
    undivided velocity is consistent.

    Source: You, Liu, He, Modular MeanFlow, 2025; the marginal tangent as in Geng et al., Improved
    Mean Flows, 2025.

    Attributes:
        times: Distribution of (r, t).
        curriculum: lambda over the training.
        tangent: dx/dt in the derivative: "marginal", u(x, t, t), or "path", noise - data.
        power: p of the robust weight (|error|^2 + c)^-p; 0: the plain square.
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
        part: Slice | None = None,
    ) -> Tensor:
        """Loss of each event, [*].

        Args:
            u: Average velocity.
            data: Events at t = 0, [*, ...], with `axes` leading axes.
            progress: Share of the training that is done.
            axes: Number of leading axes; each of their entries has its own noise and times.
            counts: Weight of each entry of an event, broadcastable to data; None: equal weights.
            generator: Source of noise and times.
            part: Position of the data along the second leading axis of a larger batch, for which
                noise and times are drawn; None: the data are the batch.
        """
        noise = normal(data, generator, part)
        r, t = self._times(data.detach().flatten(axes)[..., 0], generator, part)
        x, v = linear_path(data, noise, t)
        return self._weigh(self._error(u, x, r, t, v, progress), axes, counts)

    def _times(
        self, like: Tensor, generator: Generator | None, part: Slice | None
    ) -> tuple[Tensor, Tensor]:
        """Times r and t with the shape of `like`."""
        if part is None:
            return self.times(like, generator)
        r, t = self.times(like.new_empty(part.shape(like.shape, 1)), generator)
        return part.cut(r, 1), part.cut(t, 1)

    def _error(
        self, u: Velocity, x: Tensor, r: Tensor, t: Tensor, v: Tensor, progress: float
    ) -> Tensor:
        """Difference of the implied velocity of u and the velocity v of the path, [*, ...]."""
        return self._implied(u, x, r, t, v, self.curriculum(progress)) - v

    def _implied(
        self, u: Velocity, x: Tensor, r: Tensor, t: Tensor, v: Tensor, weight: float
    ) -> Tensor:
        flow = self._flow_rows(r, t)
        if flow:
            velocity = u(x[:flow], r[:flow], t[:flow])
            if flow == len(r):
                return velocity
            others = self._implied(u, x[flow:], r[flow:], t[flow:], v[flow:], weight)
            return torch.cat([velocity, others])
        if self.tangent == "path":
            return implied_velocity(u, x, r, t, v, weight)
        with torch.no_grad():
            marginal = u(x, t, t)
        return implied_velocity(u, x, r, t, marginal, weight)

    @staticmethod
    def _flow_rows(r: Tensor, t: Tensor) -> int:
        """Number of leading rows with r = t throughout (flow matching): they need no derivative."""
        if r.ndim == 1:
            return len(r) if torch.equal(r, t) else 0
        return int((r == t).flatten(1).all(1).long().cumprod(0).sum())

    def _weigh(self, error: Tensor, axes: int, counts: Tensor | None) -> Tensor:
        weight = torch.ones_like(error) if counts is None else counts.to(error).expand_as(error)
        # `where`: an entry without weight may hold NaN.
        square = torch.where(weight > 0, weight * error.square(), 0).flatten(axes).sum(-1)
        square = square / weight.flatten(axes).sum(-1).clamp_min(1e-6)
        return square if self.power == 0 else square * (square.detach() + 1e-3) ** -self.power


def terminal_velocity(u: Velocity, x: Tensor, r: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """End point of a step from t to r and its derivative with respect to r, both [*, ...].

    The end is x_r = x - (t - r) u(x, r, t), so dx_r/dr = u - (t - r) du/dr.

    Source: Zhou et al., Terminal Velocity Matching, 2025.

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
    """Terminal velocity matching: |dx_r/dr - stopgrad u(x_r, r, r)|^2, and flow matching at r = t.

    The end x_r of a step must move with r as the flow does there. lambda and the tangent are not
    used.

    Source: Zhou et al., Terminal Velocity Matching, 2025; the target uses the current weights
    instead of their moving average.
    """

    def _error(
        self, u: Velocity, x: Tensor, r: Tensor, t: Tensor, v: Tensor, progress: float
    ) -> Tensor:
        flow = self._flow_rows(r, t)
        errors = [u(x[:flow], r[:flow], t[:flow]) - v[:flow]] if flow else []
        if flow < len(r):
            end, end_velocity = terminal_velocity(u, x[flow:], r[flow:], t[flow:])
            with torch.no_grad():
                velocity = u(end, r[flow:], r[flow:])
            equal = beside(r[flow:] == t[flow:], x)
            errors.append(end_velocity - torch.where(equal, v[flow:], velocity))
        return torch.cat(errors)


@dataclass(frozen=True)
class EnergyObjective(MeanFlowObjective):
    """Energy score of one-step samples, E|X - y| - E|X - X'| / 2, plus a share of Modular MeanFlow.

    X = noise - u(noise, 0, 1) are the samples of an event y. The score is strictly proper, so its
    minimiser is the distribution of the data. The Modular MeanFlow term keeps sampling in several
    steps usable.

    Source: Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, 2007,
    eq. 22; the mean over pairs excludes X' = X, which makes it unbiased for any number of samples.

    Attributes:
        flow_share: Weight of the Modular MeanFlow term.
        metric_power: Power of `counts` that weighs squares in a distance. A model weighs the
            components of a future by the root of their deviation, so 4 gives the distance between
            paths.
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
        part: Slice | None = None,
    ) -> Tensor:
        """Loss of each event, [*]; the first axis of data repeats an event, 2 times or more.

        The arguments are those of `MeanFlowObjective`.
        """
        flow = super().__call__(u, data, progress, axes, counts, generator, part)
        noise = normal(data, generator, part)
        end = torch.ones_like(data.flatten(axes)[..., 0])
        samples = noise - u(noise, torch.zeros_like(end), end)
        weight = torch.ones_like(data) if counts is None else counts.to(data).expand_as(data)
        weight = (weight**self.metric_power).flatten(axes)
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-12)

        def distance(difference: Tensor) -> Tensor:
            square = (weight[0] * difference.flatten(axes).square()).sum(-1)
            return (square + 1e-12).sqrt()

        error = distance(samples - data)
        spread = torch.stack(
            [distance(samples - samples.roll(shift, 0)) for shift in range(1, len(samples))]
        ).mean(0)
        return self.flow_share * flow + error - spread / 2
