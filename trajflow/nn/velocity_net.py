"""The network of u(x, r, t | context); the whole future of an agent is one token."""

import copy

import torch
from torch import Tensor, nn

from trajflow.nn.jvp import Dual, linear, rms_norm, silu
from trajflow.nn.layers import AgentMixing, ModulatedBlock, TimeFeatures, linear_of


class VelocityNet(nn.Module):
    """Residual network from a noisy future to an average velocity.

    The modulation (adaLN) of a layer is a linear function of the context plus one of the times. The
    first is computed once per agent and shared by all its samples.

    Source: Peebles, Xie, Scalable Diffusion Models with Transformers, 2023, section 3.2 (adaLN).

    Example:
        >>> import torch
        >>> from trajflow.nn.velocity_net import VelocityNet
        >>> net, context = VelocityNet(event=24, context=16), torch.randn(3, 16)
        >>> x, time = torch.randn(20, 3, 24), torch.rand(20, 3)
        >>> net(x, 0 * time, time, net.modulations(context)).shape
        torch.Size([20, 3, 24])
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
            joint: Whether the agents of a scene attend to each other while samples are drawn.
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
        """The part of every layer's modulation from a context [*, H], each [*, 3 H]."""
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
            present: For a joint model: which agents take part, [B, A]; x is then [*, B, A, N].
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

    def folded(self, r: float, t: float) -> "FoldedVelocity":
        """The network at fixed times r and t, with fewer operations, for inference."""
        return FoldedVelocity(self, r, t)

    def jvp(self, x: Dual, r: Dual, t: Dual, modulations: list[Tensor]) -> Dual:
        """The average velocity and its derivative; not for a joint model.

        Args:
            x: Noisy futures, [*, N] with N = F * D.
            r: Start of the intervals, [*].
            t: End of the intervals, [*].
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
        ones = torch.ones_like(scale.primal[..., :1])
        inner = rms_norm(self.norm, token) * (scale + ones) + shift
        return linear(self.out_proj, inner * (gate + ones))


class FoldedVelocity(nn.Module):
    """A `VelocityNet` at fixed times, for inference: the times are folded into its biases.

    The modulations of all layers are one matrix product, and tokens are rows of a matrix in every
    product, which is fastest.

    Attributes:
        in_proj: Event to token; a caller may fold a linear map into it.
        out_proj: Token and event to velocity; a caller may fold a linear map into it.
    """

    def __init__(self, net: VelocityNet, r: float, t: float) -> None:
        """Fold a network that is not joint.

        Args:
            net: The network; it is copied.
            r: Start of the interval.
            t: End of the interval.
        """
        super().__init__()
        net = copy.deepcopy(net).requires_grad_(False)
        self.in_proj, self.context_embed = net.in_proj, net.context_embed
        out = net.out_proj
        self.out_proj = linear_of(
            nn.functional.pad(out.weight, (0, net.in_proj.in_features)), out.bias
        )
        self.blocks, self.norm = net.blocks, net.norm
        times = net.in_proj.weight.new_tensor([r, t])
        hidden = net.time_embed(net.times(*times))
        layers = net.context_modulation.state_dict()
        weights = [value for name, value in layers.items() if name.endswith("weight")]
        biases = [value for name, value in layers.items() if name.endswith("bias")]
        shift = torch.stack(biases) + torch.stack([layer(hidden) for layer in net.time_modulation])
        # 1 + scale and, in the last layer, 1 + gate.
        width = self.width = net.in_proj.out_features
        shift[:, :width] += 1
        shift[-1, 2 * width :] += 1
        self.modulation = linear_of(torch.cat(weights), shift.flatten())

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Output of `out_proj` for rows [S * N, ...], N agents per sample, and contexts [N, H]."""
        width = self.width
        parts = torch.split(self.modulation(self.context_embed(context)), width, -1)
        rows = (-1, context.shape[0], width)
        token = self.in_proj(x).reshape(rows)
        for k, block in enumerate(self.blocks):
            assert isinstance(block, ModulatedBlock)
            scale, shift, gate = parts[3 * k : 3 * k + 3]
            inner = torch.addcmul(shift, _rms_norm(token, block.norm), scale).reshape(-1, width)
            update = block.down(nn.functional.silu(block.up(inner)))
            token = torch.addcmul(token, gate, update.reshape(rows))
        scale, shift, gate = parts[-3:]
        inner = torch.addcmul(shift * gate, _rms_norm(token, self.norm), scale * gate)
        velocity: Tensor = self.out_proj(torch.cat((inner.reshape(-1, width), x), -1))
        return velocity


def _rms_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """`nn.RMSNorm` without weights: in few kernels, or as ONNX Runtime fuses it into one."""
    assert isinstance(norm, nn.RMSNorm)
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    if not torch.onnx.is_in_onnx_export():
        return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * x.new_ones(norm.normalized_shape)
