"""The network behind u(x, r, t | context): one agent's whole future is one token."""

import torch
from torch import Tensor, nn

from trajflow.nn.jvp import Dual, linear, rms_norm, silu
from trajflow.nn.layers import AgentMixing, ModulatedBlock, TimeFeatures


class VelocityNet(nn.Module):
    """Residual network from a noisy future to an average velocity.

    What depends on the context is computed once per agent and shared by all its samples: the
    modulation of a layer is a part from the context plus a part from the times.
    """

    def __init__(
        self, event: int, context: int, width: int = 256, depth: int = 4, joint: bool = False
    ) -> None:
        """Build the network.

        Args:
            event: Numbers in one agent's future, F * D.
            context: Width of the context.
            width: Width of the token.
            depth: Number of residual blocks.
            joint: Whether the agents of a scene see each other's noise, so samples agree.
        """
        super().__init__()
        self.times = TimeFeatures()
        self.in_proj = nn.Linear(event, width)
        self.context_embed = nn.Sequential(nn.Linear(context, width), nn.SiLU())
        self.time_embed = nn.Sequential(nn.Linear(TimeFeatures.size, width // 4), nn.SiLU())
        self.blocks = nn.ModuleList(ModulatedBlock(width) for _ in range(depth))
        self.context_modulation = nn.ModuleList(
            nn.Linear(width, 3 * width) for _ in range(depth + 1)
        )
        self.time_modulation = nn.ModuleList(
            nn.Linear(width // 4, 3 * width, bias=False) for _ in range(depth + 1)
        )
        self.mixing = nn.ModuleList(AgentMixing(width) for _ in range(depth if joint else 0))
        self.norm = nn.RMSNorm(width, elementwise_affine=False)
        self.out_proj = nn.Linear(width, event)
        nn.init.zeros_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def modulations(self, context: Tensor) -> list[Tensor]:
        """What the context [*, H] says to every layer; shared by all samples and times."""
        hidden = self.context_embed(context)
        return [layer(hidden) for layer in self.context_modulation]

    def forward(
        self,
        x: Tensor,
        r: Tensor,
        t: Tensor,
        modulations: list[Tensor],
        present: Tensor | None = None,
    ) -> Tensor:
        """Average velocity of each agent's future.

        Args:
            x: Noisy futures, [*, N] with N = F * D.
            r: Start of the interval, broadcastable to [*].
            t: End of the interval, broadcastable to [*].
            modulations: From `modulations`, broadcastable to [*, 3 H].
            present: For joint decoding, with agents on the axis before the last, [B, A].
        """
        hidden = self.time_embed(self.times(r, t))
        shifts = [
            m + layer(hidden) for m, layer in zip(modulations, self.time_modulation, strict=True)
        ]
        token = self.in_proj(x)
        for k, block in enumerate(self.blocks):
            if present is not None and len(self.mixing):
                token = self.mixing[k](token, present)
            token = block(token, shifts[k])
        scale, shift, gate = shifts[-1].chunk(3, -1)
        velocity: Tensor = self.out_proj((self.norm(token) * (1 + scale) + shift) * (1 + gate))
        return velocity

    def jvp(self, x: Dual, r: Dual, t: Dual, modulations: list[Tensor]) -> Dual:
        """The average velocity and its derivative, for futures drawn of each agent alone.

        Args:
            x: Noisy futures that move, [*, N] with N = F * D.
            r: Starts of the intervals, [*].
            t: Ends of the intervals, [*].
            modulations: From `modulations`, broadcastable to [*, 3 H].
        """
        hidden = silu(linear(self.time_embed[0], self.times.jvp(r, t)))
        pairs = zip(modulations, self.time_modulation, strict=True)
        shifts = [linear(layer, hidden) + m for m, layer in pairs]
        token = linear(self.in_proj, x)
        for block, shift in zip(self.blocks, shifts, strict=False):
            assert isinstance(block, ModulatedBlock)
            token = block.jvp(token, shift)
        scale, shift, gate = shifts[-1].chunk(3)
        one = torch.ones_like(scale.primal[..., :1])
        inner = rms_norm(self.norm, token) * (scale + one) + shift
        return linear(self.out_proj, inner * (gate + one))


def stack_events(points: Tensor) -> Tensor:
    """Futures [*, F, D] as events [*, N] with N = F * D."""
    return torch.flatten(points, -2)
