"""Earlier paths of others in forecasts, as often as they have proved right at the place.

Some draws of a forecast are replaced by paths that others walked here earlier. How many follows
from the forecasts of the place whose futures are known by now: the energy score of a mixture of
draws and paths is quadratic in their shares, so sums over these forecasts give the best shares. No
network is trained, and a place where earlier paths tell nothing keeps its plain draws.

Chosen futures are spread out on purpose, and a path stands for several of them: it takes the place
of the least likely ones, half as many as the share says, and the share becomes the paths' weight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trajflow.errors import ConfigError
from trajflow.observations import motion
from trajflow.types import Bools, Floats, Ints

if TYPE_CHECKING:
    from trajflow.place import Place

# Earlier tracks that are looked up for an agent.
TRACKS = 8
# Speeds between classes of agents with shares of their own, over the typical one.
CLASSES = (0.3, 1.0)
# Draws that are replaced at most, as a share.
MOST = 0.7
# Chosen futures that are replaced, over the share of the paths.
OF_CHOSEN = 0.5
# Weight of "no paths" in the shares, in forecasts with futures a horizon of typical steps apart.
PRIOR = 2.0
# Steps at the end of a track whose mean leads on where the track ends early.
LAST = 3
# Forecasts at a place that wait for their futures; beyond these the oldest are dropped.
MAX_WAITING = 20_000


@dataclass(frozen=True)
class Paths:
    """Futures of N agents as K others went on earlier, best first, in two ways.

    Attributes:
        future: At the agent's present speed, and at the pace of then, [N, K, 2, F, D].
        usable: Where at least half of a future was observed, [N, K].
        speed: Present speeds of the agents over the typical one, [N].
    """

    future: Floats
    usable: Bools
    speed: Floats

    @classmethod
    def of(cls, past: Floats, memory: Floats, scale: float) -> Paths:
        """Paths that begin at the agents' present positions.

        Args:
            past: Pasts of the agents, [N, T, D]; NaN where not observed.
            memory: Earlier tracks of others, [N, K, T + F, D + 1]; see `Place.recall`.
            scale: Typical displacement per step.
        """
        here, velocity = motion(past)
        speed = np.nan_to_num(np.sqrt(np.square(velocity).sum(-1)))
        track = memory[:, :, past.shape[1] - 1 :, :-1]
        length = np.isfinite(track).all(-1).cumprod(-1).sum(-1)  # steps before the first gap
        usable = 2 * (length - 1) >= track.shape[2] - 1
        moves = _moves(np.where(usable[..., None, None], track, 0.0), length)
        paces = np.stack([_at_speed(moves, speed), np.cumsum(moves, 2)], 2)
        return cls(here[:, None, None, None] + paces, usable, speed / scale)

    def take(self, rows: Ints) -> Paths:
        """The paths of some agents."""
        return Paths(self.future[rows], self.usable[rows], self.speed[rows])

    def mixed(
        self, drawn: Floats, shares: Floats, weights: Floats | None = None
    ) -> tuple[Floats, Floats | None]:
        """Draws [S, N, F, D] of which some are replaced, by shares of both ways [N, 2].

        Of plain draws these are the first, of chosen futures with weights [S, N] the least likely.
        """
        result, shares_of = drawn.copy(), shares.sum(1)
        part, order = 1.0, np.broadcast_to(np.arange(len(drawn))[:, None], drawn.shape[:2])
        if weights is not None:
            weights, part, order = weights.copy(), OF_CHOSEN, weights.argsort(0)
        ends = np.round(part * len(drawn) * np.cumsum(shares, 1)).astype(int)
        for agent in np.flatnonzero((ends[:, -1] > 0) & self.usable.any(1)).tolist():
            tracks, first = np.flatnonzero(self.usable[agent]), 0
            for way, last in enumerate(ends[agent].tolist()):
                chosen = tracks[np.arange(last - first) % len(tracks)]
                result[order[first:last, agent], agent] = self.future[agent, chosen, way]
                first = last
            if weights is not None:
                own, paths = order[first:, agent], order[:first, agent]
                weights[own, agent] *= (1 - shares_of[agent]) / weights[own, agent].sum()
                weights[paths, agent] = shares_of[agent] / first
        return result, weights

    def terms(
        self, drawn: Floats, future: Floats, weights: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """What replaced draws change in the energy score, to second order in the shares.

        With shares s the score of a forecast falls by s @ gain - s @ loss @ s / 2.

        Args:
            drawn: Plain draws or chosen futures, [S, N, F, D].
            future: What followed, [N, F, D].
            weights: Weights of chosen futures, [S, N].

        Returns:
            Gain [N, 2] and loss [N, 2, 2]; zero without a usable path.

        Source: Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and
        estimation", equation 22, with the forecast a mixture.
        """
        weight = self.usable / np.maximum(self.usable.sum(1), 1)[:, None]
        draws = drawn.transpose(1, 0, 2, 3)
        if weights is None:
            share: Floats = np.full((1, len(drawn)), 1 / len(drawn))
            spread = _distance(draws, np.roll(draws, 1, 1)).mean(1)
        else:
            share = weights.T
            turned = ((np.roll(draws, k, 1), np.roll(share, k, 1)) for k in range(1, len(drawn)))
            spread = sum(
                ((_distance(draws, others) * share * their).sum(1) for others, their in turned),
                start=np.zeros(len(future)),
            )
        to_truth = (_distance(draws, future[:, None]) * share).sum(1)
        ways = range(self.future.shape[2])
        gain, cross = np.zeros((2, len(future), len(ways)))
        for way in ways:
            path = self.future[:, :, way]
            for track in range(path.shape[1]):
                to_draws = (_distance(draws, path[:, None, track]) * share).sum(1)
                cross[:, way] += weight[:, track] * to_draws
            own = (_distance(path, future[:, None]) * weight).sum(1)
            gain[:, way] = to_truth - own - spread + cross[:, way]
        loss = np.zeros((len(future), len(ways), len(ways)))
        pairs = weight[:, :, None] * weight[:, None]
        for one in ways:
            for other in ways:
                path, against = self.future[:, :, None, one], self.future[:, None, :, other]
                between = (_distance(path, against) * pairs).sum((1, 2))
                loss[:, one, other] = cross[:, one] + cross[:, other] - spread - between
        valid = np.asarray(self.usable.any(1) & np.isfinite(gain).all(1))
        return np.where(valid[:, None], gain, 0), np.where(valid[:, None, None], loss, 0)


def _moves(track: Floats, length: Ints) -> Floats:
    """Displacements per step, [N, K, F, D]; after the end as in the last steps before it."""
    moves = np.diff(track, axis=2)
    number, end = np.arange(moves.shape[2])[:, None], length[..., None, None] - 1
    observed = number < end
    last = observed & (number >= end - LAST)
    mean = np.where(last, moves, 0).sum(2) / np.maximum(last.sum(2), 1)
    return np.asarray(np.where(observed, moves, mean[:, :, None]))


def _at_speed(moves: Floats, speed: Floats) -> Floats:
    """Displacements from the start along tracks at the speeds [N] of others, [N, K, F, D]."""
    corners = np.concatenate([np.zeros_like(moves[:, :, :1]), np.cumsum(moves, 2)], 2)
    way = np.concatenate([np.zeros((*moves.shape[:2], 1)), _length(moves).cumsum(2)], 2)
    goal = speed[:, None, None] * np.arange(1, moves.shape[2] + 1)
    # The leg of each goal; goals beyond the end lie on the last leg, extended.
    leg = (way[:, :, None, 1:-1] <= goal[..., None]).sum(-1)
    start, span = (np.take_along_axis(v, leg, 2) for v in (way[..., :-1], _length(moves)))
    share = (np.broadcast_to(goal, start.shape) - start) / np.where(span > 0, span, np.inf)
    begin, move = (np.take_along_axis(v, leg[..., None], 2) for v in (corners[:, :, :-1], moves))
    return np.asarray(begin + share[..., None] * move)


def _length(vectors: Floats) -> Floats:
    return np.asarray(np.sqrt(np.square(vectors).sum(-1)))


def _distance(one: Floats, other: Floats) -> Floats:
    """Distance of futures [*, F, D] over root F, as in `metrics.energy_score`."""
    difference = one - other
    square = np.einsum("...fd,...fd->...", difference, difference)
    return np.asarray(np.sqrt(square / difference.shape[-2]))


@dataclass
class _Sums:
    """Sums of gain and loss, and those that count from a later step on."""

    gain: Floats
    loss: Floats
    later: deque[tuple[int, Floats, Floats]] = field(default_factory=deque)


class PathShares:
    """Shares of earlier paths in forecasts, by scene and speed, from forecasts already resolved."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], _Sums] = {}

    def of(self, scene: str, now: int, speed: Floats, unit: float) -> Floats:
        """The best shares of both ways in the forecasts resolved by `now`, [N, 2] for speeds [N].

        `unit` is a horizon of typical steps, which makes the prior independent of lengths.
        """
        group = np.digitize(speed, CLASSES)
        shares = np.zeros((len(speed), 2))
        for number in np.unique(group).tolist():
            if (sums := self._sums.get((scene, number))) is not None:
                while sums.later and sums.later[0][0] <= now:
                    _, gain, loss = sums.later.popleft()
                    sums.gain, sums.loss = sums.gain + gain, sums.loss + loss
                shares[group == number] = _best(sums.gain, sums.loss + PRIOR * unit * np.eye(2))
        return shares

    def add(self, scene: str, resolved_at: int, speed: Floats, gain: Floats, loss: Floats) -> None:
        """Count `Paths.terms` of forecasts [N] whose futures are observed by step `resolved_at`.

        Calls are in the order of these steps.
        """
        group = np.digitize(speed, CLASSES)
        for number in np.unique(group).tolist():
            key, rows = (scene, number), group == number
            sums = self._sums.setdefault(key, _Sums(np.zeros(2), np.zeros((2, 2))))
            sums.later.append((resolved_at, gain[rows].sum(0), loss[rows].sum(0)))

    def packed(self) -> list[Any]:
        """All sums as JSON values."""
        result = []
        for key, sums in self._sums.items():
            gain = sum((gain for _, gain, _ in sums.later), sums.gain)
            loss = sum((loss for _, _, loss in sums.later), sums.loss)
            result.append([*key, gain.tolist(), loss.tolist()])
        return result

    @classmethod
    def unpacked(cls, values: list[Any]) -> PathShares:
        """Build shares from what `packed` returned.

        Raises:
            ValueError, TypeError: The values are none.
        """
        result = cls()
        for scene, number, gain, loss in values:
            sums = _Sums(np.asarray(gain, float), np.asarray(loss, float))
            finite = np.isfinite(sums.gain).all() and np.isfinite(sums.loss).all()
            if sums.gain.shape != (2,) or sums.loss.shape != (2, 2) or not finite:
                raise ValueError("its shares of paths are no sums")
            result._sums[str(scene), int(number)] = sums
        return result


@dataclass(frozen=True)
class _Forecast:
    """A forecast whose futures are not known yet."""

    step: int
    offset: float
    agents: list[Hashable]
    drawn: Floats
    weights: Floats | None
    paths: Paths

    @property
    def resolved_at(self) -> int:
        """The step with which the whole future is observed."""
        return self.step + int(self.drawn.shape[2]) + int(self.offset > 0)


class EarlierPaths:
    """The paths of a place in forecasts there; it learns their shares as futures become known."""

    def __init__(self, shares: PathShares | None = None) -> None:
        self.shares = shares or PathShares()
        self._waiting: dict[str, deque[_Forecast]] = {}
        self._now: dict[str, int] = {}

    def mixed(
        self,
        place: Place,
        scene: str,
        now: int,
        past: Floats,
        agents: Sequence[Hashable],
        drawn: Floats,
        weights: Floats | None = None,
        offset: float = 0.0,
    ) -> tuple[Floats, Floats | None]:
        """Draws [S, N, F, D] of agents with earlier paths of a scene in them, and their weights.

        Args:
            place: The place, which has the steps before `now`.
            scene: Name of the scene.
            now: The present step.
            past: Pasts of the agents, [N, T, D].
            agents: Their ids.
            drawn: Plain draws or chosen futures.
            weights: Weights of chosen futures, [S, N].
            offset: Share of a step by which the present is later than `now`.

        Raises:
            ConfigError: The present is before that of an earlier call; shares know what was then.
        """
        if now < self._now.get(scene, now):
            raise ConfigError(
                f"a forecast with earlier paths at step {now} of scene {scene!r} comes after one "
                f"at step {self._now[scene]}; forecast in the order of time, or use a new place"
            )
        self._now[scene] = now
        horizon = drawn.shape[2]
        self._resolve(place, scene)
        memory = place.recall(scene, past, now, agents, TRACKS, horizon)
        paths = Paths.of(past, memory, place.scale)
        shares = self.shares.of(scene, now, paths.speed, horizon * place.scale)
        self._wait(scene, _Forecast(now, offset, list(agents), drawn, weights, paths))
        return paths.mixed(drawn, shares, weights)

    def _wait(self, scene: str, forecast: _Forecast) -> None:
        """Keep the first forecast of each agent at a step."""
        waiting = self._waiting.setdefault(scene, deque())
        there = {a for one in waiting if one.step == forecast.step for a in one.agents}
        rows = np.array([k for k, a in enumerate(forecast.agents) if a not in there], int)
        if len(rows):
            agents = [forecast.agents[k] for k in rows.tolist()]
            weights = None if forecast.weights is None else forecast.weights[:, rows]
            drawn, paths = forecast.drawn[:, rows], forecast.paths.take(rows)
            waiting.append(
                replace(forecast, agents=agents, drawn=drawn, weights=weights, paths=paths)
            )
        while sum(len(one.agents) for one in waiting) > MAX_WAITING:
            waiting.popleft()

    def _resolve(self, place: Place, scene: str) -> None:
        """Learn from the forecasts whose futures the place has."""
        waiting, latest = self._waiting.get(scene, deque()), place.latest(scene)
        while waiting and waiting[0].resolved_at <= latest:
            one = waiting.popleft()
            track = place.track(scene, one.agents, one.step + 1, one.drawn.shape[2] + 1)
            future = track[:, :-1]
            if one.offset:
                future = (1 - one.offset) * future + one.offset * track[:, 1:]
            terms = one.paths.terms(one.drawn, future, one.weights)
            self.shares.add(scene, one.resolved_at, one.paths.speed, *terms)


def _best(gain: Floats, loss: Floats) -> Floats:
    """The shares s >= 0 with the most s @ gain - s @ loss @ s / 2, [2], at most `MOST` together."""
    candidates = [np.array([gain[0] / loss[0, 0], 0.0]), np.array([0.0, gain[1] / loss[1, 1]])]
    if np.linalg.det(loss) > 0:
        candidates.append(np.linalg.solve(loss, gain))
    best, most = np.zeros(2), 0.0
    for shares in candidates:
        if (shares < 0).any() or (loss.diagonal() <= 0).any():
            continue
        shares = shares * min(1.0, MOST / max(float(shares.sum()), MOST))
        value = float(shares @ gain - shares @ loss @ shares / 2)
        if value > most:
            best, most = shares, value
    return best
