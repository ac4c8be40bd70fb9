"""Distances between draws and the futures that stand for them, and whose draws are whose."""

import torch
from torch import Tensor

TINY = 1e-12


def nearest(draws: Tensor, futures: Tensor) -> Tensor:
    """Index of the future nearest to each draw, [N, S], by the distance of whole paths.

    Args:
        draws: [N, S, F, D], near the origin.
        futures: [N, K, F, D].
    """
    return nearest_rows(draws.flatten(2), futures.flatten(2))


def nearest_rows(rows: Tensor, centres: Tensor) -> Tensor:
    """Index of the centre [N, K, H] nearest to each row [N, S, H], [N, S]."""
    square = centres.square().sum(-1)
    return torch.baddbmm(square[:, None], rows, centres.transpose(1, 2), alpha=-2).argmin(-1)


def membership(index: Tensor, count: int, like: Tensor) -> Tensor:
    """1 where a draw belongs to a future, else 0, [N, K, S], of an index [N, S] below `count`."""
    lead, draws = index.shape
    members = like.new_zeros(lead, count, draws)
    return members.scatter_(1, index[:, None], 1.0)


def shares(index: Tensor, count: int, like: Tensor) -> Tensor:
    """Share of the draws that belong to each future, [N, K], of an index [N, S] below `count`."""
    ones = like.new_ones(index.shape)
    return like.new_zeros(len(index), count).scatter_add_(1, index, ones) / index.shape[1]


def displacements(draws: Tensor, futures: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each draw to each future, mean over the steps and at the last, two [N, S, K].

    Args:
        draws: [N, S, F, D], near the origin.
        futures: [N, K, F, D].
    """
    # Step by step: all steps at once would be F times what the cache holds.
    first, *others = (
        _apart(points, centres)
        for points, centres in zip(draws.unbind(2), futures.unbind(2), strict=True)
    )
    total, last = first, first
    for last in others:
        total = total + last
    return total / draws.shape[2], last


def _apart(points: Tensor, centres: Tensor) -> Tensor:
    """Distances between points [N, S, D] and centres [N, K, D], [N, S, K]."""
    squares = points.square().sum(-1)[..., None] + centres.square().sum(-1)[:, None]
    squares = torch.baddbmm(squares, points, centres.transpose(1, 2), alpha=-2)
    return squares.clamp_min_(TINY).sqrt_()
