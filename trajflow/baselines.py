"""Baseline forecasters that need no network, and that a network has to beat.

Each is a function that is fitted on batches of the training split and returns a forecaster.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np

from trajflow.errors import ConfigError, DataError, did_you_mean
from trajflow.types import Batch, Floats, Ints

# Standard deviation of the angle, as in the paper.
ANGLE_DEVIATION = np.deg2rad(25)
# Training windows that a forecast is drawn from.
NEAREST = 200
# Most training windows in memory.
LIMIT = 200_000
# Most training windows that anchors are fitted on.
ANCHOR_WINDOWS = 10_000
# Least scale of a path, as a share of the root mean square step of the training windows.
LEAST_STEP = 0.5
MEDIAN_ROUNDS = 10

Draw = Callable[[Floats, int, np.random.Generator], Floats]
"""Futures [S, N, F, D] of pasts [N, T, D], both relative to the present position."""


@dataclass(frozen=True)
class Baseline:
    """A forecaster that uses the target's own past only.

    Attributes:
        name: Name of the baseline.
        horizon: Future steps F.
        draw: Draws the futures.
    """

    name: str
    horizon: int
    draw: Draw

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""
        past = batch.past[batch.target]
        now = past[:, -1:]
        return batch.placed(self.draw(past - now, samples, np.random.default_rng(seed)) + now)


def horizon_of(batches: Iterable[Batch]) -> int:
    """Future steps F of the first batch.

    Raises:
        DataError: There are no batches.
    """
    for batch in batches:
        return int(batch.future.shape[2])
    raise DataError("there are no training windows; choose another split or fold")


Fit = Callable[[Iterable[Batch], int, int], Baseline]
"""Fits a baseline: training batches, number of samples, seed."""


def available() -> list[str]:
    """Names of the baselines."""
    return sorted(BASELINES)


def load(name: str) -> Fit:
    """The function that fits a baseline.

    Args:
        name: One of `available()`.

    Raises:
        ConfigError: There is no such baseline.

    Examples:
        >>> from trajflow.baselines import load
        >>> load("cv-sampeld")
        Traceback (most recent call last):
        ...
        trajflow.errors.ConfigError: no baseline 'cv-sampeld'; did you mean 'cv-sampled'? \
(there are analog, anchors, cv, cv-sampled)
    """
    if name not in available():
        raise ConfigError(did_you_mean("baseline", name, available()))
    return BASELINES[name]


@dataclass(frozen=True)
class Bank:
    """N training windows with one target each.

    Attributes:
        past: Positions relative to the present one, [N, T, D].
        future: Positions relative to the present one, [N, F, D].
        scene: Index of the recording, [N].
    """

    past: Floats
    future: Floats
    scene: Ints

    def __len__(self) -> int:
        """Number of windows, N."""
        return len(self.scene)

    def take(self, rows: Ints) -> "Bank":
        """The windows at some rows."""
        return Bank(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def mirrored(self) -> "Bank":
        """The windows and their mirror images, 2 N windows."""
        flip = np.where(np.arange(self.past.shape[-1]) == 1, -1.0, 1.0)
        return _joined([self, Bank(self.past * flip, self.future * flip, self.scene)])


def cv(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Baseline:
    """Constant velocity: repeat the last step. Only the horizon is taken from the batches.

    Source: Schöller et al. 2020, "What the constant velocity model can teach us about pedestrian
    motion prediction".
    """
    horizon = horizon_of(batches)
    ahead = np.arange(1, horizon + 1)[:, None]

    def draw(past: Floats, samples: int, rng: np.random.Generator) -> Floats:
        path = last_step(past)[:, None] * ahead
        return np.broadcast_to(path, (samples, *path.shape))

    return Baseline("cv", horizon, draw)


def cv_sampled(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Baseline:
    """Constant velocity in a direction turned by an angle drawn from N(0, 25 degrees).

    Agents that stand stay in every sample; a third coordinate keeps its velocity.

    Source: Schöller et al. 2020, "What the constant velocity model can teach us about pedestrian
    motion prediction", OUR-S.
    """
    horizon = horizon_of(batches)
    ahead = np.arange(1, horizon + 1)[:, None]

    def draw(past: Floats, samples: int, rng: np.random.Generator) -> Floats:
        angles = rng.normal(0.0, ANGLE_DEVIATION, (samples, len(past)))
        return turned(last_step(past), angles)[:, :, None] * ahead

    return Baseline("cv-sampled", horizon, draw)


def anchors(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Baseline:
    """Anchors: one fixed set of paths for all agents, one for each sample.

    Training futures, equally many of each recording, are rotated so that the last step that moved
    points along x, and divided by `hypot(last step, least scale)`, which is above 0 for agents that
    stand. Each is used twice, once mirrored. After k-means, each path is assigned to the anchor
    with the lowest displacement error, and each anchor moves to the geometric median of its paths,
    step by step. Paths are weighted by their scale, so that errors count in the unit of the tracks.
    Agents that never moved get the anchors in the directions of the world.

    Anchors are a fixed set, not draws: they do well in the best of 20 and in no other score.
    """
    rng = np.random.default_rng(seed)
    bank = _evenly(collect_windows(batches, LIMIT, rng), ANCHOR_WINDOWS, rng).mirrored()
    least = LEAST_STEP * np.sqrt(np.square(last_step(bank.past)).sum(-1).mean()) or 1.0
    scale = _scale(bank.past, least)
    along = turned(bank.future, -np.nan_to_num(headings(bank.past))[:, None])
    paths = _medians(along / scale[:, None, None], scale, samples, seed)

    def draw(past: Floats, samples: int, rng: np.random.Generator) -> Floats:
        if samples != len(paths):
            raise ConfigError(
                f"there are {len(paths)} anchors, not {samples}; "
                f"fit the anchors with samples={samples}"
            )
        wide = paths[:, None] * _scale(past, least)[:, None, None]
        return turned(wide, np.nan_to_num(headings(past))[:, None])

    return Baseline("anchors", bank.future.shape[1], draw)


def _evenly(bank: Bank, most: int, rng: np.random.Generator) -> Bank:
    """Sample at most `most` windows, each recording with the same probability."""
    if len(bank) <= most:
        return bank
    share = 1 / np.bincount(bank.scene)[bank.scene]
    return bank.take(rng.choice(len(bank), most, replace=False, p=share / share.sum()))


def _scale(past: Floats, least: float) -> Floats:
    return np.asarray(np.hypot(np.sqrt(np.square(last_step(past)).sum(-1)), least))


def _medians(paths: Floats, scale: Floats, count: int, seed: int) -> Floats:
    """Cluster paths [N, F, D] weighted by their scale [N] into medians [S, F, D]."""
    from sklearn.cluster import KMeans

    flat = paths.reshape(len(paths), -1)
    distinct = min(count, len(np.unique(flat, axis=0)))
    clusters = KMeans(distinct, n_init=3, max_iter=20, random_state=seed)
    clusters.fit(flat, sample_weight=np.square(scale))
    anchors = clusters.cluster_centers_.reshape(-1, *paths.shape[1:])
    for _ in range(MEDIAN_ROUNDS):
        means = [np.sqrt(np.square(paths - anchor).sum(-1)).mean(-1) for anchor in anchors]
        nearest = np.argmin(means, 0)
        steps = np.sqrt(np.square(paths - anchors[nearest]).sum(-1))
        for k in range(len(anchors)):
            members = nearest == k
            if members.any():
                weight = scale[members, None] / np.maximum(steps[members], 1e-3)
                total = np.einsum("nf,nfd->fd", weight, paths[members])
                anchors[k] = total / weight.sum(0)[:, None]
    return np.resize(anchors, (count, *paths.shape[1:]))


def analog(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Baseline:
    """Analogs: draw from the futures of the 200 training windows with the nearest pasts.

    Pasts are compared relative to the present position and rotated so that the last step that moved
    points along x; each window is used twice, once mirrored. The distance is Euclidean over all
    steps. Samples are drawn without replacement if there are enough, and rotated back. For agents
    that never moved the direction is random.
    """
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(seed)
    bank = collect_windows(batches, LIMIT, rng).mirrored()
    futures = turned(bank.future, -_random_if_unknown(headings(bank.past), rng, len(bank))[:, None])
    index = NearestNeighbors(n_neighbors=min(NEAREST, len(bank))).fit(_features(bank.past))

    def draw(past: Floats, samples: int, rng: np.random.Generator) -> Floats:
        near = index.kneighbors(_features(past), return_distance=False)
        chosen = np.take_along_axis(near, _random_choices(near.shape, samples, rng), 1).T
        back = _random_if_unknown(headings(past), rng, samples, len(past))
        return turned(futures[chosen], back[..., None])

    return Baseline("analog", bank.future.shape[1], draw)


def _features(past: Floats) -> Floats:
    """Pasts relative to the present and rotated along their heading, as rows, [N, ...]."""
    along = turned(past, -np.nan_to_num(headings(past))[:, None])
    return along.reshape(len(past), -1)


def _random_if_unknown(angles: Floats, rng: np.random.Generator, *shape: int) -> Floats:
    """The angles [N], with random angles in place of NaN, in a shape that ends in N."""
    return np.where(np.isnan(angles), rng.uniform(-np.pi, np.pi, shape), angles)


def _random_choices(shape: tuple[int, int], samples: int, rng: np.random.Generator) -> Ints:
    """For each row of a shape [N, K], S random columns, [N, S]; distinct if K allows."""
    rows, columns = shape
    if samples > columns:
        return rng.integers(columns, size=(rows, samples))
    return rng.random(shape).argsort(1)[:, :samples]


def last_step(past: Floats) -> Floats:
    """The last step of each agent, [N, D]; 0 if the past [N, T, D] has a single step."""
    now = past[:, -1]
    return now - past[:, -2] if past.shape[1] > 1 else np.zeros_like(now)


def headings(past: Floats) -> Floats:
    """Direction of the last step that moved, [N], radians; NaN for agents that never moved.

    Args:
        past: Positions, [N, T, D].
    """
    steps = np.diff(past[..., :2], axis=1)[:, ::-1]
    moved = (steps != 0).any(-1)
    if not moved.any():
        return np.full(len(past), np.nan)
    last = steps[np.arange(len(past)), moved.argmax(1)]
    return np.where(moved.any(1), np.arctan2(last[:, 1], last[:, 0]), np.nan)


def turned(points: Floats, angles: Floats) -> Floats:
    """Rotate points [..., D] in the plane around the origin; a third coordinate stays.

    Args:
        points: Points, [..., D].
        angles: Radians, counter-clockwise, broadcastable to [...].
    """
    cosine, sine = np.cos(angles), np.sin(angles)
    x, y = points[..., 0], points[..., 1]
    flat = [cosine * x - sine * y, sine * x + cosine * y]
    rest = [np.broadcast_to(points[..., k], flat[0].shape) for k in range(2, points.shape[-1])]
    return np.stack(flat + rest, -1)


def collect_windows(batches: Iterable[Batch], limit: int, rng: np.random.Generator) -> Bank:
    """Collect the targets of batches; at most `limit`, chosen at random.

    Memory is bounded by twice the limit.

    Raises:
        DataError: There are no targets.
    """
    banks: list[Bank] = []
    keys = np.empty(0)
    for batch in batches:
        banks.append(_targets(batch))
        keys = np.append(keys, rng.random(len(banks[-1])))
        if len(keys) > 2 * limit:
            bank, keys = _lowest_keys(_joined(banks), keys, limit)
            banks = [bank]
    if not len(keys):
        raise DataError("there are no training windows to learn from; choose another split or fold")
    return _lowest_keys(_joined(banks), keys, limit)[0]


def _targets(batch: Batch) -> Bank:
    past, future = batch.past[batch.target], batch.future[batch.target]
    now = past[:, -1:]
    return Bank(past - now, future - now, np.repeat(batch.scene, batch.target.sum(1)))


def _joined(banks: list[Bank]) -> Bank:
    return Bank(
        **{f.name: np.concatenate([getattr(b, f.name) for b in banks]) for f in fields(Bank)}
    )


def _lowest_keys(bank: Bank, keys: Floats, limit: int) -> tuple[Bank, Floats]:
    """The windows with the lowest keys, and these keys."""
    if len(keys) <= limit:
        return bank, keys
    rows = np.sort(np.argpartition(keys, limit)[:limit])
    return bank.take(rows), keys[rows]


BASELINES: dict[str, Fit] = {
    "analog": analog,
    "anchors": anchors,
    "cv": cv,
    "cv-sampled": cv_sampled,
}
