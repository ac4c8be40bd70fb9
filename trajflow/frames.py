"""Each agent's own frame: where it is, where it heads, and how to get there and back."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """An agent's present in world coordinates, a frame that moves with the world.

    Attributes:
        origin: Present position, carried on at `velocity` since it was last seen, [*, D].
        velocity: Last observed displacement per step, [*, D], world units per step.
        heading: Unit vector along the local x axis, in the world's x, y plane, [*, 2].
        pace: Mean distance covered per observed step of the past, [*].
        rate: Seconds per step over those that are usual, [*].
    """

    origin: Tensor
    velocity: Tensor
    heading: Tensor
    pace: Tensor
    rate: Tensor

    def enter(self, points: Tensor) -> Tensor:
        """Local coordinates of world points, [*, T, D] -> [*, T, D]."""
        return self.turn(points - self.origin.unsqueeze(-2), back=False)

    def leave(self, points: Tensor) -> Tensor:
        """World coordinates of local points, [*, T, D] -> [*, T, D]; undoes `enter`."""
        return self.turn(points, back=True) + self.origin.unsqueeze(-2)

    def turn(self, vectors: Tensor, back: bool) -> Tensor:
        """Vectors [*, T, D] turned into the frame's axes, or back into the world's."""
        cos, sin = self.heading.unsqueeze(-2).unbind(-1)
        sin = sin if back else -sin
        x, y = vectors[..., 0], vectors[..., 1]
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
        return torch.cat([turned, vectors[..., 2:]], -1)

    def coast(self, horizon: int) -> Tensor:
        """World positions at constant velocity over the next F steps, [*, F, D]."""
        steps = torch.arange(1, horizon + 1, dtype=self.origin.dtype, device=self.origin.device)
        return self.origin.unsqueeze(-2) + steps[:, None] * self.velocity.unsqueeze(-2)

    def take(self, rows: Tensor) -> "Frame":
        """The frames that a boolean mask [*] keeps, [N]."""
        return Frame(*(part[rows] for part in vars(self).values()))


def observed(past: Tensor) -> Tensor:
    """Whether every coordinate of a step was seen, [*, T, D] -> [*, T]."""
    return past.isfinite().all(-1)


def present_frame(past: Tensor, steps: int = 1, rate: Tensor | None = None) -> Frame:
    """Frames from pasts [*, T, D] whose unseen steps are not finite.

    The heading is that of the last displacement, else of the whole past, else the world's x axis:
    an agent that never moved has no direction to turn with.

    Args:
        past: World positions.
        steps: Seen steps that the last displacement spans, where so many were seen.
        rate: Seconds per step over those that are usual, broadcastable to [*]; None: one.
    """
    seen = observed(past)
    known = torch.where(seen.unsqueeze(-1), past, 0)
    index = torch.arange(past.shape[-2], device=past.device)
    last = torch.where(seen, index, -1).amax(-1)
    later = seen.flip(-1).cumsum(-1).flip(-1)
    first = torch.where(seen, index, past.shape[-2]).amin(-1)
    before = torch.where(seen & (later > 1) & (later <= steps + 1), index, past.shape[-2]).amin(-1)
    before = torch.where(before < past.shape[-2], before, -1)
    there, earlier, begin = (_at(known, index) for index in (last, before, first))
    gap = torch.where(before >= 0, last - before, 1).unsqueeze(-1)
    moved = torch.where((before >= 0).unsqueeze(-1), there - earlier, 0)
    velocity = moved / gap
    heading = _unit(moved[..., :2], _unit(there[..., :2] - begin[..., :2], _x_axis(moved)))
    age = (past.shape[-2] - 1 - last).unsqueeze(-1)
    ones = torch.ones_like(velocity[..., 0])
    each = ones if rate is None else ones * rate
    return Frame(there + velocity * age, velocity, heading, _pace(known, seen), each)


def _at(points: Tensor, index: Tensor) -> Tensor:
    """Points [*, T, D] at one step each, [*, D]; an index outside takes the nearest step."""
    index = index.clamp(0, points.shape[-2] - 1)
    return points.gather(-2, index[..., None, None].expand(*index.shape, 1, points.shape[-1]))[
        ..., 0, :
    ]


def _unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    length = vector.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, vector / torch.where(length > 0, length, 1), otherwise)


def _x_axis(like: Tensor) -> Tensor:
    axis = torch.zeros_like(like[..., :2])
    axis[..., 0] = 1
    return axis


def _pace(known: Tensor, seen: Tensor) -> Tensor:
    both = seen[..., 1:] & seen[..., :-1]
    lengths = torch.where(both, (known[..., 1:, :] - known[..., :-1, :]).norm(dim=-1), 0)
    return lengths.sum(-1) / both.sum(-1).clamp_min(1)
