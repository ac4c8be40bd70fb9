"""Agent frames: origin, heading and velocity, and the maps to local coordinates and back."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Turn autocast off: positions [*] need single precision also in mixed-precision training."""
    kind = like.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


@dataclass(frozen=True)
class Frame:
    """The frame of each agent at the present step.

    A local point is R^T (world point - origin), where R rotates the x axis to `heading`. So local
    coordinates are invariant to translation and rotation of the world.

    Attributes:
        origin: Present position, extrapolated at `velocity` since the last observation, [*, D].
        velocity: Last observed displacement per step, [*, D], world units per step.
        heading: Unit vector along the local x axis, in the world's x, y plane, [*, 2].
        speed: Mean distance covered per observed step of the past, [*].
        dt_ratio: Seconds per step over those of the training tracks, [*].
    """

    origin: Tensor
    velocity: Tensor
    heading: Tensor
    speed: Tensor
    dt_ratio: Tensor

    def to_local(self, points: Tensor) -> Tensor:
        """World points [*, T, D] in local coordinates."""
        return self.turn(points - self.origin.unsqueeze(-2), back=False)

    def to_world(self, points: Tensor) -> Tensor:
        """Local points [*, T, D] in world coordinates, the inverse of `to_local`."""
        return self.turn(points, back=True) + self.origin.unsqueeze(-2)

    def turn(self, vectors: Tensor, back: bool) -> Tensor:
        """Vectors [*, T, D] rotated into the frame's axes, or back into the world's."""
        rotation = self.rotation(int(vectors.shape[-1]))
        with full_precision(vectors):
            return vectors @ (rotation.transpose(-1, -2) if back else rotation)

    def rotation(self, dims: int) -> Tensor:
        """Matrices [*, D, D] that rotate row vectors into the frame's axes."""
        quarter = self.heading.new_tensor([[0.0, 1.0], [-1.0, 0.0]])
        with full_precision(self.heading):
            columns = [self.heading, self.heading @ quarter]
        if dims == 3:
            columns = [torch.nn.functional.pad(one, (0, 1)) for one in columns]
            columns.append(torch.zeros_like(columns[0]) + columns[0].new_tensor([0.0, 0.0, 1.0]))
        return torch.stack(columns, -1)

    def coast(self, horizon: int) -> Tensor:
        """World positions of the next F steps at constant velocity, [*, F, D]."""
        steps = torch.arange(1, horizon + 1, dtype=self.origin.dtype, device=self.origin.device)
        return self.origin.unsqueeze(-2) + steps[:, None] * self.velocity.unsqueeze(-2)

    def for_paths(self) -> "Frame":
        """The frames [*, 1], to broadcast over K paths of each agent, [*, K, T, D]."""
        along = self.speed.dim()
        return Frame(*(part.unsqueeze(along) for part in vars(self).values()))

    def take(self, rows: Tensor) -> "Frame":
        """The frames where a boolean mask [*] is true, [N]."""
        return Frame(*(part[rows] for part in vars(self).values()))


def observed(past: Tensor) -> Tensor:
    """Whether all coordinates of a step are finite, [*, T, D] -> [*, T]."""
    # NaN and infinity minus themselves are NaN; this takes two kernels, isfinite().all() six.
    return (past - past).sum(-1) == 0


@dataclass(frozen=True)
class PastSteps:
    """Pasts [*, T, D] as finite numbers and masks.

    Attributes:
        positions: World positions, zero where unseen, [*, T, D].
        seen: One where a step was seen, else zero, [*, T].
        displacements: World displacements to the last T - 1 steps, zero where either end was not
            seen, [*, T - 1, D].
        displacements_seen: One where both ends of a displacement were seen, else zero, [*, T - 1].
    """

    positions: Tensor
    seen: Tensor
    displacements: Tensor
    displacements_seen: Tensor

    @classmethod
    def of(cls, past: Tensor, seen: Tensor) -> "PastSteps":
        """From pasts [*, T, D] and a mask [*, T] of the steps that were seen."""
        positions, flag = past.where(seen.unsqueeze(-1), 0), seen.to(past)
        moved, both = positions[..., 1:, :] - positions[..., :-1, :], flag[..., 1:] * flag[..., :-1]
        return cls(positions, flag, moved * both.unsqueeze(-1), both)


def present_frame(past: Tensor, steps: int = 1, dt_ratio: Tensor | None = None) -> Frame:
    """Frames from pasts [*, T, D] whose unseen steps are not finite.

    The heading is the direction of the last displacement; if that is zero, of the whole past; if
    that is zero too, the world's x axis.

    Args:
        past: World positions.
        steps: Number of seen steps that the last displacement spans, if there are as many.
        dt_ratio: Seconds per step over those of the training tracks, broadcast to [*]; None: 1.

    Example:
        >>> import torch
        >>> from trajflow.models.frames import present_frame
        >>> frame = present_frame(torch.tensor([[[0.0, 0.0], [0.0, 2.0]]]))
        >>> frame.heading, frame.to_local(torch.tensor([[[0.0, 5.0]]]))
        (tensor([[0., 1.]]), tensor([[[3., 0.]]]))
    """
    return frame_of(PastSteps.of(past, observed(past)), steps, dt_ratio)


def frame_of(past: PastSteps, steps: int = 1, dt_ratio: Tensor | None = None) -> Frame:
    """Frames [*] from the steps of pasts [*, T, D]; see `present_frame`."""
    (present, displacement, whole), last, span = _seen_steps(past.positions, past.seen, steps)
    velocity = displacement / span.clamp_min(1)
    age = int(past.seen.shape[-1]) - 1 - last
    flat = (displacement, whole)
    if int(whole.shape[-1]) > 2:
        flat = (displacement[..., :2], whole[..., :2])
    heading = _heading(*flat)
    speed = past.displacements.norm(dim=-1).sum(-1) / past.displacements_seen.sum(-1).clamp_min(1)
    ratio = torch.ones_like(speed) if dt_ratio is None else dt_ratio.to(speed).expand_as(speed)
    return Frame(present + velocity * age, velocity, heading, speed, ratio)


def _seen_steps(
    positions: Tensor, seen: Tensor, steps: int
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """The last seen position and the ways to it from an earlier and the first one, 3 of [*, D].

    The earlier one is `steps` seen steps before the last. Also the index of the last seen step and
    the steps since the earlier one, [*, 1]. Without seen steps all values are zero.
    """
    count = seen.cumsum(-1) * seen  # 0 where unseen, else 1, 2, ...
    length = int(seen.shape[-1])
    offset = positions.new_tensor([0, -steps, -length])
    ordinal = (count.amax(-1, keepdim=True) + offset).clamp_min(1)
    # Rows select at most two steps each, so the products are exact.
    one_hot = (count.unsqueeze(-2) == ordinal.unsqueeze(-1)).to(positions)
    ways = positions.new_tensor([[1.0, 0, 0], [1, -1, 0], [1, 0, -1]])
    index = torch.arange(length, dtype=positions.dtype, device=positions.device)[:, None]
    with full_precision(positions):
        rows = ways @ one_hot
        selected, indices = rows @ positions, rows @ index
    parts = tuple(selected[..., k, :] for k in range(3))
    return parts, indices[..., 0, :], indices[..., 1, :]


def _heading(first: Tensor, second: Tensor) -> Tensor:
    """Unit vectors along the first vector that is not zero, else along x, [*, 2]."""
    vector = first.where(first.norm(dim=-1, keepdim=True) > 0, second)
    length = vector.norm(dim=-1, keepdim=True)
    zero = length == 0
    return torch.where(zero, vector.new_tensor([1.0, 0.0]), vector / length.masked_fill(zero, 1))
