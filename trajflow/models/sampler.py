"""A model's forecast of the first agents of each scene, with everything constant folded."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from trajflow.models.frames import Frame, PastSteps, frame_of, observed
from trajflow.models.learned_samples import LearnedSamples
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.types import seen_now


class Sampler(nn.Module):
    """Draws futures as a `TrajectoryModel` does, in fewer and larger operations.

    Its layers are the model's own, folded: see `folded` of the encoder, the social attention and
    the velocity network. It is what forecasts on the processor run, and what `trajflow export`
    writes. No size depends on values. The weights are copies of the time it is made.

    Args:
        model: What draws.
        temperature: Standard deviation that the noise is given.
        evaluations: Network evaluations per draw.
        sets: Learned samples that may stand for drawn noise, by their count; for one evaluation.

    Example:
        >>> import torch
        >>> from trajflow.models.sampler import Sampler
        >>> from trajflow.models.trajectory_model import Architecture, TrajectoryModel
        >>> model = TrajectoryModel(Architecture(history=8, horizon=12)).eval()
        >>> futures, context = Sampler(model)(torch.zeros(1, 3, 8, 2), torch.randn(20, 1, 2, 24))
        >>> futures.shape
        torch.Size([20, 1, 2, 12, 2])
    """

    def __init__(
        self,
        model: TrajectoryModel,
        temperature: float = 1.0,
        evaluations: int = 1,
        sets: Mapping[int, LearnedSamples] | None = None,
    ) -> None:
        super().__init__()
        self.sets = nn.ModuleList(one for _, one in sorted((sets or {}).items()))
        self.model, self.temperature, self.evaluations = model, temperature, evaluations
        a, normalizer = model.architecture, model.normalizer
        self.encoder = model.encoder.folded()
        self.social = None if model.social is None else model.social.folded()
        self.net = None
        if a.joint or evaluations != 1:
            return
        net = self.net = model.velocity_net.folded(0.0 if a.average else 1.0, 1.0)
        kept, size = normalizer.components, normalizer.size
        # Noise x becomes a token by in_proj(temperature * x), and local points by
        # (temperature * x - velocity) @ whitened + mean. Points turned by a quarter come along.
        with torch.no_grad():
            whitened = normalizer.deviation[:, None] * normalizer.axes.T
            turn = _quarter_turn(a.horizon, a.dims).to(whitened)
            to_points = torch.cat((whitened, whitened @ turn), 1)
            mean = torch.cat((normalizer.mean, normalizer.mean @ turn))
            token = net.in_proj.weight.new_zeros(net.in_proj.out_features, size)
            token[:, :kept] = net.in_proj.weight
            velocity = to_points[:kept].T
            rest = mean - velocity @ net.out_proj.bias
        net.in_proj.weight = nn.Parameter(temperature * token, False)
        net.out_proj.weight = nn.Parameter(-velocity @ net.out_proj.weight, False)
        net.out_proj.bias = nn.Parameter(rest, False)
        self.register_buffer("to_points", temperature * to_points)

    def forward(
        self,
        past: Tensor,
        noise: Tensor,
        dt_ratio: Tensor | None = None,
        memory: Tensor | None = None,
        types: Tensor | None = None,
        learned: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Futures [S, B, K, F, D] in the past's coordinates, and contexts [B, K, H].

        The contexts are those without memory and types.

        Args:
            past: World positions about a point near each scene, [B, A, T, D]; not finite where
                unseen.
            noise: Normal numbers of every sample of the first K agents of each scene,
                [S, B, K, N] with N = F * D.
            dt_ratio: Seconds per step over those of the training tracks, [B].
            memory: What is remembered for the first K agents, [B, K, ..., T + F, D + 1]; not finite
                where unknown.
            types: Codes of the types of the first K agents, [B, K]; None: all are unknown. See
                `TrajectoryModel.with_types`.
            learned: Number of the learned noise of each sample, [S], counted through the sets by
                their size; -1: its noise is the given one. None: all are.
        """
        context, frame, seen_agents = self.context(past, noise.shape[2], dt_ratio)
        reminded = context
        if memory is not None:
            reminded = context + self.model.from_memory(context, frame, memory)
        reminded = self.model.with_types(reminded, types)
        if self.net is None:
            wide = noise * self.temperature
            return self.model.futures(reminded, frame, wide, self.evaluations, seen_agents), context
        normalizer = self.model.normalizer
        rows = noise.reshape(-1, normalizer.size)
        if learned is not None:
            rows = self._replaced(rows, context, learned)
        points = self._points(rows, reminded, frame)
        return points.reshape(*noise.shape[:3], normalizer.horizon, normalizer.dims), context

    def _replaced(self, noise: Tensor, context: Tensor, learned: Tensor) -> Tensor:
        """Rows of noise [S * N, ...] of which those of learned samples are the learned ones."""
        own = context.reshape(-1, int(context.shape[-1]))
        noises = torch.cat([one(own)[0] for one in self.sets])
        # The layers widen all noise by the temperature, and learned noise is as wide as it is.
        missing = int(noise.shape[-1]) - int(noises.shape[-1])
        noises = nn.functional.pad(noises / self.temperature, (0, missing))
        rows = noise.reshape(learned.shape[0], own.shape[0], -1)
        chosen = torch.where(learned[:, None, None] < 0, rows, noises[learned.clamp(min=0)])
        return chosen.reshape(-1, int(noise.shape[-1]))

    def context(
        self, past: Tensor, count: int, dt_ratio: Tensor | None = None
    ) -> tuple[Tensor, Frame, Tensor]:
        """Contexts [B, K, H] and frames [B, K] of the first K agents, and who was seen, [B, K]."""
        # Sizes that are the same in every call are whole numbers, so that they become constants.
        model, shape = self.model, past.shape[:2]
        ratio = None
        if dt_ratio is not None and model.architecture.condition_on_dt:
            ratio = dt_ratio[:, None]
        seen = observed(past)
        steps = PastSteps.of(past, seen)
        frame = frame_of(steps, model.architecture.heading_steps, ratio)
        read = model.read(frame, steps)
        history = model.architecture.history
        rows = read.reshape(-1, history, int(read.shape[-1])), seen.reshape(-1, history)
        own = self.encoder(*rows).reshape(*shape, -1)
        first = Frame(*(part[:, :count] for part in vars(frame).values()))
        seen_agents = seen[:, :count].any(-1)
        if self.social is None:
            return own[:, :count], first, seen_agents
        unit = model.normalizer.displacement_scale
        context: Tensor = self.social(
            own,
            frame.origin / unit,
            frame.heading,
            frame.velocity / unit,
            first.rotation(int(past.shape[-1])),
            seen_now(seen),
            count,
        )
        return context, first, seen_agents

    def _points(self, noise: Tensor, context: Tensor, frame: Frame) -> Tensor:
        """Futures [S, N, F, D] of noise rows [S * N, ...] and contexts [B, K, H] of N agents."""
        assert self.net is not None
        normalizer = self.model.normalizer
        horizon, dims = normalizer.horizon, normalizer.dims
        context = context.reshape(-1, int(context.shape[-1]))
        both = self.net(noise, context) + noise @ self.get_buffer("to_points")
        both = both.reshape(-1, context.shape[0], 2 * horizon, dims)
        points, turned = torch.split(both, horizon, -2)
        scale = normalizer.speed_scale(frame)[..., None]
        cos, sin = torch.split(frame.heading * scale, 1, -1)
        if dims == 3:  # height is scaled and not turned
            cos = torch.cat((cos, cos, scale), -1)
        cos, sin = (part.reshape(-1, 1, int(part.shape[-1])) for part in (cos, sin))
        coast = frame.coast(horizon).reshape(-1, horizon, dims)
        return torch.addcmul(torch.addcmul(coast, points, cos), turned, sin)


Draw = Callable[..., tuple[Tensor, Tensor]]


def traced(sampler: Sampler, device: torch.device) -> Draw:
    """A sampler of one scene as a recorded graph, which spares most of what Python costs.

    An encoder whose graph depends on its input cannot be recorded: then the sampler is returned
    as it is. Whether it can is tried on scenes of other sizes [A, T, D].
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # recording warns of every size that it takes as fixed
            example = _example(sampler, (5, 2, 3), device)
            record = cast(Callable[..., Any], torch.jit.trace)
            recorded = record(sampler.eval(), example_kwarg_inputs=example, check_trace=False)
            graph: Draw = torch.jit.freeze(recorded)

            def draw(*given: Tensor, **named: Tensor) -> tuple[Tensor, Tensor]:
                # Else each new size is compiled anew.
                with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
                    return graph(*given, **named)

            for size in ((3, 1, 1), (21, 19, 4)):
                given = _example(sampler, size, device)
                for values, truth in zip(draw(**given), sampler(**given), strict=True):
                    torch.testing.assert_close(values, truth, rtol=1e-4, atol=1e-4)
    except (RuntimeError, AssertionError, TypeError, ValueError):
        return sampler
    return draw


def _example(
    sampler: Sampler, size: tuple[int, int, int], device: torch.device
) -> dict[str, Tensor]:
    """What a sampler is given of one scene: A agents, K of which are forecast, S samples."""
    agents, count, samples = size
    a, rng = sampler.model.architecture, torch.Generator().manual_seed(0)
    past = torch.randn(1, agents, a.history, a.dims, generator=rng).cumsum(2)
    past[:, -1, : a.history // 2] = torch.nan
    noise = torch.randn(samples, 1, count, a.horizon * a.dims, generator=rng)
    given = {"past": past, "noise": noise, "dt_ratio": torch.ones(1)}
    if a.memory:
        shape = (1, count, a.memory, a.history + a.horizon, a.dims + 1)
        given["memory"] = torch.randn(shape, generator=rng)
    if a.types:
        given["types"] = torch.randint(1 + len(a.types), (1, count), generator=rng)
    if sampler.sets:
        given["learned"] = torch.arange(samples) - 1
    return {name: value.to(device) for name, value in given.items()}


def _quarter_turn(horizon: int, dims: int) -> Tensor:
    """The matrix that turns each of F points by a quarter, x to y and y to -x, [F D, F D]."""
    turn = torch.zeros(dims, dims)
    turn[0, 1], turn[1, 0] = 1, -1
    return torch.kron(torch.eye(horizon), turn)
