"""Means of clusters of draws: they minimise the expected squared distance to the nearest one."""

import torch
from torch import Tensor

from trajflow.selection._paths import membership, nearest_rows


def select(draws: Tensor, count: int, endpoint: float = 0.3, steps: int = 8) -> Tensor:
    """Centres [N, K, F, D] of the draws [N, S, F, D] after a few steps of Lloyd's algorithm.

    It starts from the first draws, which lie as densely as the others do; starts that are spread
    out on purpose (k-means++, farthest points) leave too many centres in the tails of a path
    distribution, and that is still seen after many steps.

    Args:
        draws: Positions relative to the agent's mean.
        count: Centres K.
        endpoint: Weight of the last step beside that of all steps together.
        steps: How often draws are assigned and centres moved.

    Source: Lloyd 1982, "Least squares quantization in PCM"; of paths, Mangalam et al. 2021, "From
    goals, waypoints & paths to long term human trajectory forecasting", sec. 3.4.
    """
    weight = draws.new_ones(draws.shape[2])
    weight[-1] += endpoint * len(weight)
    scale = weight.sqrt()[:, None]
    rows = (draws * scale).flatten(2)
    counted = torch.cat([rows, torch.ones_like(rows[..., :1])], -1)
    centres = rows[:, :count]
    for _ in range(steps):
        sums = membership(nearest_rows(rows, centres), count, rows) @ counted
        members = sums[..., -1:]
        centres = torch.where(members > 0, sums[..., :-1] / members.clamp_min(1), centres)
    return centres.reshape(-1, count, *draws.shape[2:]) / scale
