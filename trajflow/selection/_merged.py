"""Several weighted sets of futures as one set of fewer."""

import torch
from torch import Tensor

from trajflow.selection._paths import membership, nearest_rows

STEPS = 2
ENDPOINT = 0.3


def merged(samples: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Futures that stand for many weighted ones, [N, K, F, D], and their weights, [N, K].

    It starts from the first `count` futures, one of the sets, and moves each to the weighted mean
    of those that are nearest to it, twice: futures of the sets that are much the same become their
    mean, as members of an ensemble do.

    Args:
        samples: Weighted futures of each agent, set after set, [N, S, F, D], near the origin.
        weights: How likely each is, [N, S]; an agent's sum to one.
        count: Futures K.

    Source: Lloyd 1982, "Least squares quantization in PCM".
    """
    scale = samples.new_ones(samples.shape[2], 1)
    scale[-1] += ENDPOINT * len(scale)
    scale = scale.sqrt()
    rows = (samples * scale).flatten(2)
    centres = rows[:, :count]
    for _ in range(STEPS):
        shares = membership(nearest_rows(rows, centres), count, rows) * weights[:, None]
        total = shares.sum(-1, keepdim=True)
        centres = torch.where(total > 0, shares @ rows / total.clamp_min(1e-12), centres)
    member = membership(nearest_rows(rows, centres), count, rows)
    futures = centres.reshape(-1, count, *samples.shape[2:]) / scale
    return futures, (member @ weights[..., None])[..., 0]
