"""A trajectory model: frame, encoder and decoder, which together are u(x, r, t | past)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from trajflow import encoders
from trajflow.batch import seen_now
from trajflow.decoder import Decoder
from trajflow.duals import Dual
from trajflow.flow import MeanFlowObjective, instantaneous, sample
from trajflow.flow.derivative import Along
from trajflow.flow.path import Velocity
from trajflow.frames import Frame, observed, present_frame
from trajflow.scaling import Scaling, features
from trajflow.social import Around, SocialAttention


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the shapes of a model's weights; stored with the run.

    Attributes:
        history: Past steps T.
        horizon: Future steps F.
        dims: Coordinates D.
        encoder: Name of the encoder.
        options: Keywords of the encoder's constructor.
        social: Whether agents attend to their neighbours.
        joint: Whether the samples of a scene's agents are drawn together.
        width: Width of the context.
        decoder_width, decoder_depth: Size of the decoder.
        components: Principal components of a future that the decoder moves.
        average: Whether u was trained between different times (all presets but `flow`).
        pace_floor: Least pace that futures are measured by, as a share of the usual one.
        heading_steps: Last steps whose mean displacement gives heading and velocity.
        own_pace: Whether a past is read relative to the agent's own pace, and that beside it.
        rate: Whether the network is told the seconds per step.
    """

    history: int
    horizon: int
    dims: int = 2
    encoder: str = "gru"
    options: tuple[tuple[str, object], ...] = ()
    social: bool = True
    joint: bool = False
    width: int = 128
    decoder_width: int = 256
    decoder_depth: int = 4
    components: int = 8
    average: bool = True
    pace_floor: float = 1.0
    heading_steps: int = 1
    own_pace: bool = False
    rate: bool = False


@dataclass(frozen=True)
class ContextVelocity:
    """u(x, r, t | context) of the agents of one context.

    Attributes:
        decoder: The network.
        modulations: What it makes of the contexts.
        present: For joint drawing, the agents that are drawn, [B, A].
        joint: Whether times are one per scene, and agents see each other.
    """

    decoder: Decoder
    modulations: list[Tensor]
    present: Tensor | None = None
    joint: bool = False

    def __call__(self, x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """The velocity at x [*, N] over the times r and t [*]."""
        r, t = (r.unsqueeze(-1), t.unsqueeze(-1)) if self.joint else (r, t)
        velocity: Tensor = self.decoder(x, r, t, self.modulations, self.present)
        return velocity

    def along(
        self,
        point: tuple[Tensor, Tensor, Tensor],
        direction: tuple[Tensor, Tensor, Tensor],
        still: bool,
    ) -> Along | None:
        """The velocity and its slope; None where agents see each other."""
        if self.joint:
            return None
        x, r, t = (Dual(*pair, still) for pair in zip(point, direction, strict=True))
        found = self.decoder.along(x, r, t, self.modulations)
        return Along(found.value, found.slope)


class TrajectoryModel(nn.Module):
    """Draws futures of agents from their pasts; world coordinates in, world coordinates out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.scaling = Scaling(a.horizon, a.dims, a.components, a.pace_floor)
        channels = 2 * a.dims + a.own_pace + a.rate
        self.encoder = encoders.build(a.encoder, channels, a.width, **dict(a.options))
        self.social = SocialAttention(a.width, dims=a.dims) if a.social else None
        self.decoder = Decoder(
            self.scaling.components, a.width, a.decoder_width, a.decoder_depth, a.joint
        )

    def fit_scaling(self, scenes: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Fit the scaling on triples past [B, A, T, D], future [B, A, F, D], target [B, A]."""
        self.scaling.fit(
            (present_frame(past[target], self.architecture.heading_steps), future[target])
            for past, future, target in scenes
        )

    def context(
        self, past: Tensor, target: Tensor | int, rate: Tensor | None = None
    ) -> tuple[Tensor, Frame]:
        """What the pasts say about each agent, [B, A, H], and the agents' frames, [B, A].

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            target: Agents whose context is wanted, [B, A], each seen at one step at least. The
                others are neighbors, if they are seen at the present step. A number K stands for
                the first K agents of each scene, [B, K, H] and [B, K]: then no size depends on
                values, which is what an exported graph needs.
            rate: Seconds per step over those the scaling was fitted at, [B]; None: one. Only a
                model of several rates looks at it.
        """
        seen = observed(past)
        known = seen.any(-1)
        told = rate[:, None] if rate is not None and self.architecture.rate else None
        frame = present_frame(past, self.architecture.heading_steps, told)
        read = self.read(frame, past, seen)
        if not isinstance(target, Tensor):
            return self._context_of_first(target, frame, read, seen)
        social = self.social
        if social is None:
            return self._encoded(read, seen, known), frame
        unit = self.scaling.unit
        place = frame.origin / unit
        here, asked = seen_now(seen), known & target
        around = social.around(place, here, asked)
        heard = self._heard(around, here | asked)
        own = self._encoded(read, seen, heard)
        context = social.at(own, place, frame.heading, frame.velocity / unit, around)
        return around.spread(context, own), frame

    def _context_of_first(
        self, count: int, frame: Frame, read: Tensor, seen: Tensor
    ) -> tuple[Tensor, Frame]:
        """Contexts [B, K, H] and frames [B, K] of the first agents of each scene."""
        known = seen.any(-1)
        own = self.encoder(read.flatten(0, 1), seen.flatten(0, 1)).unflatten(0, known.shape)
        own = torch.where(known[..., None], own, 0)
        first = Frame(*(part[:, :count] for part in vars(frame).values()))
        if self.social is None:
            return own[:, :count], first
        rows = torch.arange(count, device=seen.device).expand(seen.shape[0], count)
        place, moved = frame.origin / self.scaling.unit, frame.velocity / self.scaling.unit
        around = self.social.around_rows(place, seen_now(seen), rows, known[:, :count])
        return self.social.at(own, place, frame.heading, moved, around), first

    def _encoded(self, read: Tensor, seen: Tensor, heard: Tensor) -> Tensor:
        """What the encoder says of some agents' own pasts, [B, A, H]; zero for the others."""
        some = heard.nonzero(as_tuple=True)
        context = read.new_zeros(*heard.shape, self.architecture.width)
        return context.index_put(some, self.encoder(read[some], seen[some]))

    def _heard(self, around: Around, present: Tensor) -> Tensor:
        """Agents whose contexts matter, [B, A]; only a forecast asks, where it spares most."""
        if torch.is_grad_enabled() or around.near.numel() >= int(present.sum()):
            return present
        return around.heard(present)

    def read(self, frame: Frame, past: Tensor, seen: Tensor) -> Tensor:
        """What the encoder reads of each past step, [B, A, T, ...]; not finite where unseen."""
        usual = self.scaling.unit * frame.rate
        length = self.scaling.pace(frame) if self.architecture.own_pace else usual
        parts = [features(frame, past, length)]
        if self.architecture.own_pace:
            parts.append(_channel((length / usual).log(), seen))
        if self.architecture.rate:
            parts.append(_channel(frame.rate.log(), seen))
        return torch.cat(parts, -1).where(seen.unsqueeze(-1), torch.nan)

    def velocity(self, context: Tensor, present: Tensor | None = None) -> Velocity:
        """u(x, r, t | context) for events x [*, N], contexts broadcastable to [*, H].

        For a joint model the axis before the last holds the agents of a scene, `present` [B, A]
        says which of them are drawn, and times are one per scene.
        """
        u = ContextVelocity(self.decoder, self.decoder.modulations(context))
        if self.architecture.joint:
            u = replace(u, present=present, joint=True)
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
        rate: Tensor | None = None,
    ) -> Tensor:
        """Mean loss over the targets and over `draws` noise draws that share one encoder pass.

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            future: World positions, [B, A, F, D]; those of the targets count.
            target: Agents that are learned from, [B, A].
            objective: What is minimised.
            progress: Share of the training that is done.
            draws: Noise draws for each agent, or for each scene if the model is joint.
            generator: Source of noise and times.
            dropout: Share of the numbers of a context that are dropped.
            rate: Seconds per step over those that are usual, [B]; see `context`.
        """
        context, frame = self.context(past, target, rate)
        if dropout > 0:
            chance = torch.rand(context.shape, device=context.device, generator=generator)
            context = context * (chance >= dropout) / (1 - dropout)
        weight = self.scaling.weight
        if self.architecture.joint:
            event = self.scaling.event(frame, future)
            event = torch.where(target.unsqueeze(-1), event, 0)
            u, weight = self.velocity(context, target), weight * target.unsqueeze(-1)
        else:
            event = self.scaling.event(frame.take(target), future[target])
            u = self.velocity(context[target])
        data = event.expand(draws, *event.shape)
        loss = objective(u, data, progress, 2, weight, generator)
        return self._by_agents(loss, target) if self.architecture.joint else loss.mean()

    def _by_agents(self, loss: Tensor, target: Tensor) -> Tensor:
        agents = target.sum(-1).to(loss)
        return (loss * agents).sum() / (loss.shape[0] * agents.sum()).clamp_min(1)

    def forecast(
        self,
        past: Tensor,
        target: Tensor,
        samples: int,
        steps: int = 1,
        generator: Generator | None = None,
        rate: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Futures of the targets, [S, N, F, D] with N the number of targets, world coordinates.

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            target: Agents to forecast, [B, A]. One who was never seen changes nobody's futures,
                and its own mean nothing.
            samples: Draws S of each agent, or of each scene if the model is joint.
            steps: Network evaluations per draw.
            generator: Source of the noise.
            rate: Seconds per step over those that are usual, [B]; see `context`.
            temperature: Deviation of the noise; above 1 the futures are wider.
        """
        context, frame = self.context(past, target, rate)
        known = target & observed(past).any(-1)
        noise = self.noise(target, samples, generator, temperature)
        return self.futures_of(target, context, frame, noise, steps, known)

    def noise(
        self,
        target: Tensor,
        samples: int,
        generator: Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Noise of the N targets [B, A], [S, N, ...], or of whole scenes if the model is joint."""
        shape = target.shape if self.architecture.joint else (int(target.sum()),)
        unit = self.scaling.unit
        noise = torch.randn(
            samples,
            *shape,
            self.scaling.size,
            dtype=unit.dtype,
            device=unit.device,
            generator=generator,
        )
        return noise * temperature

    def futures_of(
        self,
        target: Tensor,
        context: Tensor,
        frame: Frame,
        noise: Tensor,
        steps: int = 1,
        known: Tensor | None = None,
    ) -> Tensor:
        """Futures [S, N, F, D] of the N targets [B, A] from what `context` and `noise` gave.

        `known` [B, A] are the agents that are part of their scene; see `futures`.
        """
        if not self.architecture.joint:
            return self.futures(context[target], frame.take(target), noise, steps)
        return self.futures(context, frame, noise, steps, known)[:, target]

    def futures(
        self,
        context: Tensor,
        frame: Frame,
        noise: Tensor,
        steps: int = 1,
        known: Tensor | None = None,
    ) -> Tensor:
        """Futures that noise is carried to, [S, *, F, D], world coordinates.

        Args:
            context: Contexts of agents, [*, H]; of a joint model those of whole scenes, [B, A, H].
            frame: Their frames, [*].
            noise: Noise of each future, [S, *, N]: of all components, or of those the decoder
                moves, and then nothing is added for the others.
            steps: Network evaluations per draw.
            known: For a joint model, the agents that are part of their scene, [B, A]; None: all.
        """
        joint = self.architecture.joint
        if joint and known is None:
            known = context.new_ones(context.shape[:2], dtype=torch.bool)
        kept = noise[..., : self.scaling.components]
        axes = noise.dim() - (2 if joint else 1)
        event = sample(self.velocity(context, known), kept, steps, axes=axes)
        rest = self.scaling.size - noise.shape[-1]
        noise = nn.functional.pad(noise, (0, rest)) if rest else noise
        return self.scaling.future(frame, event, noise)


def _channel(value: Tensor, seen: Tensor) -> Tensor:
    """A number of each agent [*] at each of its steps [*, T], [*, T, 1]."""
    return value[..., None, None].expand(*seen.shape, 1)
