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
        sets: Learned samples whose noises may be drawn from, by their count; for one evaluation.

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
        self.encoder = model.encoder.folded()
        a, normalizer = model.architecture, model.normalizer
        unit = float(normalizer.displacement_scale)
        self.social = None if model.social is None else model.social.folded(unit)
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
            from_token = net.out_proj.weight[:, : net.width]
            rest = mean - velocity @ net.out_proj.bias
            out = torch.cat((-velocity @ from_token, temperature * to_points.T), 1)
        net.in_proj.weight = nn.Parameter(temperature * token, False)
        net.out_proj.weight = nn.Parameter(out, False)
        net.out_proj.bias = nn.Parameter(rest, False)
        self.register_buffer("to_world", _to_world(a.horizon, a.dims).to(whitened))

    def forward(
        self,
        past: Tensor,
        noise: Tensor,
        dt_ratio: Tensor | None = None,
        memory: Tensor | None = None,
        types: Tensor | None = None,
        learned_noises: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Futures [S + Q, B, K, F, D] in the past's coordinates, and contexts [B, K, H].

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
            learned_noises: Numbers of learned noises, counted through the sets by their size,
                [Q]; their futures come after those of `noise`. None: there are none.
        """
        a, normalizer = self.model.architecture, self.model.normalizer
        # Agents are rows of matrices, and sizes that are the same in every call are whole numbers,
        # so that shapes become constants.
        seen = observed(past)
        rows = seen.reshape(-1, a.history)
        steps = PastSteps.of(past.reshape(-1, a.history, a.dims), rows)
        ratio = None
        if dt_ratio is not None and a.condition_on_dt:
            ratio = dt_ratio[:, None].expand_as(seen[..., 0]).reshape(-1)
        frame = frame_of(steps, a.heading_steps, ratio)
        own = self.encoder(self.model.read(frame, steps), rows)
        axis = frame.heading
        if a.dims == 3:  # height is scaled and not turned
            axis = torch.cat((axis, torch.ones_like(axis[:, :1])), -1)
        motion = torch.cat((frame.origin, frame.velocity, axis), -1)
        scaled = axis * normalizer.speed_scale(frame)[:, None]
        # What the first K agents need is cut from one table.
        widths = [a.width, 3 * a.dims, a.dims]
        table = torch.cat((own, motion, scaled), -1).reshape(*past.shape[:2], sum(widths))
        count = noise.shape[2]
        first = table[:, :count].reshape(-1, sum(widths))
        context, motion_first, _ = torch.split(first, widths, -1)
        if self.social is not None:
            place, here = table[..., a.width : a.width + a.dims], seen_now(seen)
            context = self.social(own, motion, context, motion_first, place, here, count)
        full = context
        if memory is not None:
            paths = memory.reshape(-1, *map(int, memory.shape[2:]))
            full = full + self.model.from_memory(full, _first(frame, past, count, True), paths)
        full = self.model.with_types(full, None if types is None else types.reshape(-1))
        shape = (*past.shape[:1], count)
        if self.net is None:
            frame, seen_agents = _first(frame, past, count), seen[:, :count].any(-1)
            full, wide = full.reshape(*shape, a.width), noise * self.temperature
            futures = self.model.futures(full, frame, wide, self.evaluations, seen_agents)
        else:
            noises = noise.reshape(-1, normalizer.size)
            if learned_noises is not None:
                noises = torch.cat((noises, self._learned(context, learned_noises)))
            futures = self._points(noises, full, first[:, a.width :])
            futures = futures.reshape(-1, *shape, a.horizon, a.dims)
        return futures, context.reshape(*shape, a.width)

    def _learned(self, context: Tensor, learned: Tensor) -> Tensor:
        """Rows [Q * N, ...] of the learned noises [Q] for contexts [N, H]."""
        # Without learned samples no rows remain, and the layers cost nothing.
        own = context[: context.shape[0] * learned.shape[0]]
        noises = torch.cat([one(own)[0] for one in self.sets])[learned]
        # The layers widen all noise by the temperature, and learned noise is as wide as it is.
        missing = self.model.normalizer.size - int(noises.shape[-1])
        noises = nn.functional.pad(noises / self.temperature, (0, missing))
        return noises.reshape(-1, self.model.normalizer.size)

    def _points(self, noise: Tensor, context: Tensor, motion: Tensor) -> Tensor:
        """Futures [S, N, F * D] of noise [S * N, ...], contexts [N, H] and motion [N, 4 D]."""
        assert self.net is not None
        size = self.model.normalizer.size
        local = self.net(noise, context).reshape(-1, context.shape[0], 2 * size)
        coast, turned = torch.split(motion @ self.get_buffer("to_world"), [size, 2 * size], -1)
        along, across = torch.split(local * turned, size, -1)
        return coast + along + across


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
                pairs = zip(draw(**given), sampler(**given), strict=True)
                # torch.testing.assert_close would import sympy: 50 MB.
                if not all(torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in pairs):
                    return sampler
    except (RuntimeError, TypeError, ValueError):
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
        given["learned_noises"] = torch.arange(samples)
    return {name: value.to(device) for name, value in given.items()}


def _quarter_turn(horizon: int, dims: int) -> Tensor:
    """The matrix that turns each of F points by a quarter, x to y and y to -x, [F D, F D]."""
    turn = torch.zeros(dims, dims)
    turn[0, 1], turn[1, 0] = 1, -1
    return torch.kron(torch.eye(horizon), turn)


def _to_world(horizon: int, dims: int) -> Tensor:
    """What [origin, velocity, axis, scaled axis] of an agent is multiplied by, [4 D, 3 F D].

    It gives F positions at constant velocity, and the factors of local points and of those turned
    by a quarter.
    """
    steps, unit = torch.arange(1.0, horizon + 1), torch.eye(dims)
    along, across = torch.zeros(dims, dims), torch.zeros(dims, dims)
    along[0, :2] = across[1, :2] = 1
    along[2:, 2:] = 1
    coast = torch.cat((unit.repeat(1, horizon), torch.kron(steps, unit)))
    turned = torch.cat((along.repeat(1, horizon), across.repeat(1, horizon)), 1)
    pad = nn.functional.pad  # the axis itself counts for nothing
    return torch.cat((pad(coast, (0, turned.shape[1], 0, dims)), pad(turned, (coast.shape[1], 0))))


def _first(frame: Frame, past: Tensor, count: int, rows: bool = False) -> Frame:
    """Frames of the first K agents, [B, K] or as rows [B * K], of frames of all agents [B * A]."""
    parts = []
    for part in vars(frame).values():
        own = part.reshape(*past.shape[:2], *map(int, part.shape[1:]))[:, :count]
        parts.append(own.reshape(-1, *map(int, part.shape[1:])) if rows else own)
    return Frame(*parts)
