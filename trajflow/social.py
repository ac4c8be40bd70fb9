"""What the agents of a scene mean for each other, seen by each in its own frame."""

import torch
from torch import Tensor, nn

from trajflow.errors import ConfigError


class SocialAttention(nn.Module):
    """Each agent attends to its nearest neighbours, placed in the agent's own frame.

    Moving or turning the scene changes nothing, nor does the order of the agents. A learned
    memory stands for "nobody", so an agent alone is well defined. A small network over pairs
    describes place, motion and closest approach of a neighbour; it enters the weights beside
    the keys and the result beside the values. Only the nearest neighbours are looked at, so
    the cost of a pair is paid per agent, not per square of agents.

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
                "heads and limit start at 1 and width must be a multiple of heads, "
                f"got width={width}, heads={heads}, limit={limit}"
            )
        self.heads, self.limit = heads, limit
        self.radius = float("inf") if radius is None else radius
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.pair = nn.Sequential(
            nn.Linear(2 * dims + 6, pairs), nn.SiLU(), nn.Linear(pairs, pairs), nn.SiLU()
        )
        self.query, self.place = nn.Linear(width, width), nn.Linear(width, heads * pairs)
        self.memory = nn.Linear(width, 2 * width)
        self.nobody = nn.Parameter(0.5 * torch.randn(1, 1, 2 * width))
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
        own, place, heading, motion = (
            x.where(present.view(*present.shape, *[1] * (x.dim() - 2)), 0)
            for x in (context, origin, heading, velocity)
        )
        axis = torch.stack((heading.cos(), heading.sin()), -1) if heading.dim() == 2 else heading
        asked = present if target is None else present & target
        rows = _rows(asked, every=target is None)
        mixed = self.at(own, place, axis, motion, present, rows)
        changed = own.scatter(1, rows[..., None].expand_as(mixed), mixed)
        return changed.where(asked[..., None], own)

    def at(
        self,
        context: Tensor,
        place: Tensor,
        axis: Tensor,
        motion: Tensor,
        present: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """The new contexts of the agents `rows` [B, N] alone, [B, N, H].

        Args:
            context: What each agent's own past gave, [B, A, H]; finite also for an absent one.
            place: Present positions in the world, [B, A, D].
            axis: Each agent's own x axis, unit vectors [B, A, ...] of two coordinates.
            motion: Displacement per step in the world, [B, A, D].
            present: Whether the agent is visible now, [B, A].
            rows: Places of the agents in their scenes.
        """
        near, valid = self._nearest(place, present, rows)
        pair = self.pair(_geometry(place, axis, motion, rows, near))
        return self._attend(context, pair, rows, near, valid)

    def heard(self, place: Tensor, present: Tensor, target: Tensor) -> Tensor:
        """The targets and those they attend to, [B, A]: nobody else's context matters to them.

        Args:
            place: Present positions in the world, [B, A, D].
            present: Whether the agent is visible now, [B, A].
            target: Agents whose context is asked for, [B, A].
        """
        place = place.where(present[..., None], 0)
        asked = present & target
        rows = _rows(asked, every=False)
        near, valid = self._nearest(place, present, rows)
        valid = valid & _at(asked, rows)[..., None]
        counts = asked.int().scatter_add(1, near.flatten(1), valid.flatten(1).int())
        return counts > 0

    def _nearest(self, place: Tensor, present: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest neighbours of the rows and whether they count, each [B, N, ...]."""
        agents = torch.arange(present.shape[1], device=rows.device)
        delta = place[:, None] - _at(place, rows)[:, :, None]
        distance = delta.detach().norm(dim=-1)
        barred = (agents == rows[..., None]) | ~present[:, None]
        distance = distance.masked_fill(barred, float("inf"))
        count = torch.sym_min(self.limit, agents.shape[0])  # type: ignore[no-untyped-call]
        distance, near = distance.topk(count, largest=False)
        return near, distance.isfinite() & (distance <= self.radius)

    def _attend(
        self, own: Tensor, pair: Tensor, rows: Tensor, near: Tensor, valid: Tensor
    ) -> Tensor:
        """The new contexts of the rows, [B, N, H], from all contexts, [B, A, H]."""
        normed = self.norm1(own)
        asking = _at(normed, rows)
        query, place = self._heads(self.query(asking)), self._heads(self.place(asking))
        key, value = (self._heads(x) for x in self.memory(normed).chunk(2, -1))
        lone_key, lone_value = (self._heads(x) for x in self.nobody.chunk(2, -1))
        fit = (place.transpose(1, 2) @ pair.mT).transpose(1, 2)
        fit = fit.masked_fill(~valid[:, None], float("-inf"))
        slots = near[:, None].expand_as(fit)
        scale = (query.shape[-1] + place.shape[-1]) ** -0.5
        score = (query @ key.mT).gather(-1, slots) + fit
        weight = torch.cat((score, query @ lone_key.mT), -1).mul(scale).softmax(-1)
        weight, lone = weight[..., :-1], weight[..., -1:]
        spread = weight.new_zeros(*weight.shape[:3], own.shape[1]).scatter(-1, slots, weight)
        mixed = (spread @ value + lone * lone_value).transpose(1, 2).flatten(2)
        placed = (weight.transpose(1, 2) @ pair).flatten(2)
        state = _at(own, rows) + self.merge(torch.cat((mixed, placed), -1))
        out: Tensor = state + self.feed(self.norm2(state))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """Each head's share of a vector, [B, heads, N, ...], from [B, N, ...]."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


def _rows(asked: Tensor, every: bool) -> Tensor:
    """Agents to compute in each scene, those asked for first, [B, N]."""
    scenes, agents = asked.shape
    if every:
        return torch.arange(agents, device=asked.device).expand(scenes, agents)
    most = max(asked.sum(1).tolist(), default=0)
    return asked.int().argsort(dim=1, descending=True, stable=True)[:, :most]


def _geometry(place: Tensor, axis: Tensor, velocity: Tensor, rows: Tensor, near: Tensor) -> Tensor:
    """Where a neighbour is, how it moves and how close it will come, [B, N, ...].

    Far positions are drawn in logarithmically: direction matters out there, metres do not.
    The closest approach is that of two straight lines.
    """
    own = _at(axis, rows)[:, :, None]
    delta = _turn(_at(place, near) - _at(place, rows)[:, :, None], own)
    motion = _turn(_at(velocity, near) - _at(velocity, rows)[:, :, None], own)
    facing = _turn(_at(axis, near), own)
    distance = delta.norm(dim=-1, keepdim=True)
    drawn = delta * (distance.log1p() / distance.clamp(min=1e-6))
    wait = (-(delta * motion).sum(-1, True) / (motion.square().sum(-1, True) + 1e-4)).clamp(min=0)
    closest = (delta + wait * motion).norm(dim=-1, keepdim=True)
    soft = [distance.log1p(), 1 / (1 + distance), 1 / (1 + wait), 1 / (1 + closest)]
    return torch.cat((drawn, motion, facing, *soft), -1)


def _at(x: Tensor, agents: Tensor) -> Tensor:
    """The entries of some agents of each scene, [B, ...], from [B, A, ...]."""
    scene = torch.arange(x.shape[0], device=x.device).view(-1, *[1] * (agents.dim() - 1))
    return x[scene, agents]


def _turn(vector: Tensor, axis: Tensor) -> Tensor:
    """World vectors in the frame whose x axis is given; a third coordinate stays, [..., D]."""
    x, y = vector[..., :1], vector[..., 1:2]
    cos, sin = axis[..., :1], axis[..., 1:2]
    return torch.cat((x * cos + y * sin, y * cos - x * sin, vector[..., 2:]), -1)
