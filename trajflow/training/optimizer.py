"""The optimiser, its parameter groups, and the moving average of the weights."""

from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from trajflow.models.trajectory_model import TrajectoryModel

Tensors = list[Tensor] | tuple[Tensor, ...]


class AdamW(torch.optim.AdamW):
    """AdamW without the wrappers that import the compiler of torch: 70 MB and a second."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


def moving_average(model: TrajectoryModel, decay: float) -> AveragedModel:
    """Exponential moving average of a model's weights, with the model's own buffers.

    The decay starts low and rises to `decay`, so that the average soon forgets the first weights.
    Buffers, such as the running statistics of a batch normalisation, are copied from the model.
    """

    def update(average: Tensors, weights: Tensors, updates: Tensor | int) -> None:
        step = int(updates) + 1
        torch._foreach_lerp_(average, weights, 1 - min(decay, step / (step + 9)))

    average = AveragedModel(model, multi_avg_fn=update)
    return average.requires_grad_(False).eval()


def weight_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: only the weight matrices of layers decay.

    Biases, scales of norms, embeddings and learned tokens would only be pulled to zero.
    """
    matrices = {
        id(parameter)
        for layer in module.modules()
        if not isinstance(layer, (nn.Embedding, nn.EmbeddingBag))
        for name, parameter in layer.named_parameters(recurse=False)
        if "weight" in name and parameter.ndim > 1
    }
    decayed = [p for p in module.parameters() if id(p) in matrices]
    others = [p for p in module.parameters() if id(p) not in matrices]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
