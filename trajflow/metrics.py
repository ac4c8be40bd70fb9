"""How good samples of the future are: accuracy, calibration, and how people share one future.

Every result is one number per agent, in the unit of the positions unless said otherwise; means over
agents, recordings and groups are taken by whoever asks. A step of NaN makes the agent's score NaN.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from trajflow.errors import TrajflowError
from trajflow.types import Bools, Floats

BUDGET = 1 << 20
"""Numbers of the samples that are held at once where all pairs of samples are compared."""
SLACK = 1e-9
"""By how much a rank may miss a whole number in rounding."""


def min_ade(samples: Floats, future: Floats) -> Floats:
    """Displacement error, mean over the steps, of each agent's own best sample, [*, A].

    Args:
        samples: Positions, [S, *, A, F, D].
        future: What happened, [*, A, F, D].
    """
    return np.asarray(_errors(samples, future).mean(-1).min(0))


def min_fde(samples: Floats, future: Floats) -> Floats:
    """Displacement error at the last step of each agent's own best sample, [*, A].

    The sample that ends best need not be the one that is best on the way: `min_ade` and `min_fde`
    each choose their own, as the field does.
    """
    return np.asarray(_errors(samples, future)[..., -1].min(0))


def mean_ade(samples: Floats, future: Floats) -> Floats:
    """Displacement error, mean over the steps and samples, [*, A]."""
    return np.asarray(_errors(samples, future).mean((0, -1)))


def mean_fde(samples: Floats, future: Floats) -> Floats:
    """Displacement error at the last step, mean over the samples, [*, A]."""
    return np.asarray(_errors(samples, future)[..., -1].mean(0))


def miss_rate(samples: Floats, future: Floats, within: float = 2.0) -> Floats:
    """1 where no sample ends within a distance of where the agent did, else 0; [*, A]."""
    nearest = min_fde(samples, future)
    return np.where(np.isnan(nearest), np.nan, nearest > within)


def energy_score(samples: Floats, future: Floats) -> Floats:
    """Energy score of the whole path over the root of the number of steps, [*, A].

    `E|X - y| - E|X - X'| / 2` with |.| over the flattened path of F * D numbers; the second mean is
    over pairs of different samples, so its expectation does not depend on S. It is lowest, on
    average, for samples of the true distribution, and of one sample it is the distance alone.

    Source: Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation",
    eq. 21.
    """
    away = _path_length(samples - future).mean(0)
    return np.asarray((away - _path_spread(samples) / 2) / np.sqrt(future.shape[-2]))


def weighted_energy_score(samples: Floats, weights: Floats, future: Floats) -> Floats:
    """Energy score of a distribution that is nothing but these S paths, over root F, [*, A].

    `E|X - y| - E|X - X'| / 2` as in `energy_score`, but X and X' are drawn of the weighted paths,
    so X' may be the same path as X (a V-statistic). That is right for a chosen set with weights:
    the set is the forecast, and no sample of another one. Of S plain draws with equal weights it
    is larger than `energy_score` by the mean distance between them over 2 S.

    Args:
        samples: Positions, [S, *, A, F, D].
        weights: Weight of each, [S, *, A], of sum 1 over S.
        future: What happened, [*, A, F, D].
    """
    away = (weights * _path_length(samples - future)).sum(0)
    return np.asarray((away - _path_spread(samples, weights) / 2) / np.sqrt(future.shape[-2]))


def coverage(
    samples: Floats, future: Floats, level: float, weights: Floats | None = None
) -> Floats:
    """How far the true endpoint counts as inside the samples' region of a level, 0 to 1; [*, A].

    The S + 1 endpoints, the true one and the samples', are ranked by their distance to the mean of
    the others. The truth counts as inside if its rank is at most (S + 1) level. Where that is
    between two ranks, and where distances tie, it counts by the share of the random ways to decide
    in which it is inside: 0.9 for the 19th rank of 21 at level 0.9. So the mean over many truths is
    exactly `level` for samples of their own distribution, for every S, and nothing is random. One
    sample says nothing (NaN).

    With weights [S, *, A] the paths are a chosen set, which is the whole forecast and no sample of
    another one; there is nothing to rank the truth with. It is inside, 1, if it is in the smallest
    disc around the weighted mean that holds at least `level` of the weight.

    Args:
        samples: Positions, [S, *, A, F, D].
        future: What happened, [*, A, F, D].
        level: Share of truths that should be inside.
        weights: Weight of each sample, [S, *, A], of sum 1 over S; None: they are plain draws.

    Source: Hamill 2001, "Interpretation of rank histograms for verifying ensemble forecasts", with
    the distance to the mean of the others as the rank's pre-rank (Gneiting et al. 2008).
    """
    ends, truth = samples[..., -1, :], future[..., -1, :]
    if weights is not None:
        centre = (weights[..., None] * ends).sum(0)
        away, inner = _length(truth - centre), _length(ends - centre)
        return np.where(np.isnan(away), np.nan, away <= radii_of_levels(inner, level, weights)[0])
    # A distance to the mean of the others is (S + 1) / S of that to the mean of all.
    offset = np.concatenate([(truth - ends[0])[None], ends - ends[0]])
    distance = _length(offset - offset.mean(0))
    away, others = distance[0], distance[1:]
    nearer, tied = (others < away).sum(0), 1 + (others == away).sum(0)
    inside = np.clip(len(offset) * level - nearer, 0, tied) / tied
    return np.where(np.isnan(away) | (len(ends) < 2), np.nan, inside)


def radii_of_levels(distances: Floats, levels: ArrayLike, weights: Floats | None = None) -> Floats:
    """The distances that a new one stays within with probabilities `levels`, [Q, *].

    Of S distances of draws it is the ceil((S + 1) level)-th smallest, because the new one takes
    each of the S + 1 ranks equally often; infinite where that is more than S. With weights the
    distances are the whole distribution, and it is the least that holds the level.

    Args:
        distances: Distances of S draws, [S, *].
        levels: Probabilities, Q of them.
        weights: Weight of each, [S, *]; None: they are plain draws.
    """
    levels = np.atleast_1d(np.asarray(levels, float))
    if weights is not None:
        result = np.quantile(distances, levels, axis=0, weights=weights, method="inverted_cdf")
        return np.asarray(result)
    rank = np.ceil(levels * (len(distances) + 1) - SLACK).astype(int)
    beyond = np.where(np.isnan(distances[:1]), np.nan, np.inf)
    ranked = np.concatenate([np.sort(distances, 0), beyond])
    return np.asarray(ranked[np.minimum(rank, len(ranked)) - 1])


def spread(samples: Floats, weights: Floats | None = None) -> Floats:
    """Distance between two different samples, mean over the steps and pairs, [*, A]; 0 of one.

    With weights [S, *, A] it is that between two futures drawn of the weighted samples.
    """
    return _between(samples, lambda difference: _length(difference).mean(-1), weights)


def spread_ratio(samples: Floats, future: Floats) -> float:
    """Distance between samples [S, *, A, F, D] over that to what happened [*, A, F, D].

    Both are means over steps, samples and agents. Below 1 the samples are too sure, above 1 they
    are too wide: samples of the truth's own distribution are as far apart as they are from it.
    """
    width, away = spread(samples).mean(), mean_ade(samples, future).mean()
    return float(width / away) if away > 0 else float("nan")


def joint_ade(samples: Floats, future: Floats, marked: Bools) -> Floats:
    """Each agent's error in the one sample that is best for its whole scene, [B, A].

    Its mean over agents is the field's JADE with scenes weighted by their agents; it is never
    below the mean of `min_ade`.

    Args:
        samples: Joint samples, sample s of all agents being one future, [S, B, A, F, D].
        future: What happened, [B, A, F, D].
        marked: Agents that count, [B, A]; the others are NaN in the result.

    Source: Weng et al. 2023, "Joint metrics matter: a better standard for trajectory forecasting".
    """
    return _of_best_scene(_errors(samples, future).mean(-1), marked)


def joint_fde(samples: Floats, future: Floats, marked: Bools) -> Floats:
    """Each agent's last error in the sample that ends best for its whole scene, [B, A]."""
    return _of_best_scene(_errors(samples, future)[..., -1], marked)


def collision_rate(samples: Floats, marked: Bools, within: float = 0.2) -> Floats:
    """Share of the joint samples in which an agent comes too close to another one, [B, A].

    Two agents collide if they are nearer than `within` at any time from the first forecast step to
    the last, each moving straight between its steps. Without others the rate is 0.

    Args:
        samples: Joint samples, [S, B, A, F, D].
        marked: Agents that count, [B, A]; the others are NaN in the result.
        within: Distance.
    """
    scene, one, other = np.nonzero(np.triu(marked[:, :, None] & marked[:, None, :], 1))
    touched = np.zeros(samples.shape[:3], bool)
    low, high = samples.min(-2) - within, samples.max(-2)
    size = max(1, BUDGET // max(1, samples[:, :1, :1].size))
    for first in range(0, len(scene), size):
        b, i, j = (index[first : first + size] for index in (scene, one, other))
        boxes_meet = (low[:, b, i] < high[:, b, j]) & (low[:, b, j] < high[:, b, i])
        draw, pair = np.nonzero(boxes_meet.all(-1))
        b, i, j = b[pair], i[pair], j[pair]
        hit = _nearest(samples[draw, b, i] - samples[draw, b, j]) < within
        touched[draw[hit], b[hit], i[hit]] = True
        touched[draw[hit], b[hit], j[hit]] = True
    return np.where(marked, touched.mean(0), np.nan)


def mean_speed(past: Floats) -> Floats:
    """Mean distance covered per step of a past, [*, T, D] -> [*], in its unit per step.

    A step counts if both its ends were seen; a past without any has speed 0.
    """
    lengths = np.sqrt(np.square(np.diff(past, axis=-2)).sum(-1))
    seen = np.isfinite(lengths)
    covered = np.where(seen, lengths, 0.0).sum(-1)
    return np.asarray(covered / np.maximum(seen.sum(-1), 1))


def energy_distance(first: Floats, second: Floats, chunk: int = 2048) -> float:
    """Unbiased energy distance of two sample sets, in the unit of the samples.

    `2 E|X - Y| - E|X - X'| - E|Y - Y'|` with |.| over everything but the first axis. Its mean is
    zero where the distributions agree and positive anywhere else, so a finite set of samples from
    the same distribution also gives values slightly below zero. A NaN sample gives NaN.

    Args:
        first: Samples of one distribution, [S, ...].
        second: Samples of the other, [N, ...].
        chunk: Rows compared at once; memory grows with its square.

    Raises:
        TrajflowError: If a set holds fewer than two samples or the samples differ in shape.

    Source: Szekely and Rizzo 2013, "Energy statistics: a class of statistics based on distances".
    """
    x, y = _flat_pair(first, second)
    across = _distances(x, y, chunk) / (len(x) * len(y))
    return 2 * across - _mean_within(x, chunk) - _mean_within(y, chunk)


def deviation_ratio(samples: Floats, truth: Floats) -> float:
    """Total standard deviation of the samples [S, ...] over that of the truth [N, ...].

    Raises:
        TrajflowError: If a set holds fewer than two samples or the samples differ in shape.
    """
    x, y = _flat_pair(samples, truth)
    return float(np.sqrt(x.var(0, ddof=1).sum() / y.var(0, ddof=1).sum()))


def _length(vectors: Floats) -> Floats:
    return np.sqrt(_dot(vectors, vectors))


def _dot(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.einsum("...d,...d->...", one, other))


def _path_length(paths: Floats) -> Floats:
    """Root of the sum of squares of all F * D numbers of each path [..., F, D]."""
    return np.asarray(np.sqrt(np.einsum("...fd,...fd->...", paths, paths)))


def _errors(samples: Floats, future: Floats) -> Floats:
    """Distances of every sample at every step, [S, *, F]."""
    return _length(samples - future)


def _of_best_scene(errors: Floats, marked: Bools) -> Floats:
    """The errors [S, B, A] of the sample with the least sum over the marked agents, [B, A]."""
    best = np.where(marked, errors, 0.0).sum(-1).argmin(0)
    return np.where(marked, errors[best, np.arange(len(best))], np.nan)


def _path_spread(samples: Floats, weights: Floats | None = None) -> Floats:
    """Mean length between the paths of all pairs of different samples, or weighted, [*, A]."""
    from scipy.spatial.distance import pdist

    count, lead = len(samples), samples.shape[1:-2]
    if count < 2:
        return np.zeros(lead)
    paths = np.moveaxis(samples.reshape(count, -1, samples.shape[-2] * samples.shape[-1]), 1, 0)
    distances = [pdist(path) for path in np.ascontiguousarray(paths)]
    if weights is None:
        return np.array([one.mean() for one in distances]).reshape(lead)
    one, other = np.triu_indices(count, 1)
    share = weights.reshape(count, -1).T
    twice = [2 * (d * w[one] * w[other]).sum() for d, w in zip(distances, share, strict=True)]
    return np.array(twice).reshape(lead)


def _between(
    samples: Floats, distance: Callable[[Floats], Floats], weights: Floats | None = None
) -> Floats:
    """Mean distance over all pairs of different samples, or over all weighted pairs, [*, A]."""
    count, lead = len(samples), samples.shape[1:-2]
    share = 1 / max(1, count * (count - 1))
    root = np.full((count, *lead), np.sqrt(share)) if weights is None else weights
    root = root.reshape(count, -1)
    flat = samples.reshape(count, -1, *samples.shape[-2:])
    total = np.zeros(flat.shape[1])
    size = max(1, BUDGET // flat[:, 0].size) if flat.size else 1
    for first in range(0, flat.shape[1], size):
        part, half = flat[:, first : first + size], root[:, first : first + size]
        for shift in range(1, count // 2 + 1):
            twice = 1 if 2 * shift == count else 2
            distances = distance(part - np.roll(part, shift, 0)) * half * np.roll(half, shift, 0)
            total[first : first + size] += twice * distances.sum(0)
    return total.reshape(lead)


def _nearest(distances: Floats) -> Floats:
    """Least distance to the origin of each of the polylines [N, F, D], [N]."""
    if distances.shape[-2] == 1:
        return _length(distances[..., 0, :])
    begin, along = distances[..., :-1, :], np.diff(distances, axis=-2)
    square = _dot(along, along)
    part = -_dot(begin, along) / np.where(square > 0, square, 1.0)
    return np.asarray(_length(begin + np.clip(part, 0, 1)[..., None] * along).min(-1))


def _flat_pair(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Both sets as rows about one common centre, [S, D] and [N, D]."""
    shapes = f"got {list(np.shape(first))} and {list(np.shape(second))}"
    if min(len(first), len(second)) < 2:
        raise TrajflowError(f"each set needs at least 2 samples, {shapes}; draw more")
    if np.shape(first)[1:] != np.shape(second)[1:]:
        raise TrajflowError(f"samples must have one shape, [S, ...] and [N, ...], {shapes}")
    x = np.asarray(first, np.float64).reshape(len(first), -1)
    y = np.asarray(second, np.float64).reshape(len(second), -1)
    centre = y.mean(0)
    return x - centre, y - centre


def _mean_within(x: Floats, chunk: int) -> float:
    return _distances(x, x, chunk) / (len(x) * (len(x) - 1))


def _distances(x: Floats, y: Floats, chunk: int) -> float:
    """Sum of the distances of all pairs; a row is at no distance from itself."""
    total = 0.0
    for i in range(0, len(x), chunk):
        a = x[i : i + chunk]
        for j in range(0, len(y), chunk):
            b = y[j : j + chunk]
            square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
            if x is y and i == j:
                np.fill_diagonal(square, 0.0)  # rounding leaves up to 1e-7 there
            total += float(np.sqrt(np.maximum(square, 0.0)).sum())
    return total
