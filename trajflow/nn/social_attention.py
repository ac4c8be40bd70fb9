"""Attention of agents to their neighbors, each in its own frame."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from trajflow.errors import ConfigError
from trajflow.nn.layers import linear_of


@dataclass(frozen=True)
class NeighborIndex:
    """The nearest neighbors of some agents of each scene.

    Attributes:
        rows: Indices of N agents in their scenes, [B, N], padded at the end.
        row_mask: False where `rows` is padding, [B, N].
        neighbors: Indices of their K nearest neighbors, [B, N, K].
        neighbor_mask: False where `neighbors` is padding or beyond the radius, [B, N, K].
    """

    rows: Tensor
    row_mask: Tensor
    neighbors: Tensor
    neighbor_mask: Tensor

    def needed(self, present: Tensor) -> Tensor:
        """The agents of the index and their neighbors, [B, A]; the result needs no others."""
        counts = present.new_zeros(present.shape, dtype=torch.int)
        counts = counts.scatter_add(1, self.rows, self.row_mask.int())
        valid = self.neighbor_mask & self.row_mask[..., None]
        return counts.scatter_add(1, self.neighbors.flatten(1), valid.flatten(1).int()) > 0

    def spread(self, mixed: Tensor, own: Tensor) -> Tensor:
        """Contexts [B, A, H]: `mixed` [B, N, H] for agents of the index, `own` for all others."""
        rows = mixed.where(self.row_mask[..., None], at(own, self.rows))
        return own.scatter(1, self.rows[..., None].expand_as(mixed), rows)


class SocialAttention(nn.Module):
    """Each agent attends to its nearest neighbors, in the agent's own frame.

    softmax_j((q_i . k_j + g_i . p_ij) / sqrt(d)) weighs the values [v_j, p_ij], where p_ij is the
    output of a small network over the position, motion and closest approach of neighbor j in the
    frame of agent i, and q, g, k, v are linear in the contexts of i and j. So the result is
    invariant to translation and rotation of the scene, and to the order of the agents. One key and
    value are learned, "nobody", so that an agent alone is well defined. The cost grows with the
    number of agents, not with its square.

    Lengths should be of order one (metres, or pixels after scaling).

    Source: Vaswani et al., Attention Is All You Need, 2017, eq. 1; the pair terms as the edge
    features of Shaw, Uszkoreit, Vaswani, Self-Attention with Relative Position Representations,
    2018, eqs. 3 and 4.

    Args:
        width: Length H of a context, a multiple of heads.
        heads: Attention heads.
        limit: Number of nearest neighbors K that an agent attends to.
        radius: Largest distance of a neighbor; None: unlimited.
        pairs: Width of the network over pairs.
        dims: Coordinates D, 2 or 3; headings are in the first two.

    Example:
        >>> import torch
        >>> from trajflow.nn.social_attention import SocialAttention
        >>> social, context = SocialAttention(width=16), torch.randn(1, 5, 16)
        >>> origin, velocity = torch.randn(2, 1, 5, 2)
        >>> present = torch.ones(1, 5, dtype=torch.bool)
        >>> social(context, origin, torch.zeros(1, 5), velocity, present).shape
        torch.Size([1, 5, 16])
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
        """Contexts with information on neighbors, [B, A, H]; zero for an absent agent.

        Args:
            context: Encodings of each agent's own past, [B, A, H].
            origin: Present positions in the world, [B, A, D].
            heading: Direction of each agent's x axis in the world, an angle [B, A] in radians or
                unit vectors [B, A, ...] of two coordinates.
            velocity: Displacement per step in the world, [B, A, D].
            present: Whether the agent is observed now, [B, A]; other values of an absent agent are
                ignored.
            target: Agents to compute, [B, A]; the others keep their encodings. None: all.
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
        """The nearest neighbors of the targets.

        Args:
            place: Present positions in the world, [B, A, D].
            present: Whether the agent is observed now, [B, A]; only such agents are neighbors.
            target: Agents that attend to neighbors, [B, A]; None: all that are present.
        """
        if target is None:
            rows = torch.arange(present.shape[1], device=present.device).expand(present.shape)
            return self.index_of_rows(place, present, rows, present)
        most = max(target.sum(1).tolist(), default=0)
        mask, rows = target.int().sort(dim=1, descending=True, stable=True)
        return self.index_of_rows(place, present, rows[:, :most], mask[:, :most] > 0)

    def index_of_rows(
        self, place: Tensor, present: Tensor, rows: Tensor, row_mask: Tensor
    ) -> NeighborIndex:
        """The nearest neighbors of the agents `rows` [B, N]; `row_mask` [B, N] marks padding."""
        agents = torch.arange(present.shape[1], device=rows.device)
        delta = place[:, None] - at(place, rows)[:, :, None]
        distance = delta.detach().norm(dim=-1)
        excluded = (agents == rows[..., None]) | ~present[:, None]
        distance = distance.masked_fill(excluded, float("inf"))
        count = torch.sym_min(self.limit, agents.shape[0])  # type: ignore[no-untyped-call]
        distance, neighbors = distance.topk(count, largest=False)
        valid = distance < float("inf")
        return NeighborIndex(rows, row_mask, neighbors, valid & (distance <= self.radius))

    def at(
        self, context: Tensor, place: Tensor, axis: Tensor, motion: Tensor, index: NeighborIndex
    ) -> Tensor:
        """The new contexts of the agents of an index, [B, N, H].

        Args:
            context: Encodings of each agent's own past, [B, A, H]; finite also where absent.
            place: Present positions in the world, [B, A, D].
            axis: Each agent's x axis, unit vectors [B, A, ...] of two coordinates.
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
        # "Nobody" has slot 0, so neighbor j has slot j + 1.
        nobody = self.nobody.expand(own.shape[0], 1, -1)
        key, value = torch.cat((nobody, self.memory(normed)), 1).chunk(2, -1)
        pair_score = (place @ pair.mT).masked_fill(~index.neighbor_mask.unsqueeze(2), float("-inf"))
        pair_score = pad(pair_score, (1, 0))
        slots = pad(index.neighbors + 1, (1, 0)).unsqueeze(2).expand_as(pair_score)
        score = (query @ _heads(self.heads, key).mT).transpose(1, 2)
        scale = (query.shape[-1] + place.shape[-1]) ** -0.5
        weight = ((score.gather(-1, slots) + pair_score) * scale).softmax(-1)
        # As a matrix over all agents, so that the values need no gathering per neighbor.
        dense = torch.zeros_like(score, dtype=weight.dtype).scatter(-1, slots, weight)
        mixed = (dense.transpose(1, 2) @ _heads(self.heads, value)).transpose(1, 2)
        placed = weight[..., 1:] @ pair
        state = own_rows + self.merge(torch.cat((mixed.flatten(2), placed.flatten(2)), -1))
        out: Tensor = state + self.feed(self.norm2(state))
        return out

    def folded(self, unit: float) -> "FoldedSocialAttention":
        """The attention of some agents of each scene with fewer operations, for inference.

        Args:
            unit: Length in world units that positions and velocities are divided by.
        """
        return FoldedSocialAttention(self, unit)


class FoldedSocialAttention(nn.Module):
    """The `SocialAttention` of the first K agents of each scene, for inference.

    Query, place and the score of the "nobody" key are one product, whose weights include the scale;
    the "nobody" value becomes further columns of `merge`, and the unit of length a factor of the
    rotation. Agents are rows of matrices: keys and values are gathered for each neighbor.
    """

    def __init__(self, social: SocialAttention, unit: float) -> None:
        super().__init__()
        social = copy.deepcopy(social).requires_grad_(False)
        self.heads, self.limit, self.radius = social.heads, social.limit, unit * social.radius
        self.norm1, self.norm2, self.feed = social.norm1, social.norm2, social.feed
        self.pair, self.memory = social.pair, social.memory
        width, shared = social.query.in_features, social.place.out_features
        self.sizes = [width, shared, self.heads]
        scale = ((width + shared) / self.heads) ** -0.5
        key, value = torch.unflatten(social.nobody[0, 0], 0, (2, self.heads, -1))
        per_head = torch.unflatten(social.query.weight, 0, (self.heads, -1))
        nobody_weight = torch.einsum("hdw,hd->hw", per_head, key)
        nobody_bias = (torch.unflatten(social.query.bias, 0, (self.heads, -1)) * key).sum(-1)
        self.attend = linear_of(
            scale * torch.cat((social.query.weight, social.place.weight, nobody_weight)),
            scale * torch.cat((social.query.bias, social.place.bias, nobody_bias)),
        )
        mixed = torch.unflatten(social.merge.weight[:, :width], 1, (self.heads, -1))
        nobody = torch.einsum("whd,hd->wh", mixed, value)
        self.merge = linear_of(torch.cat((social.merge.weight, nobody), 1), social.merge.bias)
        # Axes are minus the agent's own, which is (1, 0) in its own frame, and over the unit.
        first = self.pair[0]
        assert isinstance(first, nn.Linear)
        dims = self.dims = (first.in_features - 6) // 2
        axis = slice(2 * dims, 2 * dims + 2)
        weight, bias = first.weight.clone(), first.bias + first.weight[:, 2 * dims]
        weight[:, axis] *= unit
        self.pair[0] = linear_of(weight, bias)
        # Rotation matrices by rows from place, velocity and axis, whose third coordinate is one.
        rotation = weight.new_zeros(3, dims, dims, dims)
        rotation[2, 0, 0, 0] = rotation[2, 0, 1, 1] = rotation[2, 1, 1, 0] = 1 / unit
        rotation[2, 1, 0, 1] = -1 / unit
        rotation[2, 2:, 2:, 2:] = 1 / unit
        self.register_buffer("rotation", rotation.reshape(3 * dims, dims * dims))

    def forward(
        self,
        own: Tensor,
        motion: Tensor,
        own_first: Tensor,
        motion_first: Tensor,
        place: Tensor,
        here: Tensor,
        count: int,
    ) -> Tensor:
        """Contexts of the first K agents with information on neighbors, [B * K, H].

        Args:
            own: Encodings of each agent's own past, [B * A, H]; finite also where absent.
            motion: Present position, displacement per step and x axis in the world,
                [B * A, 3 D]; of three coordinates the axis has a one in the third.
            own_first: `own` of the first K agents, [B * K, H].
            motion_first: `motion` of the first K agents, [B * K, 3 D].
            place: Present positions in the world, [B, A, D].
            here: Whether the agent is observed now, [B, A].
            count: K.
        """
        heads, limit, width = self.heads, self.limit, self.sizes[0]
        neighbors, valid = self._nearest(place, here, count)
        rows = rows_of(neighbors, place).reshape(-1, limit)
        pair = self.pair(self._geometry(motion, motion_first, rows)).reshape(-1, limit, self._pairs)
        memory = embedding(rows, self.memory(self.norm1(own)))
        memory = memory.reshape(-1, limit, 2 * heads, width // heads).transpose(1, 2)
        key, value = torch.split(memory, heads, 1)
        parts = torch.split(self.attend(self.norm1(own_first)), self.sizes, -1)
        query, shared = parts[0].reshape(-1, heads, 1, width // heads), parts[1]
        score = (query @ key.transpose(2, 3)).reshape(-1, heads, limit)
        score = score + shared.reshape(-1, heads, self._pairs) @ pair.transpose(1, 2)
        score = score.masked_fill(~valid.reshape(-1, 1, limit), float("-inf"))
        weight = torch.cat((parts[2].reshape(-1, heads, 1), score), -1).softmax(-1)
        nobody, weight = torch.split(weight, [1, limit], -1)
        mixed = weight.reshape(-1, heads, 1, limit) @ value
        sized = zip((mixed, weight @ pair, nobody), self.sizes, strict=True)
        state = own_first + self.merge(torch.cat([x.reshape(-1, size) for x, size in sized], -1))
        wide = self.feed[0](self.norm2(state))
        # GELU; torch's own takes fifteen times as long for one row.
        wide = 0.5 * wide * (1 + (wide * 0.5**0.5).erf())
        out: Tensor = state + self.feed[2](wide)
        return out

    @property
    def _pairs(self) -> int:
        return self.sizes[1] // self.heads

    def _nearest(self, place: Tensor, here: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The nearest neighbors of the first K agents, and their mask, [B, K, N]."""
        # Absent agents are infinitely far, and so are empty slots, which keep the number of
        # neighbors fixed in a small scene. Coordinates come before agents, which is faster.
        shown = place.where(here[..., None], float("inf")).transpose(1, 2)
        shown = pad(shown, (0, self.limit), value=float("inf"))
        square = (shown[:, None] - place[:, :count, :, None]).square().sum(2)
        agents = torch.arange(square.shape[2], device=place.device)
        square = square.masked_fill(agents == agents[:count, None], float("inf"))
        square, neighbors = square.topk(self.limit, largest=False)
        farthest = self.radius**2
        valid = square < farthest if farthest == float("inf") else square <= farthest
        return neighbors.where(valid, 0), valid

    def _geometry(self, motion: Tensor, motion_first: Tensor, rows: Tensor) -> Tensor:
        """As the function `_geometry`, with axes minus the agent's own, [B * K * N, ...]."""
        dims = self.dims
        delta = embedding(rows, motion) - motion_first[:, None]
        rotation = (motion_first @ self.get_buffer("rotation")).reshape(-1, dims, dims)
        turned = (delta.reshape(-1, 3 * self.limit, dims) @ rotation).reshape(-1, 3 * dims)
        delta, velocity, axis = torch.split(turned, dims, -1)
        return _pair_features(delta, velocity, axis if dims == 2 else axis[..., :2])


def _geometry(
    place: Tensor, axis: Tensor, velocity: Tensor, rows: Tensor, neighbors: Tensor
) -> Tensor:
    """Position, motion and closest approach of each neighbor in the agent's frame, [B, N, ...]."""
    dims = place.shape[-1]
    kinematics = torch.cat((place, velocity, axis), -1)
    own_rows = at(kinematics, rows).unsqueeze(2)
    delta = at(kinematics, neighbors) - pad(own_rows[..., : 2 * dims], (0, 2))
    vectors = torch.unflatten(pad(delta, (0, dims - 2)), -1, (3, dims))
    turned = _turn(vectors, own_rows[..., None, 2 * dims :])
    return _pair_features(turned[..., 0, :], turned[..., 1, :], turned[..., 2, :2])


def _pair_features(delta: Tensor, motion: Tensor, axis: Tensor) -> Tensor:
    """Features of neighbors from their relative position, motion and axis, [*, ...].

    Distances are logarithmic, since far away only the direction matters. At constant velocities the
    closest approach is at time max(0, -delta . motion / |motion|^2).
    """
    distance = delta.norm(dim=-1, keepdim=True)
    log_distance = distance.log1p()
    position = delta * (log_distance / distance.clamp(min=1e-6))
    time = (-(delta * motion).sum(-1, True) / (motion.square().sum(-1, True) + 1e-4)).clamp(min=0)
    closest = (delta + time * motion).norm(dim=-1, keepdim=True)
    close = 1 / (1 + torch.cat((distance, time, closest), -1))
    return torch.cat((position, motion, axis, log_distance, close), -1)


def _heads(heads: int, x: Tensor) -> Tensor:
    """Vectors [B, N, H] split into heads, [B, heads, N, H / heads]."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def at(x: Tensor, agents: Tensor) -> Tensor:
    """The values [B, A, ...] of the agents with indices [B, ...] in their scenes."""
    return embedding(rows_of(agents, x), x.reshape(-1, int(x.shape[-1])))


def rows_of(agents: Tensor, x: Tensor) -> Tensor:
    """Indices [B, ...] of agents in their scenes, as rows of x [B, A, ...] without the scenes."""
    scenes, count = x.shape[:2]
    if torch.onnx.is_in_onnx_export() or scenes > 1:
        first = torch.arange(scenes, device=agents.device) * count
        agents = agents + first.view(-1, *[1] * (agents.dim() - 1))
    return agents


def _turn(vector: Tensor, axis: Tensor) -> Tensor:
    """World vectors [..., D] in the frame with this x axis; a third coordinate is unchanged."""
    x, y = vector[..., :1], vector[..., 1:2]
    cos, sin = axis[..., :1], axis[..., 1:2]
    return torch.cat((x * cos + y * sin, y * cos - x * sin, vector[..., 2:]), -1)
