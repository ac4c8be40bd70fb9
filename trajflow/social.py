"""What the agents of a scene mean for each other, seen by each in its own frame."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from trajflow.errors import ConfigError


class SocialAttention(nn.Module):
    """Each agent attends to its nearest neighbours, placed in the agent's own frame.

    Moving or turning the scene changes nothing, nor does the order of the agents. A learned
    key stands for "nobody", so an agent alone is well defined. Geometry enters the weights as
    a bias and the result as a value, both from one small network over pairs; only the nearest
    neighbours are looked at, so the cost grows with the agents and not with their square.

    Lengths should be of order one (metres, or pixels after a scale).

    Args:
        width: Length H of a context, a multiple of heads.
        heads: Attention heads.
        limit: How many neighbours an agent attends to, the nearest.
        radius: Distance beyond which nobody is attended to; None: no such bound.
        pairs: Width of the network over pairs.
        dims: Coordinates D, 2 or 3; heading turns the first two.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        limit: int = 16,
        radius: float | None = None,
        pairs: int = 32,
        dims: int = 2,
    ) -> None:
        super().__init__()
        if heads < 1 or limit < 1 or width % heads:
            raise ConfigError(
                f"width must be a multiple of heads and limit at least 1, "
                f"got width={width}, heads={heads}, limit={limit}"
            )
        self.heads, self.limit = heads, limit
        self.radius = float("inf") if radius is None else radius
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.memory = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.nobody = nn.Parameter(0.02 * torch.randn(2 * width))
        self.pair = nn.Sequential(
            nn.Linear(2 * dims + 6, pairs), nn.SiLU(), nn.Linear(pairs, pairs), nn.SiLU()
        )
        self.bias = nn.Linear(pairs, heads)
        self.merge = nn.Linear(width + heads * pairs, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        context: Tensor,
        origin: Tensor,
        heading: Tensor,
        velocity: Tensor,
        present: Tensor,
        target: Tensor | None = None,
    ) -> Tensor:
        """Contexts that know of the neighbours, [B, A, H]; zero for an absent agent.

        Args:
            context: What each agent's own past gave, [B, A, H].
            origin: Present positions in the world, [B, A, D].
            heading: Direction of each agent's own x axis in the world, an angle [B, A] in
                radians or unit vectors [B, A, ...] of two coordinates.
            velocity: Displacement per step in the world, [B, A, D].
            present: Whether the agent is visible now, [B, A]; what an absent one holds does
                not matter.
            target: Agents whose context is asked for, [B, A]; the others keep theirs. All by
                default.
        """
        axis = torch.stack((heading.cos(), heading.sin()), -1) if heading.dim() == 2 else heading
        seen = present[..., None]
        own = context.where(seen, 0)
        place, axis, motion = (x.where(seen, 0).flatten(0, 1) for x in (origin, axis, velocity))
        rows = _rows(present, target)
        near, valid = self._nearest(origin.where(seen, 0), present, rows)
        pair = self.pair(_geometry(place, axis, motion, rows, near))
        mixed = self._attend(own.flatten(0, 1), pair, rows, near, valid)
        if target is None:
            return mixed.view_as(own).where(seen, 0)
        return own.flatten(0, 1).index_copy(0, rows, mixed).view_as(own).where(seen, 0)

    def _nearest(self, origin: Tensor, present: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the nearest neighbours and whether they count, each [N, limit]."""
        agents = present.shape[1]
        scene, agent = rows // max(agents, 1), rows % max(agents, 1)
        delta = origin[scene] - origin.flatten(0, 1)[rows][:, None]
        distance = delta.detach().norm(dim=-1)
        itself = torch.arange(agents, device=rows.device) == agent[:, None]
        distance = distance.masked_fill(itself | ~present[scene], float("inf"))
        distance, near = distance.topk(min(self.limit, agents), largest=False)
        valid = distance.isfinite() & (distance <= self.radius)
        return near + scene[:, None] * agents, valid

    def _attend(
        self, own: Tensor, pair: Tensor, rows: Tensor, near: Tensor, valid: Tensor
    ) -> Tensor:
        """New contexts of the rows, [N, H], from all contexts, [N, H]."""
        normed = self.norm1(own)
        query = self.query(normed[rows]).unflatten(-1, (self.heads, -1))[:, :, None]
        memory = embedding(near, self.memory(normed))
        nobody = self.nobody.expand(len(rows), 1, -1)
        memory = torch.unflatten(torch.cat((memory, nobody), 1), -1, (2, self.heads, -1))
        key, value = memory.permute(2, 0, 3, 1, 4)
        bias = self.bias(pair).masked_fill(~valid[..., None], float("-inf")).transpose(1, 2)
        score = (query @ key.mT)[:, :, 0] / key.shape[-1] ** 0.5
        weight = (score + nn.functional.pad(bias, (0, 1))).softmax(-1)
        mixed = (weight[:, :, None] @ value).flatten(1)
        placed = (weight[..., :-1] @ pair).flatten(1)
        state = own[rows] + self.merge(torch.cat((mixed, placed), -1))
        out: Tensor = state + self.feed(self.norm2(state))
        return out


def _rows(present: Tensor, target: Tensor | None) -> Tensor:
    if target is None:
        return torch.arange(present.numel(), device=present.device)
    return (target & present).flatten().nonzero()[:, 0]


def _geometry(origin: Tensor, axis: Tensor, velocity: Tensor, rows: Tensor, near: Tensor) -> Tensor:
    """Where a neighbour is, how it moves and how close it will come, [N, A, ...].

    Far positions are drawn in logarithmically: direction matters out there, metres do not.
    The closest approach is that of two straight lines.
    """
    own = axis[rows][:, None]
    delta = _turn(origin[near] - origin[rows][:, None], own)
    motion = _turn(velocity[near] - velocity[rows][:, None], own)
    facing = _turn(axis[near], own)
    distance = delta.norm(dim=-1, keepdim=True)
    drawn = delta * (distance.log1p() / distance.clamp(min=1e-6))
    wait = (-(delta * motion).sum(-1, True) / (motion.square().sum(-1, True) + 1e-4)).clamp(min=0)
    closest = (delta + wait * motion).norm(dim=-1, keepdim=True)
    soft = [distance.log1p(), 1 / (1 + distance), 1 / (1 + wait), 1 / (1 + closest)]
    return torch.cat((drawn, motion, facing, *soft), -1)


def _turn(vector: Tensor, axis: Tensor) -> Tensor:
    """World vectors in the frame whose x axis is given; a third coordinate stays, [..., D]."""
    x, y = vector[..., :1], vector[..., 1:2]
    cos, sin = axis[..., :1], axis[..., 1:2]
    return torch.cat((x * cos + y * sin, y * cos - x * sin, vector[..., 2:]), -1)
