"""Each agent's own frame: where it is, where it heads, and how to get there and back."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


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
        cos, sin = self.heading.unsqueeze(-2).unbind(-1)
        sin = sin if back else -sin
        x, y = vectors[..., 0], vectors[..., 1]
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
        return torch.cat([turned, vectors[..., 2:]], -1)

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


def present_frame(past: Tensor, steps: int = 1, dt_ratio: Tensor | None = None) -> Frame:
    """Frames from pasts [*, T, D] whose unseen steps are not finite.

    The heading is that of the last displacement, else of the whole past, else the world's x axis:
    an agent that never moved has no direction to turn with.

    Args:
        past: World positions.
        steps: Seen steps that the last displacement spans, where so many were seen.
        dt_ratio: Seconds per step over those of the training tracks, like [*]; None: one.
    """
    seen = observed(past)
    positions = past.where(seen.unsqueeze(-1), 0)
    places, (last, before, _) = _marked(positions, seen, steps)
    there, earlier, begin = places.unbind(-2)
    moved = there - earlier
    velocity = moved / (last - before).clamp_min(1).unsqueeze(-1)
    age = (past.shape[-2] - 1 - last).unsqueeze(-1)
    ones = torch.ones_like(last)
    each = ones if dt_ratio is None else ones * dt_ratio
    heading = _heading(moved[..., :2], (there - begin)[..., :2])
    return Frame(there + velocity * age, velocity, heading, _speed(positions, seen), each)


def _marked(positions: Tensor, seen: Tensor, steps: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Places [*, 3, D] and numbers, 3 of [*], of the last step, `steps` before it, and the first.

    All count steps that were seen; where there was none, all is zero.
    """
    count = seen.cumsum(-1)
    total = count[..., -1:]
    ordinal = torch.cat([total, (total - steps).clamp_min(1), torch.ones_like(total)], -1)
    chosen = (count.unsqueeze(-2) == ordinal.unsqueeze(-1)) & seen.unsqueeze(-2)
    # One of each row is chosen, so the sums only pick, and are exact in any precision.
    picks = chosen.to(positions)
    index = torch.arange(seen.shape[-1], dtype=positions.dtype, device=positions.device)
    places = (picks.unsqueeze(-1) * positions.unsqueeze(-3)).sum(-2)
    return places, (picks * index).sum(-1).unbind(-1)


def _heading(moved: Tensor, whole: Tensor) -> Tensor:
    """Unit vectors along the first of two that has a length, else along x, [*, 2]."""
    length = moved.norm(dim=-1, keepdim=True)
    some = length > 0
    vector = moved.where(some, whole)
    length = length.where(some, whole.norm(dim=-1, keepdim=True))
    still = length == 0
    unit: Tensor = vector / length.masked_fill(still, 1)
    return unit + nn.functional.pad(still.to(vector), (0, 1))


def _speed(positions: Tensor, seen: Tensor) -> Tensor:
    both = seen[..., 1:] & seen[..., :-1]
    lengths = positions.diff(dim=-2).norm(dim=-1) * both
    speed: Tensor = lengths.sum(-1) / both.sum(-1).clamp_min(1)
    return speed
