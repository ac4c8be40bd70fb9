"""Draws that cover the others: each lowers the expected error of the best one the most."""

import torch
from torch import Tensor

from trajflow.selection._paths import displacements

CANDIDATES = 256


def select(
    draws: Tensor, count: int, endpoint: float = 0.3, candidates: int = CANDIDATES
) -> Tensor:
    """K of the draws themselves, [N, K, F, D], taken greedily one by one.

    Each is the one that leaves the least expected error of the nearest taken one, which is ADE
    and `endpoint` times FDE; greedy choice comes within a factor of 1 - 1/e of the best gain.

    Args:
        draws: Positions relative to the agent's mean, [N, S, F, D].
        count: Draws K to take.
        endpoint: Weight of the error at the last step.
        candidates: Only so many of the first draws may be taken, K at least; all are covered.

    Source: Nemhauser, Wolsey, Fisher 1978, "An analysis of approximations for maximizing
    submodular set functions", sec. 4.
    """
    allowed = draws[:, : max(count, candidates)]
    path, end = displacements(draws, allowed)
    cost = (path + endpoint * end).transpose(1, 2).contiguous()
    agent = torch.arange(len(draws), device=draws.device)
    left = torch.full_like(cost[:, 0], torch.inf)
    taken: list[Tensor] = []
    for _ in range(count):
        total = torch.minimum(cost, left[:, None]).sum(-1)
        taken.append(total.argmin(-1))
        left = torch.minimum(left, cost[agent, taken[-1]])
    return allowed[agent[:, None], torch.stack(taken, 1)]
