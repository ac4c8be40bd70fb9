"""How futures become events of unit size, and back: coasting removed, paced, whitened."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trajflow.frames import Frame, observed


class Scaling(nn.Module):
    """A linear map, fitted on training tracks, between local futures and white events.

    A future is taken relative to constant velocity, divided by the agent's own pace (never below
    a share of the usual pace, so a standing agent is as well defined as a running one), and
    whitened: over the training tracks an event has mean zero and unit covariance, like the noise.
    """

    unit: Tensor
    mean: Tensor
    whiten: Tensor
    colour: Tensor

    def __init__(self, horizon: int, dims: int, floor: float = 0.3) -> None:
        super().__init__()
        self.horizon, self.dims, self.floor = horizon, dims, floor
        size = horizon * dims
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("whiten", torch.eye(size))
        self.register_buffer("colour", torch.eye(size))

    def pace(self, frame: Frame) -> Tensor:
        """Length that counts as one for each agent, [*], in world units per step."""
        return (frame.pace.square() + (self.floor * self.unit).square()).sqrt()

    def event(self, frame: Frame, future: Tensor) -> Tensor:
        """Events [*, N] with N = F * D of world futures [*, F, D]."""
        return (self._deviation(frame, future) - self.mean) @ self.whiten

    def future(self, frame: Frame, event: Tensor) -> Tensor:
        """World futures [*, F, D] of events [*, N] with N = F * D; undoes `event`."""
        paced = (event @ self.colour + self.mean).unflatten(-1, (self.horizon, self.dims))
        local = paced * self.pace(frame)[..., None, None]
        return frame.turn(local, back=True) + frame.coast(self.horizon)

    def _deviation(self, frame: Frame, future: Tensor) -> Tensor:
        local = frame.turn(future - frame.coast(self.horizon), back=False)
        return (local / self.pace(frame)[..., None, None]).flatten(-2)

    @torch.no_grad()
    def fit(self, tracks: Iterable[tuple[Frame, Tensor]]) -> None:
        """Set the map from training frames [N] and their world futures [N, F, D]."""
        pairs = list(tracks)
        paces = torch.cat([frame.pace for frame, _ in pairs])
        usual = paces.square().mean().sqrt()
        self.unit.copy_(usual if usual > 0 else torch.ones(()))
        rows = torch.cat([self._deviation(*pair) for pair in pairs]).double()
        self.mean.copy_(rows.mean(0))
        values, vectors = torch.linalg.eigh(torch.cov(rows.T))
        deviation = values.clamp_min(0).sqrt().clamp_min(1e-3 * float(values[-1]) ** 0.5 + 1e-9)
        self.whiten.copy_(vectors / deviation)
        self.colour.copy_((vectors * deviation).T)


def features(frame: Frame, past: Tensor, unit: Tensor) -> Tensor:
    """What an encoder reads of each past step, [*, T, D] -> [*, T, 2 D].

    Local position over the distance usual in T steps, and displacement over the usual pace; both
    are not finite where the step, or for a displacement the one before, was not seen.
    """
    local = frame.enter(past)
    moved = torch.cat([torch.full_like(local[..., :1, :], torch.nan), local.diff(dim=-2)], -2)
    pair = torch.cat([local / (unit * past.shape[-2]), moved / unit], -1)
    return torch.where(observed(past).unsqueeze(-1), pair.nan_to_num(0.0, 0.0, 0.0), torch.nan)
