"""A network whose large products are of bfloat16, for programs that torch computes."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, bfloat16, nn
from torch.nn import functional

from trajflow.model import TrajectoryModel


class LowLinear(nn.Module):
    """A linear layer that multiplies in bfloat16; what goes in and comes out is of float32."""

    def __init__(self, layer: nn.Linear) -> None:
        """Round the numbers of a layer."""
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().to(bfloat16))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.to(bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        """What the layer makes of inputs [*, H]."""
        weight, bias = self.get_buffer("weight"), self._buffers["bias"]
        return functional.linear(x.to(bfloat16), weight, bias).to(x.dtype)


def lowered(model: TrajectoryModel) -> TrajectoryModel:
    """A copy whose decoder multiplies in bfloat16 where it does so once per sample."""
    low = deepcopy(model)
    for block in low.decoder.blocks:
        for name, layer in list(block.named_modules()):
            if isinstance(layer, nn.Linear):
                above, _, own = name.rpartition(".")
                setattr(block.get_submodule(above), own, LowLinear(layer))
    return low
