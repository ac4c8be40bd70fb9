"""Selects a few weighted futures that represent many draws.

Selected futures are not a sample of the distribution: they are spread out on purpose, and only
their weights say how likely each is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trajflow.errors import ConfigError

# Most numbers of draws that a CPU processes at once: they fit its cache.
BLOCK = 1 << 18
# The same for a GPU.
LARGE = 1 << 26
# Weight of the last step, relative to that of all steps together.
ENDPOINT = 0.3
# Rounds of Lloyd's algorithm over many draws, and over weighted futures.
ROUNDS, MERGE_ROUNDS = 8, 2
# Least distance of a level from 0 and 1: even noise stays within 4.9 deviations.
EDGE = 1e-6


@dataclass(frozen=True)
class Chosen:
    """K weighted futures of each of N agents.

    Attributes:
        samples: Positions, [K, N, F, D].
        weights: Share of the draws that each future represents, [K, N], summing to 1 over K.
    """

    samples: Tensor
    weights: Tensor


@torch.no_grad()
def choose(draws: Tensor, count: int) -> Chosen:
    """Select the `count` futures that represent the draws of each agent best, by k-means.

    The result is deterministic, and an agent's futures do not depend on other agents. k-means
    starts from the first draws, so that the order of the draws matters.

    Args:
        draws: Positions of exchangeable draws, [S, N, F, D].
        count: Futures K of each agent.

    Raises:
        ConfigError: There are fewer draws than futures.
    """
    if not 1 <= count <= len(draws):
        raise ConfigError(
            f"cannot choose {count} of {len(draws)} draws; choose at least 1, and draw that many"
        )
    each = draws[:, :1].numel()
    size = max(1, (BLOCK if draws.device.type == "cpu" else LARGE) // max(1, each))
    blocks = [_chosen(block, count) for block in torch.split(draws, size, 1)]
    return Chosen(
        torch.cat([block.samples for block in blocks], 1),
        torch.cat([block.weights for block in blocks], 1),
    )


def _chosen(draws: Tensor, count: int) -> Chosen:
    rows = draws.transpose(0, 1)
    middle = rows.mean(1, keepdim=True)
    # Squares of positions far from the origin would swallow the distances between paths.
    centred = (rows - middle).contiguous()
    futures = kmeans(centred, count)
    index = _nearest(centred.flatten(2), futures.flatten(2))
    weights = draws.new_zeros(len(index), count)
    weights = weights.scatter_add_(1, index, draws.new_ones(index.shape)) / index.shape[1]
    return Chosen((futures + middle).transpose(0, 1), weights.T)


def kmeans(draws: Tensor, count: int) -> Tensor:
    """Cluster draws [N, S, F, D] by Lloyd's algorithm into centres [N, K, F, D].

    It starts from the first draws, which are distributed as all others. Spread-out starts
    (k-means++, farthest points) leave too many centres in the tails, even after many rounds.

    Source: Lloyd 1982, "Least squares quantization in PCM"; for paths, Mangalam et al. 2021, "From
    goals, waypoints & paths to long term human trajectory forecasting", sec. 3.4.
    """
    scale = _step_weights(draws)
    rows = (draws * scale).flatten(2)
    with_ones = torch.cat([rows, torch.ones_like(rows[..., :1])], -1)  # sums count the members too
    centres = rows[:, :count]
    for _ in range(ROUNDS):
        sums = _membership(_nearest(rows, centres), count, rows) @ with_ones
        members = sums[..., -1:]
        centres = torch.where(members > 0, sums[..., :-1] / members.clamp_min(1), centres)
    return centres.reshape(-1, count, *draws.shape[2:]) / scale


@torch.no_grad()
def merge(sets: Sequence[Chosen]) -> Chosen:
    """Merge several sets of K weighted futures of the same agents into one set.

    It starts from the first set and moves each future to the weighted mean of the futures nearest
    to it, twice. It is used for the members of an ensemble, whose futures are similar.

    Source: Lloyd 1982, "Least squares quantization in PCM".
    """
    count = len(sets[0].samples)
    positions = torch.cat([chosen.samples for chosen in sets]).transpose(0, 1)
    weights = torch.cat([chosen.weights for chosen in sets]).T / len(sets)
    middle = positions.mean(1, keepdim=True)
    scale = _step_weights(positions)
    rows = ((positions - middle) * scale).flatten(2)
    centres = rows[:, :count]
    for _ in range(MERGE_ROUNDS):
        shares = _membership(_nearest(rows, centres), count, rows) * weights[:, None]
        total = shares.sum(-1, keepdim=True)
        centres = torch.where(total > 0, shares @ rows / total.clamp_min(1e-12), centres)
    member = _membership(_nearest(rows, centres), count, rows)
    futures = centres.reshape(-1, count, *positions.shape[2:]) / scale
    return Chosen((futures + middle).transpose(0, 1), (member @ weights[..., None])[..., 0].T)


def _step_weights(paths: Tensor) -> Tensor:
    """Roots of the step weights of paths [N, S, F, D], broadcastable to [..., F, D]."""
    weight = paths.new_ones(paths.shape[2], 1)
    weight[-1] += ENDPOINT * len(weight)
    return weight.sqrt()


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """Index of the centre [N, K, H] nearest to each row [N, S, H], [N, S]."""
    square = centres.square().sum(-1)
    return torch.baddbmm(square[:, None], rows, centres.transpose(1, 2), alpha=-2).argmin(-1)


def _membership(index: Tensor, count: int, like: Tensor) -> Tensor:
    """1 where a draw belongs to a centre, else 0, [N, K, S], from centre indices [N, S]."""
    lead, draws = index.shape
    return like.new_zeros(lead, count, draws).scatter_(1, index[:, None], 1.0)


def even_noise(draws: int, offset: Tensor, seed: int) -> Tensor:
    """Normal numbers of S draws of N agents, [S, N, ...] with as many numbers as an offset has.

    Every single draw is normal, and the draws of one agent are spread evenly, so that means over
    them err less than over independent ones: they are a scrambled Sobol sequence, shifted by an
    offset of each agent's own. Draws of two agents with the same number are not joint samples.

    Args:
        draws: How many S, best a power of two or many.
        offset: Uniform numbers in [0, 1) of each agent, [N, ...]; the noise is on their device.
        seed: Seed of the scramble, which all agents share.

    Source: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points"; Cranley, Patterson 1976,
    "Randomization of number theoretic methods for multiple integration".
    """
    engine = torch.quasirandom.SobolEngine(  # type: ignore[no-untyped-call]
        offset.shape[1], scramble=True, seed=seed % 2**31
    )
    level = (engine.draw(draws).to(offset)[:, None] + offset).remainder_(1).clamp_(EDGE, 1 - EDGE)
    return level.mul_(2).sub_(1).erfinv_().mul_(2**0.5)
