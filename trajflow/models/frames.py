"""Each agent's own frame: where it is, where it heads, and how to get there and back."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Inside, positions [*] are whole also where networks compute in half precision."""
    kind = like.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


@dataclass(frozen=True)
class Frame:
    """An agent's present in world coordinates, a frame that moves with the world.

    Attributes:
        origin: Present position, carried on at `velocity` since it was last seen, [*, D].
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
        """Local coordinates of world points, [*, T, D] -> [*, T, D]."""
        return self.turn(points - self.origin.unsqueeze(-2), back=False)

    def to_world(self, points: Tensor) -> Tensor:
        """World coordinates of local points, [*, T, D] -> [*, T, D]; undoes `to_local`."""
        return self.turn(points, back=True) + self.origin.unsqueeze(-2)

    def turn(self, vectors: Tensor, back: bool) -> Tensor:
        """Vectors [*, T, D] turned into the frame's axes, or back into the world's."""
        rotation = self.rotation(int(vectors.shape[-1]))
        with full_precision(vectors):
            return vectors @ (rotation.transpose(-1, -2) if back else rotation)

    def rotation(self, dims: int) -> Tensor:
        """Matrices that turn rows of D coordinates into the frame's axes, [*, D, D]."""
        cos, sin = torch.split(self.heading, 1, -1)
        if dims == 2:
            return torch.unflatten(torch.cat([cos, -sin, sin, cos], -1), -1, (2, 2))
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rows = [cos, -sin, zero, sin, cos, zero, zero, zero, one]
        return torch.unflatten(torch.cat(rows, -1), -1, (3, 3))

    def coast(self, horizon: int) -> Tensor:
        """World positions at constant velocity over the next F steps, [*, F, D]."""
        steps = torch.arange(1, horizon + 1, dtype=self.origin.dtype, device=self.origin.device)
        return self.origin.unsqueeze(-2) + steps[:, None] * self.velocity.unsqueeze(-2)

    def for_paths(self) -> "Frame":
        """The frames [*, 1], for several paths of each agent, [*, K, T, D]."""
        along = self.speed.dim()
        return Frame(*(part.unsqueeze(along) for part in vars(self).values()))

    def take(self, rows: Tensor) -> "Frame":
        """The frames that a boolean mask [*] keeps, [N]."""
        return Frame(*(part[rows] for part in vars(self).values()))


def observed(past: Tensor) -> Tensor:
    """Whether every coordinate of a step was seen, [*, T, D] -> [*, T]."""
    # What is not finite is not even itself less itself: two kernels instead of six.
    return (past - past).sum(-1) == 0


@dataclass(frozen=True)
class PastSteps:
    """The steps of pasts [*, T, D] as numbers that are finite everywhere.

    Attributes:
        positions: World positions, zero where unseen, [*, T, D].
        seen: One where a step was seen, else zero, [*, T].
        moved: World displacements to the last T - 1 steps, [*, T - 1, D].
        both: One where both ends of a displacement were seen, else zero, [*, T - 1].
    """

    positions: Tensor
    seen: Tensor
    moved: Tensor
    both: Tensor

    @classmethod
    def of(cls, past: Tensor, seen: Tensor) -> "PastSteps":
        """The steps of pasts [*, T, D], seen where [*, T] says so."""
        positions, flag = past.where(seen.unsqueeze(-1), 0), seen.to(past)
        moved = positions[..., 1:, :] - positions[..., :-1, :]
        return cls(positions, flag, moved, flag[..., 1:] * flag[..., :-1])


def present_frame(past: Tensor, steps: int = 1, dt_ratio: Tensor | None = None) -> Frame:
    """Frames from pasts [*, T, D] whose unseen steps are not finite.

    The heading is that of the last displacement, else of the whole past, else the world's x axis:
    an agent that never moved has no direction to turn with.

    Args:
        past: World positions.
        steps: Seen steps that the last displacement spans, where so many were seen.
        dt_ratio: Seconds per step over those of the training tracks, like [*]; None: one.
    """
    return frame_of(PastSteps.of(past, observed(past)), steps, dt_ratio)


def frame_of(past: PastSteps, steps: int = 1, dt_ratio: Tensor | None = None) -> Frame:
    """Frames [*] from the steps of pasts [*, T, D]; see `present_frame`."""
    places, (last, before, _) = _marked(past.positions, past.seen, steps)
    there, earlier, begin = places.unbind(-2)
    moved = there - earlier
    velocity = moved / (last - before).clamp_min(1).unsqueeze(-1)
    age = (int(past.seen.shape[-1]) - 1 - last).unsqueeze(-1)
    whole = there - begin
    heading = _heading(moved[..., :2], whole[..., :2])
    each = torch.ones_like(last) if dt_ratio is None else dt_ratio.to(last).expand_as(last)
    lengths = past.moved.norm(dim=-1) * past.both
    speed = lengths.sum(-1) / past.both.sum(-1).clamp_min(1)
    return Frame(there + velocity * age, velocity, heading, speed, each)


def _marked(positions: Tensor, seen: Tensor, steps: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Places [*, 3, D] and numbers, 3 of [*], of the last step, `steps` before it, and the first.

    All count steps that were seen; where there was none, all is zero.
    """
    count = seen.cumsum(-1) * seen  # 0 where unseen, else 1, 2, ...
    length = int(seen.shape[-1])
    offset = positions.new_tensor([0, -steps, -length])
    ordinal = (count.amax(-1, keepdim=True) + offset).clamp_min(1)
    # At most one of each row is chosen, so the products only pick, and are exact.
    picks = (count.unsqueeze(-2) == ordinal.unsqueeze(-1)).to(positions)
    index = torch.arange(length, dtype=positions.dtype, device=positions.device)
    with full_precision(positions):
        places = picks @ positions
    return places, (picks * index).sum(-1).unbind(-1)


def _heading(moved: Tensor, whole: Tensor) -> Tensor:
    """Unit vectors along the first of two that has a length, else along x, [*, 2]."""
    vector = moved.where(moved.norm(dim=-1, keepdim=True) > 0, whole)
    length = vector.norm(dim=-1, keepdim=True)
    still = length == 0
    return torch.where(still, vector.new_tensor([1.0, 0.0]), vector / length.masked_fill(still, 1))
