"""What the agents of a scene mean for each other, seen by each in its own frame."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from trajflow.errors import ConfigError
from trajflow.nn.layers import linear_of


@dataclass(frozen=True)
class NeighborIndex:
    """Whom some agents of each scene look at.

    Attributes:
        rows: Places of N agents in their scenes, [B, N]; those after the wanted ones only fill.
        wanted: Whether their context is wanted, [B, N].
        neighbors: Places of the nearest neighbors of each, [B, N, ...].
        neighbor_mask: Whether these count, [B, N, ...].
    """

    rows: Tensor
    wanted: Tensor
    neighbors: Tensor
    neighbor_mask: Tensor

    def needed(self, present: Tensor) -> Tensor:
        """Those wanted and whom they look at, among agents [B, A]: nobody else matters."""
        counts = present.new_zeros(present.shape, dtype=torch.int)
        counts = counts.scatter_add(1, self.rows, self.wanted.int())
        valid = self.neighbor_mask & self.wanted[..., None]
        return counts.scatter_add(1, self.neighbors.flatten(1), valid.flatten(1).int()) > 0

    def spread(self, mixed: Tensor, own: Tensor) -> Tensor:
        """Contexts [B, A, H]: what the wanted agents made of theirs, `own` of all others."""
        chosen = mixed.where(self.wanted[..., None], at(own, self.rows))
        return own.scatter(1, self.rows[..., None].expand_as(mixed), chosen)


class SocialAttention(nn.Module):
    """Each agent attends to its nearest neighbors, placed in the agent's own frame.

    Moving or turning the scene changes nothing, nor does the order of the agents. A learned
    memory stands for "nobody", so an agent alone is well defined. A small network over pairs
    describes place, motion and closest approach of a neighbor; it enters the weights beside
    the keys and the result beside the values. Only the nearest neighbors are looked at, so
    the cost of a pair is paid per agent, not per square of agents.

    Lengths should be of order one (metres, or pixels after a scale).

    Args:
        width: Length H of a context, a multiple of heads.
        heads: Attention heads.
        limit: How many neighbors an agent attends to, the nearest.
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
        """Contexts that know of the neighbors, [B, A, H]; zero for an absent agent.

        Args:
            context: What each agent's own past gave, [B, A, H].
            origin: Present positions in the world, [B, A, D].
            heading: Direction of each agent's own x axis in the world, an angle [B, A] in
                radians or unit vectors [B, A, ...] of two coordinates.
            velocity: Displacement per step in the world, [B, A, D].
            present: Whether the agent is visible now, [B, A]; what an absent one holds does
                not matter.
            target: Agents whose context is wanted, [B, A]; the others keep theirs. All by
                default.
        """
        own, place, heading, motion = (
            x.where(present.view(*present.shape, *[1] * (x.dim() - 2)), 0)
            for x in (context, origin, heading, velocity)
        )
        axis = torch.stack((heading.cos(), heading.sin()), -1) if heading.dim() == 2 else heading
        index = self.neighbor_index(place, present, None if target is None else present & target)
        return index.spread(self.at(own, place, axis, motion, index), own)

    def neighbor_index(
        self, place: Tensor, present: Tensor, target: Tensor | None = None
    ) -> NeighborIndex:
        """Whom agents look at, the targets first.

        Args:
            place: Present positions in the world, [B, A, D].
            present: Whether the agent is visible now, [B, A]; only such agents are neighbors.
            target: Agents who look around, [B, A], visible now or not; None: all who are visible.
        """
        if target is None:
            rows = torch.arange(present.shape[1], device=present.device).expand(present.shape)
            return self.index_of_rows(place, present, rows, present)
        most = max(target.sum(1).tolist(), default=0)
        sure, rows = target.int().sort(dim=1, descending=True, stable=True)
        return self.index_of_rows(place, present, rows[:, :most], sure[:, :most] > 0)

    def index_of_rows(
        self, place: Tensor, present: Tensor, rows: Tensor, wanted: Tensor
    ) -> NeighborIndex:
        """Whom the agents `rows` [B, N] look at, of which `wanted` [B, N] count."""
        agents = torch.arange(present.shape[1], device=rows.device)
        delta = place[:, None] - at(place, rows)[:, :, None]
        distance = delta.detach().norm(dim=-1)
        barred = (agents == rows[..., None]) | ~present[:, None]
        distance = distance.masked_fill(barred, float("inf"))
        count = torch.sym_min(self.limit, agents.shape[0])  # type: ignore[no-untyped-call]
        distance, neighbors = distance.topk(count, largest=False)
        valid = distance < float("inf")
        return NeighborIndex(rows, wanted, neighbors, valid & (distance <= self.radius))

    def at(
        self, context: Tensor, place: Tensor, axis: Tensor, motion: Tensor, index: NeighborIndex
    ) -> Tensor:
        """The new contexts of the agents that look around alone, [B, N, H].

        Args:
            context: What each agent's own past gave, [B, A, H]; finite also for an absent one.
            place: Present positions in the world, [B, A, D].
            axis: Each agent's own x axis, unit vectors [B, A, ...] of two coordinates.
            motion: Displacement per step in the world, [B, A, D].
            index: From `neighbor_index`.
        """
        pair = self.pair(_geometry(place, axis, motion, index.rows, index.neighbors))
        return self._attend(context, pair, index)

    def _attend(self, own: Tensor, pair: Tensor, index: NeighborIndex) -> Tensor:
        """The new contexts of the rows, [B, N, H], from all contexts, [B, A, H]."""
        normed, own_rows = self.norm1(own), at(own, index.rows)
        attending = self.norm1(own_rows)
        query, place = _heads(self.heads, self.query(attending)), self.place(attending)
        place = torch.unflatten(place, -1, (self.heads, -1))
        # Nobody stands first among those who are attended to.
        nobody = self.nobody.expand(own.shape[0], 1, -1)
        key, value = torch.cat((nobody, self.memory(normed)), 1).chunk(2, -1)
        fit = (place @ pair.mT).masked_fill(~index.neighbor_mask.unsqueeze(2), float("-inf"))
        fit = pad(fit, (1, 0))
        slots = pad(index.neighbors + 1, (1, 0)).unsqueeze(2).expand_as(fit)
        score = (query @ _heads(self.heads, key).mT).transpose(1, 2)
        scale = (query.shape[-1] + place.shape[-1]) ** -0.5
        weight = ((score.gather(-1, slots) + fit) * scale).softmax(-1)
        spread = torch.zeros_like(score, dtype=weight.dtype).scatter(-1, slots, weight)
        mixed = (spread.transpose(1, 2) @ _heads(self.heads, value)).transpose(1, 2)
        placed = weight[..., 1:] @ pair
        state = own_rows + self.merge(torch.cat((mixed.flatten(2), placed.flatten(2)), -1))
        out: Tensor = state + self.feed(self.norm2(state))
        return out

    def folded(self) -> "FoldedSocialAttention":
        """The same attention of the first agents of each scene in fewer operations."""
        return FoldedSocialAttention(self)


class FoldedSocialAttention(nn.Module):
    """The `SocialAttention` of the first K agents of each scene, for inference.

    Query, place and the fit of the "nobody" key are one product, whose weights hold the scale;
    the "nobody" value is one more row of `merge`.
    """

    def __init__(self, social: SocialAttention) -> None:
        super().__init__()
        social = copy.deepcopy(social).requires_grad_(False)
        self.heads, self.limit, self.radius = social.heads, social.limit, social.radius
        self.norm1, self.norm2, self.feed = social.norm1, social.norm2, social.feed
        self.pair, self.memory = social.pair, social.memory
        width, shared = social.query.in_features, social.place.out_features
        self.sizes = [width, shared, self.heads]
        scale = ((width + shared) / self.heads) ** -0.5
        key, value = torch.unflatten(social.nobody[0, 0], 0, (2, self.heads, -1))
        per_head = torch.unflatten(social.query.weight, 0, (self.heads, -1))
        fit = torch.einsum("hdw,hd->hw", per_head, key)
        fit_bias = (torch.unflatten(social.query.bias, 0, (self.heads, -1)) * key).sum(-1)
        self.attend = linear_of(
            scale * torch.cat((social.query.weight, social.place.weight, fit)),
            scale * torch.cat((social.query.bias, social.place.bias, fit_bias)),
        )
        mixed = torch.unflatten(social.merge.weight[:, :width], 1, (self.heads, -1))
        nobody = torch.einsum("whd,hd->wh", mixed, value)
        self.merge = linear_of(torch.cat((social.merge.weight, nobody), 1), social.merge.bias)
        # Axes enter less the agent's own, which is (1, 0) in its own frame.
        first = self.pair[0]
        assert isinstance(first, nn.Linear)
        axis = (first.in_features - 6) // 2 * 2
        self.pair[0] = linear_of(first.weight, first.bias + first.weight[:, axis])

    def forward(
        self,
        own: Tensor,
        place: Tensor,
        axis: Tensor,
        motion: Tensor,
        rotation: Tensor,
        here: Tensor,
        count: int,
    ) -> Tensor:
        """Contexts of the first K agents that know of their neighbors, [B, K, H].

        Args:
            own: What each agent's own past gave, [B, A, H]; finite also for an absent one.
            place: Present positions in the world, [B, A, D].
            axis: Each agent's own x axis, unit vectors [B, A, ...] of two coordinates.
            motion: Displacement per step in the world, [B, A, D].
            rotation: Matrices [B, K, D, D] that turn rows into the frames of the first K.
            here: Whether the agent is visible now, [B, A].
            count: K.
        """
        scenes, width = own.shape[0], int(own.shape[-1])
        neighbors, valid = self._nearest(place, here, count)
        geometry = self._geometry(place, axis, motion, rotation, neighbors)
        pair = self.pair(geometry.reshape(scenes, count, self.limit, -1))
        normed = self.norm1(own)
        key, value = torch.split(self.memory(normed), width, -1)
        attend = self.attend(normed[:, :count].reshape(-1, width))
        query, shared, nobody = (
            part.reshape(scenes, count, self.heads, -1)
            for part in torch.split(attend, self.sizes, -1)
        )
        key, value = (
            part.reshape(scenes, -1, self.heads, width // self.heads).transpose(1, 2)
            for part in (key, value)
        )
        score = (query.transpose(1, 2) @ key.transpose(2, 3)).transpose(1, 2)
        slots = neighbors.unsqueeze(2).expand(scenes, count, self.heads, self.limit)
        fit = score.gather(-1, slots) + shared @ pair.transpose(2, 3)
        fit = fit.masked_fill(~valid.unsqueeze(2), float("-inf"))
        weight = torch.cat((nobody, fit), -1).softmax(-1)
        none, weight = torch.split(weight, [1, self.limit], -1)
        # Added, since empty slots share a place with the first agent.
        spread = torch.zeros_like(score).scatter_add(-1, slots, weight)
        mixed = (spread.transpose(1, 2) @ value).transpose(1, 2)
        read = zip((mixed, weight @ pair, none), self.sizes, strict=True)
        parts = torch.cat([part.reshape(-1, size) for part, size in read], -1)
        state = own[:, :count].reshape(-1, width) + self.merge(parts)
        out: Tensor = state + self.feed(self.norm2(state))
        return out.reshape(scenes, count, width)

    def _nearest(self, place: Tensor, here: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The nearest neighbors of the first K agents, and whether they count, [B, K, N]."""
        agents = torch.arange(place.shape[1], device=place.device)
        other = agents != agents[:count, None]
        distance = (place[:, None] - place[:, :count, None]).norm(dim=-1)
        distance = distance.where(here[:, None] & other, float("inf"))
        # Slots that stay empty in a small scene keep the number of neighbors fixed.
        padded = pad(distance, (0, self.limit), value=float("inf"))
        distance, neighbors = padded.topk(self.limit, largest=False)
        valid = distance < float("inf") if self.radius == float("inf") else distance <= self.radius
        return neighbors.where(valid, 0), valid

    def _geometry(
        self, place: Tensor, axis: Tensor, motion: Tensor, rotation: Tensor, neighbors: Tensor
    ) -> Tensor:
        """As the function of this name; here axes are less the agent's own, [B * K * N, ...]."""
        dims, count = int(place.shape[-1]), neighbors.shape[1]
        axis = pad(axis, (0, 1)) if dims == 3 else axis
        kinematics = torch.cat((place, motion, axis), -1)
        delta = at(kinematics, neighbors) - kinematics[:, :count, None]
        turned = delta.reshape(-1, count, 3 * self.limit, dims) @ rotation
        delta, motion, axis = torch.split(turned.reshape(-1, 3 * dims), dims, -1)
        return _described(delta, motion, axis[..., :2])


def _geometry(
    place: Tensor, axis: Tensor, velocity: Tensor, rows: Tensor, neighbors: Tensor
) -> Tensor:
    """Where a neighbor is, how it moves and how close it will come, [B, N, ...].

    Far positions are drawn in logarithmically: direction matters out there, metres do not.
    The closest approach is that of two straight lines.
    """
    dims = place.shape[-1]
    kinematics = torch.cat((place, velocity, axis), -1)
    own_rows = at(kinematics, rows).unsqueeze(2)
    delta = at(kinematics, neighbors) - pad(own_rows[..., : 2 * dims], (0, 2))
    vectors = torch.unflatten(pad(delta, (0, dims - 2)), -1, (3, dims))
    turned = _turn(vectors, own_rows[..., None, 2 * dims :])
    return _described(turned[..., 0, :], turned[..., 1, :], turned[..., 2, :2])


def _described(delta: Tensor, motion: Tensor, axis: Tensor) -> Tensor:
    """Numbers that a network reads of a neighbor's place, motion and axis, [*, ...]."""
    distance = delta.norm(dim=-1, keepdim=True)
    soft = distance.log1p()
    drawn = delta * (soft / distance.clamp(min=1e-6))
    wait = (-(delta * motion).sum(-1, True) / (motion.square().sum(-1, True) + 1e-4)).clamp(min=0)
    closest = (delta + wait * motion).norm(dim=-1, keepdim=True)
    close = 1 / (1 + torch.cat((distance, wait, closest), -1))
    return torch.cat((drawn, motion, axis, soft, close), -1)


def _heads(heads: int, x: Tensor) -> Tensor:
    """Each head's share of a vector, [B, heads, N, ...], from [B, N, ...]."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def at(x: Tensor, agents: Tensor) -> Tensor:
    """What belongs to the `agents` [B, ...] of their scenes, of values [B, A, ...]."""
    scenes, count = x.shape[:2]
    if torch.onnx.is_in_onnx_export() or scenes > 1:
        first = torch.arange(scenes, device=agents.device) * count
        agents = agents + first.view(-1, *[1] * (agents.dim() - 1))
    return embedding(agents, x.reshape(-1, int(x.shape[-1])))


def _turn(vector: Tensor, axis: Tensor) -> Tensor:
    """World vectors in the frame whose x axis is given; a third coordinate stays, [..., D]."""
    x, y = vector[..., :1], vector[..., 1:2]
    cos, sin = axis[..., :1], axis[..., 1:2]
    return torch.cat((x * cos + y * sin, y * cos - x * sin, vector[..., 2:]), -1)
