"""Attention of an agent to earlier tracks through its present position."""

import torch
from torch import Tensor, nn

from trajflow.errors import ConfigError


class MemoryAttention(nn.Module):
    """Multi-head attention of an agent to paths of others who were at its position earlier.

    The paths are in the agent's own frame, so the result is invariant to translation and rotation
    of the scene, and to the order of the paths. A learned token lets an agent attend to none of
    them. The result is added to a context. It is exactly zero for an agent without paths, and for
    all agents before the first update.

    Args:
        width: Length H of a context, a multiple of heads.
        steps: Steps W of a path.
        dims: Coordinates D.
        hidden: Width of the network that embeds a path.
        heads: Attention heads.
    """

    def __init__(
        self, width: int, steps: int, dims: int = 2, hidden: int = 128, heads: int = 4
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"width must be a multiple of {heads} heads, got {width}")
        self.heads = heads
        self.read = nn.Sequential(
            nn.Linear(steps * (2 * dims + 1) + 1, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(hidden, 2 * width)
        self.nobody = nn.Parameter(0.5 * torch.randn(1, 2 * width))
        self.merge = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        last = self.merge[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, context: Tensor, path: Tensor, age: Tensor) -> Tensor:
        """The change of the contexts, [*, H].

        Args:
            context: Contexts of the agents, [*, H].
            path: Paths in each agent's frame, in lengths of order one, [*, K, W, D]; not finite
                where unknown.
            age: Steps since each path passed the position, [*, K].
        """
        seen = (path - path).sum(-1) == 0  # NaN and infinity minus themselves are NaN
        visible = seen.any(-1)
        point = torch.where(seen[..., None], path, 0)
        both = seen[..., 1:] & seen[..., :-1]
        displacement = torch.where(both[..., None], point[..., 1:, :] - point[..., :-1, :], 0)
        displacement = nn.functional.pad(displacement, (0, 0, 1, 0))
        # Paths are about ten lengths long: the divisors make all inputs of order one.
        parts = (point / 8, displacement, seen[..., None].to(point))
        age = torch.where(visible, age, 0).clamp_min(0).log1p() / 4
        embedded = self.read(torch.cat((torch.cat(parts, -1).flatten(-2), age[..., None]), -1))

        normed = self.norm(context)
        nobody = self.nobody.expand(*embedded.shape[:-2], 1, -1)
        pairs = torch.cat((nobody, self.key_value(embedded)), -2)
        key, value = (self._heads(x) for x in pairs.chunk(2, -1))
        query = self._heads(self.query(normed)[..., None, :])
        score = (query @ key.transpose(-1, -2)).squeeze(-2) / query.shape[-1] ** 0.5
        allowed = torch.cat((torch.ones_like(visible[..., :1]), visible), -1)
        weight = score.masked_fill(~allowed[..., None, :], float("-inf")).softmax(-1)
        mixed = (weight[..., None, :] @ value).squeeze(-2).flatten(-2)
        change = self.merge(torch.cat((normed, mixed), -1))
        return torch.where(visible.any(-1, keepdim=True), change, 0)

    def _heads(self, x: Tensor) -> Tensor:
        """Vectors [*, N, H] split into heads, [*, heads, N, H / heads]."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(-2, -3)
