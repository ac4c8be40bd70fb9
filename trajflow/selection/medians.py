"""Medians of clusters of draws: they minimise the expected displacement to the best one."""

import torch
from torch import Tensor

from trajflow.selection._paths import displacements, membership
from trajflow.selection.kmeans import select as means

LEAST = 1e-2
"""Least distance in a weight, as a share of the draws' own mean distance from their mean."""


def select(draws: Tensor, count: int, endpoint: float = 1.0, steps: int = 3) -> Tensor:
    """Futures [N, K, F, D] with little E min_k ADE + endpoint * E min_k FDE over the draws.

    That is what best-of-K errors are if the draws are right. The two minima are taken apart, as
    those errors do: a draw may belong to one future for its path and to another for its end. From
    the means, each step moves every point of a future to the weighted median of its draws, by one
    round of Weiszfeld's algorithm.

    Args:
        draws: Positions relative to the agent's mean, [N, S, F, D].
        count: Futures K.
        endpoint: Weight of the error at the last step.
        steps: How often draws are assigned and futures moved.

    Source: Weiszfeld 1937, "Sur le point pour lequel la somme des distances de n points donnes est
    minimum"; Bradley et al. 1996, "Clustering via concave minimization".
    """
    futures = means(draws, count)
    least = LEAST * draws.square().sum(-1).sqrt().mean((1, 2)) + torch.finfo(draws.dtype).tiny
    for _ in range(steps):
        futures = _moved(draws, futures, endpoint, least[:, None, None])
    return futures


def _moved(draws: Tensor, futures: Tensor, endpoint: float, least: Tensor) -> Tensor:
    """The futures after one reassignment and one step to the medians; `least` is [N, 1, 1]."""
    count, horizon = futures.shape[1], futures.shape[2]
    path, end = displacements(draws, futures)
    to_end, of_end = end.min(-1)
    of_path = path.argmin(-1)
    mine = futures.gather(1, of_path[..., None, None].expand_as(draws))
    pull = 1 / ((draws - mine).square().sum(-1).sqrt().maximum(least) * horizon)
    hold = endpoint / to_end.unsqueeze(-1).maximum(least)
    by_path, by_end = membership(of_path, count, draws), membership(of_end, count, draws)
    total = (by_path @ (draws * pull.unsqueeze(-1)).flatten(2)).reshape(futures.shape)
    weight = by_path @ pull
    last = total[:, :, -1] + by_end @ (draws[:, :, -1] * hold)
    total = torch.cat([total[:, :, :-1], last.unsqueeze(2)], 2)
    weight = torch.cat([weight[..., :-1], weight[..., -1:] + by_end @ hold], -1).unsqueeze(-1)
    return torch.where(weight > 0, total / weight.clamp_min(1e-30), futures)
