"""The trajectory model: frames, encoder and decoder, together u(x, r, t | past)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from trajflow.flow import MeanFlowObjective, Slice, instantaneous, sample
from trajflow.flow.path import Velocity
from trajflow.models.frames import Frame, PastSteps, frame_of, observed, present_frame
from trajflow.models.normalizer import FutureNormalizer, features
from trajflow.nn import encoders
from trajflow.nn.jvp import Dual
from trajflow.nn.memory_attention import MemoryAttention
from trajflow.nn.social_attention import NeighborIndex, SocialAttention
from trajflow.nn.velocity_net import VelocityNet
from trajflow.types import seen_now


@dataclass(frozen=True)
class Architecture:
    """Everything that determines the shapes of a model's weights; stored with them.

    Attributes:
        history: Past steps T.
        horizon: Future steps F.
        dims: Coordinates D.
        encoder: Name of the encoder.
        encoder_options: Keywords of the encoder's constructor.
        social: Whether agents attend to their neighbors.
        joint: Whether the samples of a scene's agents are drawn together.
        width: Width of the context.
        decoder_width, decoder_depth: Size of the decoder.
        components: Principal components of a future that the decoder moves.
        average: Whether u is trained with r < t (all presets except `flow`).
        speed_floor: Least speed that futures are scaled by, as a share of the displacement scale.
        heading_steps: Last steps whose mean displacement gives heading and velocity.
        own_speed: Whether pasts are scaled by the agent's own speed, which is then an input.
        condition_on_dt: Whether the seconds per step are an input.
        memory: Number of earlier tracks through the present position that are an input; 0: none.
        types: Names of the agent types that are an input; empty: none.
    """

    history: int
    horizon: int
    dims: int = 2
    encoder: str = "gru"
    encoder_options: tuple[tuple[str, object], ...] = ()
    social: bool = True
    joint: bool = False
    width: int = 128
    decoder_width: int = 256
    decoder_depth: int = 4
    components: int = 8
    average: bool = True
    speed_floor: float = 1.0
    heading_steps: int = 1
    own_speed: bool = False
    condition_on_dt: bool = False
    memory: int = 0
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContextVelocity:
    """u(x, r, t | context) with the contexts filled in.

    Attributes:
        velocity_net: The network.
        modulations: Modulations of its layers from the contexts.
        seen_agents: For a joint model, the agents that are drawn, [B, A].
        joint: Whether times are per scene, and agents attend to each other.
    """

    velocity_net: VelocityNet
    modulations: list[Tensor]
    seen_agents: Tensor | None = None
    joint: bool = False

    def __call__(self, x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """The velocity at x [*, N] over the times r and t [*]."""
        r, t = (r.unsqueeze(-1), t.unsqueeze(-1)) if self.joint else (r, t)
        velocity: Tensor = self.velocity_net(x, r, t, self.modulations, self.seen_agents)
        return velocity

    def jvp(
        self,
        point: tuple[Tensor, Tensor, Tensor],
        direction: tuple[Tensor, Tensor, Tensor],
        create_graph: bool,
    ) -> tuple[Tensor, Tensor] | None:
        """The velocity and its derivative, see `flow.HasJVP`; None for a joint model."""
        if self.joint:
            return None
        x, r, t = (Dual(*pair, create_graph) for pair in zip(point, direction, strict=True))
        velocity = self.velocity_net.jvp(x, r, t, self.modulations)
        return velocity.primal, velocity.tangent


@dataclass(frozen=True)
class BatchPart:
    """Position of some scenes in a batch, among its scenes and its targets; None: all of it."""

    scenes: Slice | None = None
    targets: Slice | None = None


class TrajectoryModel(nn.Module):
    """Draws futures of agents from their pasts, both in world coordinates.

    Source: You, Liu, He, Modular MeanFlow, 2025, for u; `social_attention`, `velocity_net` and
    `normalizer` name the sources of the parts.

    Example:
        >>> import torch
        >>> from trajflow.models.trajectory_model import Architecture, TrajectoryModel
        >>> model = TrajectoryModel(Architecture(history=8, horizon=12)).eval()
        >>> past, target = torch.randn(1, 3, 8, 2).cumsum(2), torch.ones(1, 3, dtype=torch.bool)
        >>> with torch.no_grad():
        ...     model.forecast(past, target, samples=20).shape
        torch.Size([20, 3, 12, 2])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.normalizer = FutureNormalizer(a.horizon, a.dims, a.components, a.speed_floor)
        channels = 2 * a.dims + a.own_speed + a.condition_on_dt
        self.encoder = encoders.build(a.encoder, channels, a.width, **dict(a.encoder_options))
        self.social = SocialAttention(a.width, dims=a.dims) if a.social else None
        self.velocity_net = VelocityNet(
            self.normalizer.components, a.width, a.decoder_width, a.decoder_depth, a.joint
        )
        # Last, so that the random weights of the others do not depend on these.
        self.memory = MemoryAttention(a.width, a.history + a.horizon, a.dims) if a.memory else None
        self.types = nn.Embedding(1 + len(a.types), a.width) if a.types else None
        if self.types is not None:
            nn.init.zeros_(self.types.weight)

    def fit_normalizer(self, scenes: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Fit the normalizer on triples past [B, A, T, D], future [B, A, F, D], target [B, A]."""
        self.normalizer.fit(
            (present_frame(past[target], self.architecture.heading_steps), future[target])
            for past, future, target in scenes
        )

    def context(
        self, past: Tensor, target: Tensor, dt_ratio: Tensor | None = None
    ) -> tuple[Tensor, Frame]:
        """Contexts of the agents, [B, A, H], and their frames, [B, A].

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            target: Agents whose contexts are needed, [B, A], each seen at one step or more. The
                others are neighbors, if they are seen at the present step.
            dt_ratio: Seconds per step over those of the training tracks, [B]; None: 1. Used only by
                a model with `condition_on_dt`.
        """
        seen = observed(past)
        seen_agents = seen.any(-1)
        ratio = (
            dt_ratio[:, None]
            if dt_ratio is not None and self.architecture.condition_on_dt
            else None
        )
        steps = PastSteps.of(past, seen)
        frame = frame_of(steps, self.architecture.heading_steps, ratio)
        read = self.read(frame, steps)
        social = self.social
        if social is None:
            return self._encoded(read, seen, seen_agents), frame
        unit = self.normalizer.displacement_scale
        place = frame.origin / unit
        index = social.neighbor_index(place, seen_now(seen), seen_agents & target)
        needed = self._needed(index, self.encoded(seen, target))
        own = self._encoded(read, seen, needed)
        context = social.at(own, place, frame.heading, frame.velocity / unit, index)
        return index.spread(context, own), frame

    def encoded(self, seen: Tensor, target: Tensor) -> Tensor:
        """Agents whose pasts the encoder reads in training, [B, A], from steps seen [B, A, T].

        A forecast may read fewer, see `_needed`.
        """
        seen_agents = seen.any(-1)
        return seen_agents if self.social is None else seen_now(seen) | (seen_agents & target)

    def with_memory(self, context: Tensor, frame: Frame, memory: Tensor | None) -> Tensor:
        """Contexts with information on earlier tracks at the same place, [*, H].

        The context of an agent without memory is unchanged to the last bit. The out-of-distribution
        detector and learned samples read contexts without memory.

        Args:
            context: Contexts of the agents, [*, H].
            frame: Their frames, [*].
            memory: Positions of earlier tracks and their ages in steps, [*, K, W, D + 1]; not
                finite where unknown.
        """
        if self.memory is None or memory is None:
            return context
        has_memory = observed(memory).any((-1, -2))
        if not bool(has_memory.any()):
            return context
        rows = context[has_memory]
        change = self.from_memory(rows, frame.take(has_memory), memory[has_memory])
        return context.index_put((has_memory,), rows + change)

    def with_types(self, context: Tensor, types: Tensor | None) -> Tensor:
        """Contexts with the agents' types, [*, H].

        Neighbors and the out-of-distribution detector read contexts without types.

        Args:
            context: Contexts of the agents, [*, H].
            types: Codes of their types, [*]: 1 + the index in `Architecture.types`; 0 if unknown.
                None: all are unknown.
        """
        if self.types is None:
            return context
        embedding: Tensor = self.types.weight[0] if types is None else self.types(types)
        return context + embedding

    def from_memory(self, context: Tensor, frame: Frame, memory: Tensor) -> Tensor:
        """Change of contexts by memory, [*, H]; zero without memory.

        Arguments are those of `with_memory`. No shape depends on values, as an export needs it.
        """
        assert self.memory is not None
        dims, steps = self.architecture.dims, torch.arange(memory.shape[-2], device=memory.device)
        path = frame.for_paths().to_local(memory[..., :dims])
        path = path / self._length(frame)[..., None, None, None]
        # Steps since the agent of a path was nearest; all steps of a path give the same number.
        age = memory[..., dims] + (steps - (self.architecture.history - 1))
        age = torch.where(age == age, age, 0).amax(-1)
        change: Tensor = self.memory(context, path, age)
        return change

    def _length(self, frame: Frame) -> Tensor:
        """Length scale of pasts and memory, [*], in world units per step."""
        if self.architecture.own_speed:
            return self.normalizer.speed_scale(frame)
        return self.normalizer.displacement_scale * frame.dt_ratio

    def _encoded(self, read: Tensor, seen: Tensor, needed: Tensor) -> Tensor:
        """Encodings of the needed agents' own pasts, [B, A, H]; zero for the others."""
        rows = needed.nonzero(as_tuple=True)
        context = read.new_zeros(*needed.shape, self.architecture.width)
        return context.index_put(rows, self.encoder(read[rows], seen[rows]).to(context.dtype))

    def _needed(self, index: NeighborIndex, seen_agents: Tensor) -> Tensor:
        """Agents to encode, [B, A]; in a forecast only targets and neighbors if that is cheaper."""
        if torch.is_grad_enabled() or index.neighbors.numel() >= int(seen_agents.sum()):
            return seen_agents
        return index.needed(seen_agents)

    def read(self, frame: Frame, past: PastSteps) -> Tensor:
        """Input of the encoder for each past step, [B, A, T, ...]; zero where unseen."""
        length = self._length(frame)
        parts, ratios = [features(frame, past, length)], []
        if self.architecture.own_speed:
            ratios.append(length / (self.normalizer.displacement_scale * frame.dt_ratio))
        if self.architecture.condition_on_dt:
            ratios.append(frame.dt_ratio)
        if ratios:
            logs = torch.stack(ratios, -1).log()
            parts.append(logs[..., None, :] * past.seen.unsqueeze(-1))
        return torch.cat(parts, -1)

    def velocity(self, context: Tensor, seen_agents: Tensor | None = None) -> Velocity:
        """u(x, r, t | context) for events x [*, N], contexts broadcastable to [*, H].

        For a joint model the axis before the last is the agents of a scene, `seen_agents` [B, A]
        marks those that are drawn, and times are per scene.
        """
        u = ContextVelocity(self.velocity_net, self.velocity_net.modulations(context))
        if self.architecture.joint:
            u = replace(u, seen_agents=seen_agents, joint=True)
        return u if self.architecture.average else instantaneous(u)

    def forward(
        self,
        past: Tensor,
        future: Tensor,
        target: Tensor,
        objective: MeanFlowObjective,
        progress: float,
        draws: int = 1,
        generator: Generator | None = None,
        dropout: float = 0.0,
        dt_ratio: Tensor | None = None,
        memory: Tensor | None = None,
        types: Tensor | None = None,
        part: BatchPart | None = None,
    ) -> Tensor:
        """Mean loss over the targets and `draws` noise draws, which share one encoder pass.

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            future: World positions, [B, A, F, D]; only those of targets are used.
            target: Agents to train on, [B, A].
            objective: The loss.
            progress: Share of the training that is done.
            draws: Noise draws for each agent, or for each scene if the model is joint.
            generator: Source of noise and times.
            dropout: Share of the numbers of a context that are set to zero.
            dt_ratio: Seconds per step over those of the training tracks, [B]; see `context`.
            memory: Earlier tracks of others, [B, A, K, W, D + 1]; see `with_memory`.
            types: Codes of the agents' types, [B, A]; see `with_types`.
            part: Position of these scenes in the batch for which noise, times and dropout are
                drawn; None: they are the batch.
        """
        part = part or BatchPart()
        context, frame = self.context(past, target, dt_ratio)
        context = self.with_types(self.with_memory(context, frame, memory), types)
        if dropout > 0:
            shape = part.scenes.shape(context.shape, 0) if part.scenes else context.shape
            uniform = torch.rand(shape, device=context.device, generator=generator)
            uniform = part.scenes.cut(uniform, 0) if part.scenes else uniform
            context = context * (uniform >= dropout) / (1 - dropout)
        weight = self.normalizer.weight
        if self.architecture.joint:
            event = self.normalizer.normalize(frame, future)
            event = torch.where(target.unsqueeze(-1), event, 0)
            u, weight = self.velocity(context, target), weight * target.unsqueeze(-1)
        else:
            event = self.normalizer.normalize(frame.take(target), future[target])
            u = self.velocity(context[target])
        data = event.expand(draws, *event.shape)
        events = part.scenes if self.architecture.joint else part.targets
        loss = objective(u, data, progress, 2, weight, generator, events)
        return self._mean_over_agents(loss, target) if self.architecture.joint else loss.mean()

    def _mean_over_agents(self, loss: Tensor, target: Tensor) -> Tensor:
        agents = target.sum(-1).to(loss)
        return (loss * agents).sum() / (loss.shape[0] * agents.sum()).clamp_min(1)

    def forecast(
        self,
        past: Tensor,
        target: Tensor,
        samples: int,
        steps: int = 1,
        generator: Generator | None = None,
        dt_ratio: Tensor | None = None,
        temperature: float = 1.0,
        memory: Tensor | None = None,
        types: Tensor | None = None,
    ) -> Tensor:
        """Futures [S, N, F, D] of the N targets; see `forecast_with_context`."""
        return self.forecast_with_context(
            past, target, samples, steps, generator, dt_ratio, temperature, memory, types
        )[0]

    def forecast_with_context(
        self,
        past: Tensor,
        target: Tensor,
        samples: int,
        steps: int = 1,
        generator: Generator | None = None,
        dt_ratio: Tensor | None = None,
        temperature: float = 1.0,
        memory: Tensor | None = None,
        types: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Futures [S, N, F, D] of the N targets, world coordinates, and their contexts [N, H].

        The contexts are those without memory and types.

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            target: Agents to forecast, [B, A]. The futures of an agent that was never seen are
                meaningless; it does not change those of others.
            samples: Draws S of each agent, or of each scene if the model is joint.
            steps: Network evaluations per draw.
            generator: Source of the noise.
            dt_ratio: Seconds per step over those of the training tracks, [B]; see `context`.
            temperature: Deviation of the noise; above 1 futures spread more.
            memory: Earlier tracks of others, [B, A, K, W, D + 1]; see `with_memory`.
            types: Codes of the agents' types, [B, A]; see `with_types`.
            noise: Normal numbers of each target, [S, N, F * D]; None: from the generator.
        """
        context, frame = self.context(past, target, dt_ratio)
        seen_agents = target & observed(past).any(-1)
        if noise is None:
            noise = self.noise(target, samples, generator)
        elif self.architecture.joint:
            scenes = past.new_zeros(samples, *target.shape, self.normalizer.size)
            scenes[:, target] = noise
            noise = scenes
        full = self.with_types(self.with_memory(context, frame, memory), types)
        futures = self.futures_of(target, full, frame, noise * temperature, steps, seen_agents)
        return futures, context[target]

    def noise(self, target: Tensor, samples: int, generator: Generator | None = None) -> Tensor:
        """Noise for the N targets [B, A], [S, N, F * D]; [S, B, A, F * D] for a joint model."""
        shape = target.shape if self.architecture.joint else (int(target.sum()),)
        size = (samples, *shape, self.normalizer.size)
        dtype = self.normalizer.displacement_scale.dtype
        return torch.randn(size, dtype=dtype, device=target.device, generator=generator)

    def futures_of(
        self,
        target: Tensor,
        context: Tensor,
        frame: Frame,
        noise: Tensor,
        steps: int = 1,
        seen_agents: Tensor | None = None,
    ) -> Tensor:
        """Futures [S, N, F, D] of the N targets [B, A] from contexts and noise of all agents.

        `seen_agents` [B, A] are the agents of a joint model's scenes; see `futures`.
        """
        if not self.architecture.joint:
            return self.futures(context[target], frame.take(target), noise, steps)
        return self.futures(context, frame, noise, steps, seen_agents)[:, target]

    def futures(
        self,
        context: Tensor,
        frame: Frame,
        noise: Tensor,
        steps: int = 1,
        seen_agents: Tensor | None = None,
    ) -> Tensor:
        """Futures from noise, [S, *, F, D], world coordinates.

        Args:
            context: Contexts of agents, [*, H]; for a joint model of whole scenes, [B, A, H].
            frame: Their frames, [*].
            noise: Noise of each future, [S, *, N], for all components of a future, or only for
                those of the decoder; the others are then zero.
            steps: Network evaluations per draw.
            seen_agents: For a joint model, the agents of each scene, [B, A]; None: all.
        """
        joint = self.architecture.joint
        if joint and seen_agents is None:
            seen_agents = context.new_ones(context.shape[:2], dtype=torch.bool)
        start = noise[..., : self.normalizer.components]
        axes = noise.dim() - (2 if joint else 1)
        event = sample(self.velocity(context, seen_agents), start, steps, axes=axes)
        rest = self.normalizer.size - noise.shape[-1]
        noise = nn.functional.pad(noise, (0, rest)) if rest else noise
        return self.normalizer.unnormalize(frame, event, noise)
