"""Maps futures to whitened events of order one, and back."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trajflow.errors import DataError
from trajflow.models.frames import Frame, PastSteps, full_precision

WEIGHT_POWER = 0.5
"""Power of a component's deviation in its weight: 0 is equal weights, 2 is by variance."""


class FutureNormalizer(nn.Module):
    """A linear map between futures and whitened events, fitted on training tracks.

    The constant-velocity forecast is subtracted, the rest is rotated into the agent's frame,
    divided by `speed_scale`, and expressed in principal components of unit variance, like the
    noise. The first components are the event that a network learns; the others, a thousandth of the
    variance, remain Gaussian noise.

    Source: principal component analysis (Jolliffe, Principal Component Analysis, 2002, chapter 1).
    """

    displacement_scale: Tensor
    mean: Tensor
    deviation: Tensor
    axes: Tensor

    def __init__(self, horizon: int, dims: int, components: int = 8, floor: float = 1.0) -> None:
        """A map without scaling and rotation of components, until it is fitted.

        Args:
            horizon: Future steps F.
            dims: Coordinates D.
            components: Principal components in an event, at most F * D.
            floor: Floor of `speed_scale`, as a share of the displacement scale.
        """
        super().__init__()
        self.horizon, self.dims, self.floor = horizon, dims, floor
        self.size = horizon * dims
        self.components = min(components, self.size)
        self.register_buffer("displacement_scale", torch.ones(()))
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("deviation", torch.ones(self.size))
        self.register_buffer("axes", torch.eye(self.size))

    @property
    def weight(self) -> Tensor:
        """Weight of each component in a loss, [N], of mean one."""
        weight = self.deviation[: self.components] ** WEIGHT_POWER
        return weight / weight.mean()

    def speed_scale(self, frame: Frame) -> Tensor:
        """Scale of each agent's future, [*], world units per step: speed with a smooth floor."""
        floor = self.floor * self.displacement_scale * frame.dt_ratio
        return (frame.speed.square() + floor.square()).sqrt()

    def normalize(self, frame: Frame, future: Tensor) -> Tensor:
        """Events [*, N] of world futures [*, F, D]."""
        first = slice(self.components)
        with full_precision(future):
            components = (self._local(frame, future) - self.mean) @ self.axes[:, first]
        return components / self.deviation[first]

    def unnormalize(self, frame: Frame, event: Tensor, noise: Tensor) -> Tensor:
        """World futures [*, F, D] of events [*, N], with noise [*, F * D] for other components."""
        white = torch.cat([event, noise[..., self.components :]], -1)
        scaled = (white * self.deviation) @ self.axes.T + self.mean
        points = scaled.reshape(*scaled.shape[:-1], self.horizon, self.dims)
        local = points * self.speed_scale(frame)[..., None, None]
        return frame.turn(local, back=True) + frame.coast(self.horizon)

    def _local(self, frame: Frame, future: Tensor) -> Tensor:
        local = frame.turn(future - frame.coast(self.horizon), back=False)
        return (local / self.speed_scale(frame)[..., None, None]).flatten(-2)

    @torch.no_grad()
    def fit(self, tracks: Iterable[tuple[Frame, Tensor]]) -> None:
        """Fit the map to training frames [N] and their world futures [N, F, D].

        Raises:
            DataError: There are fewer than two futures.
        """
        pairs = list(tracks)
        if (count := sum(len(future) for _, future in pairs)) < 2:
            raise DataError(
                f"the training split has {count} window{'s' * (count != 1)}, and the normaliser "
                "is fitted on 2 or more; shorten data.history or data.horizon, or train on more "
                "tracks"
            )
        speeds = torch.cat([frame.speed for frame, _ in pairs])
        scale = speeds.square().mean().sqrt()
        self.displacement_scale.copy_(scale if scale > 0 else torch.ones(()))
        rows = torch.cat([self._local(*pair) for pair in pairs]).double()
        self.mean.copy_(rows.mean(0))
        values, vectors = torch.linalg.eigh(torch.cov(rows.T))
        deviation = values.flip(0).clamp_min(0).sqrt()
        self.deviation.copy_(deviation.clamp_min(1e-4 * float(deviation[0]) + 1e-9))
        self.axes.copy_(vectors.flip(1))


def features(frame: Frame, past: PastSteps, length: Tensor) -> Tensor:
    """Input of an encoder for each past step, [*, T, 2 D]: local position and displacement.

    Positions are divided by T * length, displacements by length. They are zero where the step, or
    for a displacement the step before it, was not seen.

    Args:
        frame: The agents' frames.
        past: The steps of their pasts.
        length: Length scale of a step, [*], in world units.
    """
    rotation = frame.rotation(int(past.positions.shape[-1])) / length[..., None, None]
    local = (past.positions - frame.origin.unsqueeze(-2)) @ rotation
    displacement = past.displacements @ rotation
    position = local * (past.seen / int(past.seen.shape[-1])).unsqueeze(-1)
    return torch.cat([position, nn.functional.pad(displacement, (0, 0, 1, 0))], -1)
