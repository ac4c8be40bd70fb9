"""A model as one graph of fixed operations: pasts and noise in, futures out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trajflow.batch import seen_now
from trajflow.flow import sample
from trajflow.frames import Frame, observed, present_frame
from trajflow.model import TrajectoryModel
from trajflow.surprise.sight import AGAIN
from trajflow.surprise.viewing import evaluations


class ContextGraph(nn.Module):
    """What the pasts say about the first agents of each scene, without a look at the numbers.

    A `TrajectoryModel` picks agents by masks, so the sizes of what it computes follow from its
    input's values. Here who is asked for stands first, and everybody is computed alike.
    """

    def __init__(self, model: TrajectoryModel) -> None:
        super().__init__()
        self.model = model
        self.unit = float(model.scaling.unit)

    def forward(
        self, past: Tensor, agents: int, rate: Tensor | None = None
    ) -> tuple[Tensor, Frame]:
        """Contexts [B, K, H] and frames [B, K] of the first `agents` of each scene.

        Args:
            past: World positions, [B, A, T, D]; not finite where unseen.
            agents: How many are asked for, the first ones; the others only stand around them.
            rate: Seconds per step over those that are usual, [B].
        """
        model = self.model
        seen = observed(past)
        known = seen.any(-1)
        told = rate[:, None] if rate is not None and model.architecture.rate else None
        frame = present_frame(past, model.architecture.heading_steps, told)
        read = model.read(frame, past, seen)
        context = model.encoder(read.flatten(0, 1), seen.flatten(0, 1))
        context = context.unflatten(0, known.shape)
        first = Frame(*(part[:, :agents] for part in vars(frame).values()))
        if model.social is None:
            return context[:, :agents], first
        rows = torch.arange(agents, device=past.device).expand(past.shape[0], agents)
        place = frame.origin / self.unit
        around = model.social.around_rows(place, seen_now(seen), rows, known[:, :agents])
        context = model.social.at(
            torch.where(known[..., None], context, 0),
            place,
            frame.heading,
            frame.velocity / self.unit,
            around,
        )
        return context, first


class ForecastGraph(nn.Module):
    """The first agents of each scene from noise to futures."""

    def __init__(self, model: TrajectoryModel, temperature: float, evaluations: int = 1) -> None:
        """Wrap a model.

        Args:
            model: What draws.
            temperature: Deviation that the noise is given.
            evaluations: Network evaluations per draw.
        """
        super().__init__()
        self.context = ContextGraph(model)
        self.model, self.temperature, self.evaluations = model, temperature, evaluations

    def forward(
        self, past: Tensor, noise: Tensor, rate: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Futures [S, B, K, F, D] in the past's coordinates, and contexts [B, K, H].

        Args:
            past: World positions about a point near each scene, [B, A, T, D]; not finite where
                unseen.
            noise: Normal numbers of every sample of the first K agents of each scene,
                [S, B, K, N] with N = F * D.
            rate: Seconds per step over those that are usual, [B].
        """
        context, frame = self.context(past, noise.shape[2], rate)
        futures = carried(
            self.model, past, context, frame, noise * self.temperature, self.evaluations
        )
        return futures, context


def carried(
    model: TrajectoryModel, past: Tensor, context: Tensor, frame: Frame, noise: Tensor, steps: int
) -> Tensor:
    """Futures that noise [S, B, K, N] is carried to, [S, B, K, F, D].

    Args:
        model: What draws.
        past: World positions, [B, A, T, D]: an agent that was never seen is none of its scene.
        context: Contexts, [B, K, H].
        frame: Frames, [B, K].
        noise: Noise of all components.
        steps: Network evaluations per draw.
    """
    joint = model.architecture.joint
    there = observed(past).any(-1)[:, : noise.shape[2]] if joint else None
    kept = noise[..., : model.scaling.components]
    event = sample(model.velocity(context, there), kept, steps, axes=2 if joint else 3)
    return model.scaling.future(frame, event, noise)


class SightGraph(nn.Module):
    """What a model makes of the first agents of each scene, as surprise looks at it."""

    def __init__(self, model: TrajectoryModel) -> None:
        super().__init__()
        self.context, self.model = ContextGraph(model), model
        self.steps = evaluations(model)

    def forward(self, past: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Contexts [B, K, H], futures [S, B, K, F, D], and again in twice the evaluations.

        Args:
            past: World positions about a point near each scene, [B, A, T, D]; not finite where
                unseen.
            noise: Noise of the first K agents of each scene, [S, B, K, N] with N = F * D, the same
                for all of them.
        """
        context, frame = self.context(past, noise.shape[2])
        once = carried(self.model, past, context, frame, noise, self.steps)
        twice = carried(self.model, past, context, frame, noise[:AGAIN], 2 * self.steps)
        return context, once, twice
