"""Metrics of samples of the future: accuracy, calibration, and agreement between agents.

Every result is one number per agent, in the unit of the positions unless stated otherwise. A NaN
position makes the agent's score NaN. `samples` are [S, *, A, F, D], the true `future` [*, A, F, D].
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from trajflow.errors import TrajflowError
from trajflow.types import Batch, Bools, Floats, Ints

# Most numbers in memory at once where all pairs of samples are compared.
BUDGET = 1 << 20
# Tolerance for the rounding of a rank.
SLACK = 1e-9
# Quantile of the speeds of agents that stands for a fast agent.
FAST = 0.9


def min_ade(samples: Floats, future: Floats) -> Floats:
    """Average displacement error (ADE) of each agent's best sample, [*, A].

    Args:
        samples: Positions, [S, *, A, F, D].
        future: True positions, [*, A, F, D].
    """
    return np.asarray(_errors(samples, future).mean(-1).min(0))


def min_fde(samples: Floats, future: Floats) -> Floats:
    """Final displacement error (FDE) of each agent's best sample, [*, A].

    As usual in the field, the best sample is chosen separately for `min_ade` and `min_fde`.
    """
    return np.asarray(_errors(samples, future)[..., -1].min(0))


def mean_ade(samples: Floats, future: Floats) -> Floats:
    """Average displacement error, mean over the samples, [*, A]."""
    return np.asarray(_errors(samples, future).mean((0, -1)))


def mean_fde(samples: Floats, future: Floats) -> Floats:
    """Final displacement error, mean over the samples, [*, A]."""
    return np.asarray(_errors(samples, future)[..., -1].mean(0))


def miss_rate(samples: Floats, future: Floats, within: float = 2.0) -> Floats:
    """1 if no sample ends within a distance of the true endpoint, else 0; [*, A]."""
    nearest = min_fde(samples, future)
    return np.where(np.isnan(nearest), np.nan, nearest > within)


def energy_score(samples: Floats, future: Floats) -> Floats:
    """Energy score of the whole path, over the root of the number of steps, [*, A].

    `E|X - y| - E|X - X'| / 2`, with the norm over the flattened path of F * D numbers. The second
    mean is over pairs of different samples, so that the expectation does not depend on S. In
    expectation it is lowest for samples of the true distribution; for one sample it is the
    distance.

    Source: Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation",
    eq. 21.
    """
    away = _path_length(samples - future).mean(0)
    return np.asarray((away - _path_spread(samples) / 2) / np.sqrt(future.shape[-2]))


def weighted_energy_score(samples: Floats, weights: Floats, future: Floats) -> Floats:
    """Energy score of the distribution that consists of S weighted paths, over root F, [*, A].

    As `energy_score`, but X and X' are drawn from the weighted paths and may be equal (a
    V-statistic). This is right for selected samples, which are the whole forecast. For S equally
    weighted draws it exceeds `energy_score` by their mean distance over 2 S.

    Args:
        samples: Positions, [S, *, A, F, D].
        weights: Weights, [S, *, A], summing to 1 over S.
        future: True positions, [*, A, F, D].
    """
    away = (weights * _path_length(samples - future)).sum(0)
    return np.asarray((away - _path_spread(samples, weights) / 2) / np.sqrt(future.shape[-2]))


def coverage(
    samples: Floats, future: Floats, level: float, weights: Floats | None = None
) -> Floats:
    """Whether the true endpoint is inside the samples' region of a level, from 0 to 1; [*, A].

    The S + 1 endpoints (truth and samples) are ranked by their distance to the mean of the others.
    The truth is inside if its rank is at most (S + 1) level. Ties and ranks in between are not
    broken at random: the result is the probability that a random decision would be "inside", such
    as 0.9 for rank 19 of 21 at level 0.9. For samples of the true distribution the mean is thus
    exactly `level`, for every S. With one sample the result is NaN.

    With weights the samples are the whole forecast. The truth is inside if it lies in the smallest
    disc around the weighted mean that holds at least `level` of the weight.

    Args:
        samples: Positions, [S, *, A, F, D].
        future: True positions, [*, A, F, D].
        level: Share of truths that should be inside.
        weights: Weights of selected samples, [S, *, A], summing to 1 over S; None: plain draws.

    Source: Hamill 2001, "Interpretation of rank histograms for verifying ensemble forecasts", with
    the distance to the mean of the others as pre-rank (Gneiting et al. 2008).
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
    """Distances that a new draw stays within with probabilities `levels`, [Q, *].

    For S draws it is the ceil((S + 1) level)-th smallest distance, because a new draw takes each of
    the S + 1 ranks with equal probability; infinite if that is more than S. With weights it is the
    weighted quantile.

    Args:
        distances: Distances of S draws, [S, *].
        levels: Probabilities, Q of them.
        weights: Weights, [S, *]; None: plain draws.
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
    """Mean distance between two different samples, over steps and pairs, [*, A]; 0 for one sample.

    With weights [S, *, A] it is the mean distance between two draws from the weighted samples.
    """
    return _between(samples, lambda difference: _length(difference).mean(-1), weights)


def spread_ratio(samples: Floats, future: Floats) -> float:
    """Distance between samples [S, *, A, F, D] over their distance to the truth [*, A, F, D].

    Both are means over steps, samples and agents. Below 1 the samples are too narrow, above 1 too
    wide: for samples of the true distribution the ratio is 1.
    """
    width, away = spread(samples).mean(), mean_ade(samples, future).mean()
    return float(width / away) if away > 0 else float("nan")


def joint_ade(samples: Floats, future: Floats, marked: Bools) -> Floats:
    """Average displacement error in the sample that is best for the whole scene (JADE), [B, A].

    Its mean over agents is the JADE of the field with scenes weighted by their agents. It is never
    below the mean of `min_ade`.

    Args:
        samples: Joint samples, [S, B, A, F, D]: sample s of all agents is one future.
        future: True positions, [B, A, F, D].
        marked: Agents that count, [B, A]; the result is NaN for the others.

    Source: Weng et al. 2023, "Joint metrics matter: a better standard for trajectory forecasting".
    """
    return _of_best_scene(_errors(samples, future).mean(-1), marked)


def joint_fde(samples: Floats, future: Floats, marked: Bools) -> Floats:
    """Final displacement error in the sample that ends best for the whole scene (JFDE), [B, A]."""
    return _of_best_scene(_errors(samples, future)[..., -1], marked)


def collision_rate(samples: Floats, marked: Bools, within: float = 0.2) -> Floats:
    """Share of the joint samples in which an agent collides with another one, [B, A].

    Two agents collide if they come nearer than `within` between the first and the last forecast
    step, with straight motion between steps. An agent without others has rate 0.

    Args:
        samples: Joint samples, [S, B, A, F, D].
        marked: Agents that count, [B, A]; the result is NaN for the others.
        within: Distance of a collision.
    """
    touched = np.zeros(samples.shape[:3], bool)
    low, high = samples.min(-2) - within, samples.max(-2)
    scene, first_agent, second_agent = _meeting(low, high, marked)
    size = max(1, BUDGET // max(1, samples[:, :1, :1].size))
    for first in range(0, len(scene), size):
        b, i, j = (index[first : first + size] for index in (scene, first_agent, second_agent))
        boxes_meet = (low[:, b, i] < high[:, b, j]) & (low[:, b, j] < high[:, b, i])
        draw, pair = np.nonzero(boxes_meet.all(-1))
        b, i, j = b[pair], i[pair], j[pair]
        hit = _nearest(samples[draw, b, i] - samples[draw, b, j]) < within
        touched[draw[hit], b[hit], i[hit]] = True
        touched[draw[hit], b[hit], j[hit]] = True
    return np.where(marked, touched.mean(0), np.nan)


def _meeting(low: Floats, high: Floats, marked: Bools) -> tuple[Ints, Ints, Ints]:
    """Scene and agents of pairs whose boxes may meet, as arrays; of a crowd few of all pairs do.

    Args:
        low: Lowest coordinates of each agent's box, [S, B, A, D].
        high: Highest coordinates.
        marked: Agents that count, [B, A].
    """
    parts = [(np.zeros(0, np.int64),) * 3]
    for scene, chosen in enumerate(marked):
        agents = np.flatnonzero(chosen)
        ends = low[:, scene, agents].min(0), high[:, scene, agents].max(0)
        axis = int(np.ptp(ends[0], axis=0).argmax()) if len(agents) else 0
        order = np.argsort(ends[0][:, axis], kind="stable")
        begin, end = (side[order, axis] for side in ends)
        count = np.maximum(np.searchsorted(begin, end) - np.arange(len(agents)) - 1, 0)
        first = np.repeat(np.arange(len(agents)), count)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        parts.append((np.full(len(first), scene), agents[order[first]], agents[order[second]]))
    scenes, firsts, seconds = (np.concatenate(column) for column in zip(*parts, strict=True))
    return scenes, firsts, seconds


def mean_speed(past: Floats) -> Floats:
    """Mean displacement per step of pasts, [*, T, D] -> [*], in their unit.

    Steps with an unobserved end do not count; a past without any other step has speed 0.
    """
    lengths = np.sqrt(np.square(np.diff(past, axis=-2)).sum(-1))
    seen = np.isfinite(lengths)
    covered = np.where(seen, lengths, 0.0).sum(-1)
    return np.asarray(covered / np.maximum(seen.sum(-1), 1))


def typical_speed(batches: Iterable[Batch]) -> float:
    """Mean displacement per step that nine of ten targets of batches do not exceed.

    The 90th percentile is the speed of those who move, also where many stand.
    """
    return float(np.quantile(np.concatenate([mean_speed(b.past[b.target]) for b in batches]), FAST))


def energy_distance(first: Floats, second: Floats, chunk: int = 2048) -> float:
    """Unbiased energy distance between two sets of samples, in their unit.

    `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, with the norm over all but the first axis. Its mean is 0
    for equal distributions and positive otherwise; a finite set may give a value slightly below 0.
    A NaN gives NaN.

    Args:
        first: Samples of one distribution, [S, ...].
        second: Samples of the other, [N, ...].
        chunk: Rows compared at once; memory grows with its square.

    Raises:
        TrajflowError: A set holds fewer than two samples, or the samples differ in shape.

    Source: Szekely and Rizzo 2013, "Energy statistics: a class of statistics based on distances".
    """
    x, y = _flat_pair(first, second)
    across = _distances(x, y, chunk) / (len(x) * len(y))
    return 2 * across - _mean_within(x, chunk) - _mean_within(y, chunk)


def deviation_ratio(samples: Floats, truth: Floats) -> float:
    """Total standard deviation of samples [S, ...] over that of the truth [N, ...].

    Raises:
        TrajflowError: A set holds fewer than two samples, or the samples differ in shape.
    """
    x, y = _flat_pair(samples, truth)
    return float(np.sqrt(x.var(0, ddof=1).sum() / y.var(0, ddof=1).sum()))


def _length(vectors: Floats) -> Floats:
    return np.sqrt(_dot(vectors, vectors))


def _dot(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.einsum("...d,...d->...", first, second))


def _path_length(paths: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("...fd,...fd->...", paths, paths)))


def _errors(samples: Floats, future: Floats) -> Floats:
    """Distances of every sample at every step, [S, *, F]."""
    return _length(samples - future)


def _of_best_scene(errors: Floats, marked: Bools) -> Floats:
    """Errors [S, B, A] of the sample with the least sum over the marked agents, [B, A]."""
    best = np.where(marked, errors, 0.0).sum(-1).argmin(0)
    return np.where(marked, errors[best, np.arange(len(best))], np.nan)


def _path_spread(samples: Floats, weights: Floats | None = None) -> Floats:
    """Mean distance between the paths of two different samples, or of two weighted ones, [*, A]."""
    from scipy.spatial.distance import pdist

    count, lead = len(samples), samples.shape[1:-2]
    if count < 2:
        return np.zeros(lead)
    paths = np.moveaxis(samples.reshape(count, -1, samples.shape[-2] * samples.shape[-1]), 1, 0)
    distances = [pdist(path) for path in np.ascontiguousarray(paths)]
    if weights is None:
        return np.array([first.mean() for first in distances]).reshape(lead)
    first, second = np.triu_indices(count, 1)
    share = weights.reshape(count, -1).T
    twice = [2 * (d * w[first] * w[second]).sum() for d, w in zip(distances, share, strict=True)]
    return np.array(twice).reshape(lead)


def _between(
    samples: Floats, distance: Callable[[Floats], Floats], weights: Floats | None = None
) -> Floats:
    """Mean distance over pairs of different samples, or over weighted pairs, [*, A]."""
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
    """Least distance to the origin of polylines [N, F, D], [N]."""
    if distances.shape[-2] == 1:
        return _length(distances[..., 0, :])
    begin, along = distances[..., :-1, :], np.diff(distances, axis=-2)
    square = _dot(along, along)
    part = -_dot(begin, along) / np.where(square > 0, square, 1.0)
    return np.asarray(_length(begin + np.clip(part, 0, 1)[..., None] * along).min(-1))


def _flat_pair(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Both sets as rows, [S, D] and [N, D], relative to one centre."""
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
    """Sum of the distances of all pairs of rows."""
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
