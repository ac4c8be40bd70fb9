"""Memory of a place: looks up tracks observed there earlier that resemble an agent's own."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.earlier_paths import EarlierPaths, PathShares
from trajflow.errors import ConfigError, DataError, TrajflowError
from trajflow.io import read_whole, write_whole
from trajflow.lookup import RADIUS, Lookup
from trajflow.observations import ObservationStore, motion
from trajflow.types import Floats, Ints

FORMAT = 1
# Most bytes of a saved place.
MAX_BYTES = 1 << 31


class Place:
    """Tracks observed at one or several scenes, and what followed where others were.

    Observations are added step by step; beyond `max_observations` the oldest are dropped. A lookup
    uses only observations before its own present, of other agents and of the same scene. A place
    may therefore hold a recording that continues after the present. It is safe for several threads.

    Examples:
        >>> import numpy as np
        >>> place = Place(scale=1.0)
        >>> for step in range(6):
        ...     place.push("hall", step, ["anna"], [[float(step), 0.0]])
        >>> past = np.array([[[1.0, 0.1], [2.0, 0.1]]])
        >>> place.recall("hall", past, 10, ["ben"], count=1, horizon=2)[0, 0, :, 0]
        array([1., 2., 3., 4.])

    Attributes:
        scale: Typical displacement per step, in the unit of the positions.
        max_observations: Most observations in memory.
        max_age: Age in steps after which an observation is ignored; None: never.
    """

    def __init__(
        self,
        scale: float,
        dims: int = 2,
        max_observations: int = 500_000,
        max_age: int | None = None,
    ) -> None:
        """Create an empty place.

        Args:
            scale: Typical displacement per step: `Predictor.displacement_scale` of the model that
                uses the place.
            dims: Coordinates D, 2 or 3.
            max_observations: Most observations in memory.
            max_age: Age in steps after which an observation is ignored; None: never.

        Raises:
            ConfigError: A number is out of bounds.
        """
        if not 0 < scale < np.inf:
            raise ConfigError(f"scale must be a displacement above 0, got {scale}")
        if dims not in (2, 3):
            raise ConfigError(f"dims must be 2 or 3, got {dims}")
        if max_observations < 1:
            raise ConfigError(f"max_observations must be at least 1, got {max_observations}")
        if max_age is not None and max_age < 1:
            raise ConfigError(f"max_age must be at least 1 step, or None, got {max_age}")
        self.scale, self.dims, self.max_observations = float(scale), dims, max_observations
        self.max_age = max_age
        self._clear()

    def __len__(self) -> int:
        """Number of observations in memory."""
        return len(self._observations)

    def __repr__(self) -> str:
        return f"Place(scale={self.scale:g}, observations={len(self)}, scenes={self.scenes})"

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes."""
        return list(self._scenes)

    def latest(self, scene: str = "") -> int:
        """The last step of a scene; -1 before the first."""
        code = self._scenes.get(scene)
        return -1 if code is None else self._latest[code]

    def push(self, scene: str, step: int, agents: Sequence[Hashable], positions: ArrayLike) -> None:
        """Add the positions of agents at a step.

        Args:
            scene: Name of the scene. Agents, steps and coordinates of different scenes are
                unrelated.
            step: Number of the step, above all earlier ones of the scene. A step is as long as the
                model's.
            agents: Ids of the observed agents, each once. They are stored as `repr` writes them.
            positions: Positions, [A, D]; those that are not finite are ignored.

        Raises:
            TrajflowError: The step is not after the last one, an id is repeated, or the positions
                do not fit the agents.
        """
        self._push(scene, step, [_name(agent) for agent in agents], positions)

    def _push(self, scene: str, step: int, names: list[str], positions: ArrayLike) -> None:
        """As `push`, with ids as text."""
        points = np.asarray(positions if names else [], float).reshape(-1, self.dims)
        if len(points) != len(names):
            raise TrajflowError(f"{len(names)} agents have {len(points)} positions")
        if len(set(names)) < len(names):
            name = next(name for name in names if names.count(name) > 1)
            raise TrajflowError(f"agent {name} is there twice at step {step}")
        with self._lock:
            if scene in self._scenes and step <= self.latest(scene):
                raise TrajflowError(
                    f"step {step} of scene {scene!r} is not after its last one, "
                    f"{self.latest(scene)}; push in the order of time"
                )
            code = self._scenes.setdefault(scene, len(self._scenes))
            if code == len(self._latest):
                self._latest.append(step)
            self._latest[code] = int(step)
            valid = np.isfinite(points).all(-1) & (np.abs(points) < 1e15 * self.scale).all(-1)
            for index in np.flatnonzero(valid).tolist():
                self._observations.add(code, int(step), names[index], points[index])

    def recall(
        self,
        scene: str | Sequence[str],
        past: Floats,
        now: int | Ints,
        agents: Sequence[Hashable],
        count: int,
        horizon: int,
    ) -> Floats:
        """Look up the tracks of others that were where each agent is now, with a similar heading.

        Args:
            scene: Name of the scene, or of each agent's scene.
            past: Positions at the last T steps, the present last, [N, T, D]; NaN where not
                observed.
            now: The present step, or that of each agent, [N].
            agents: Ids of the N agents.
            count: Most tracks K for each agent.
            horizon: Following steps F.

        Returns:
            Positions and their age in steps, over T + F steps around the nearest observation of
            each track, [N, K, T + F, D + 1]; NaN where not observed.
        """
        present = np.broadcast_to(np.asarray(now, np.int64), (len(past),))
        with self._lock:
            rows = self.nearest(scene, past, present, agents, count, horizon)
            return self.paths(rows, present, past.shape[1], horizon)

    def nearest(
        self,
        scene: str | Sequence[str],
        past: Floats,
        now: Ints,
        agents: Sequence[Hashable],
        count: int,
        horizon: int,
    ) -> Ints:
        """Observations of others near each agent, with a similar heading and speed; best first.

        There is at most one for each track. They are ordered by distance, heading, speed, and how
        many of the following steps were observed; among equals the latest comes first.

        Args:
            scene: Name of the scene, or of each agent's scene.
            past: Positions at the last T steps, the present last, [N, T, D]; NaN where not
                observed.
            now: The present step of each agent, [N]; only earlier steps are used.
            agents: Ids of the N agents, whose own tracks are ignored.
            count: Most observations K for each agent.
            horizon: Following steps F.

        Returns:
            Indices of observations for `paths`, [N, K]; -1 if there are fewer.
        """
        scenes = [scene] * len(past) if isinstance(scene, str) else scene
        rows = np.full((len(past), count), -1)
        requests = zip(scenes, *motion(past), now.tolist(), agents, strict=True)
        for k, (name, position, velocity, step, agent) in enumerate(requests):
            best = self.near(name, position, velocity, step, agent, count, horizon)
            rows[k, : len(best)] = best
        return rows

    def near(
        self,
        scene: str,
        position: Floats,
        velocity: Floats,
        now: int,
        agent: Hashable,
        count: int,
        horizon: int,
    ) -> Ints:
        """The observations of `nearest` for one agent, best first, [K] or fewer.

        `position` [D] and `velocity` [D] (per step; NaN if unknown) are those of the agent, whose
        own track is ignored.
        """
        with self._lock:
            code = self._scenes.get(scene)
            if code is None or not np.isfinite(position).all():
                return np.zeros(0, np.int64)
            oldest = None if self.max_age is None else now - self.max_age
            own = self._observations.tracks.get((code, _name(agent)), -1)
            lookup = Lookup(self._observations, self.scale, now, count, horizon)
            return lookup.best(code, position, velocity, own, oldest)

    def paths(self, rows: Ints, now: Ints, history: int, horizon: int) -> Floats:
        """The tracks around observations, up to the present.

        Args:
            rows: Indices of observations from `nearest`, [N, K]; -1 for none.
            now: The present step of each agent, [N].
            history: Steps T up to the observation.
            horizon: Steps F after it.

        Returns:
            Positions and their age in steps, [N, K, T + F, D + 1]; NaN where not observed, and
            from the present on.
        """
        each, present = rows.ravel(), np.repeat(now, rows.shape[1])
        with self._lock:
            assert (self._observations.rows.step[each[each >= 0]] < present[each >= 0]).all()
            flat = self._observations.paths(each, present, history, horizon)
        return flat.reshape(*rows.shape, history + horizon, self.dims + 1)

    def track(self, scene: str, agents: Sequence[Hashable], first: int, count: int) -> Floats:
        """Positions of N agents at F = `count` steps from `first` on, [N, F, D]; NaN if unseen."""
        code, shape = self._scenes.get(scene, -1), (len(agents), count, self.dims)
        with self._lock:
            tracks = [self._observations.track(code, _name(a), first, count) for a in agents]
        return np.stack(tracks) if tracks else np.zeros(shape)

    def at(
        self, scene: str | Sequence[str] = "", now: int | None = None, offset: float = 0.0
    ) -> Moment:
        """This place at a scene and a step, for `Predictor.predict`.

        Args:
            scene: Name of the scene, or of each forecast scene.
            now: The present step; None: the last one of the scene.
            offset: Share of a step by which the present is later than `now`.
        """
        return Moment(self, scene, now, offset)

    @contextmanager
    def locked(self) -> Iterator[Place]:
        """This place, which no other thread changes meanwhile."""
        with self._lock:
            yield self

    def save(self, path: str | Path) -> None:
        """Write all observations to a file of numpy arrays (.npz).

        Raises:
            StorageError: The file cannot be written.
        """
        with self._lock:
            rows, r = self._observations.in_order(), self._observations.rows
            tracks, track = np.unique(r.track[rows], return_inverse=True)
            keys = list(self._observations.agents(tracks.tolist()))
            facts = {
                "format": FORMAT,
                "scale": self.scale,
                "dims": self.dims,
                "max_observations": self.max_observations,
                "max_age": self.max_age,
                "scenes": self.scenes,
                "latest": self._latest,
                "numbered": self._observations.numbered,
                "agents": [name for _, name in keys],
                "scene_of": [scene for scene, _ in keys],
                "paths": [paths.shares.packed() for paths in self.earlier_paths],
            }
            content = io.BytesIO()
            np.savez_compressed(
                content,
                facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
                step=r.step[rows],
                track=track.astype(np.int64),
                number=r.track[rows],
                position=r.position[rows],
                velocity=r.velocity[rows],
            )
        write_whole(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Place:
        """Read a place from a file written by `save`.

        Raises:
            DataError: There is no such file, or it is damaged.
        """
        try:
            content = read_whole(Path(path), MAX_BYTES)
        except OSError as error:
            raise DataError(f"cannot read the place {path}: {error.strerror}") from None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return cls._of({name: arrays[name] for name in arrays.files})
        except (
            KeyError, TypeError, ValueError, IndexError, EOFError, AttributeError,
            zipfile.BadZipFile, TrajflowError,
        ) as error:  # fmt: skip
            raise DataError(f"{path} is no place, or damaged: {error}") from None

    @classmethod
    def _of(cls, arrays: dict[str, NDArray[Any]]) -> Place:
        facts = json.loads(arrays["facts"].tobytes())
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}, this version reads {FORMAT}")
        bounds = int(facts["max_observations"]), facts["max_age"]
        place = cls(float(facts["scale"]), facts["dims"], *bounds)
        names = ("step", "track", "number", "position", "velocity")
        step, track, number, position, velocity = (arrays[name] for name in names)
        count, scenes = len(step), [str(name) for name in facts["scenes"]]
        flat = all(array.shape == (count,) for array in (track, number))
        if not flat or not position.shape == velocity.shape == (count, place.dims):
            raise ValueError("its arrays do not fit together")
        if count > place.max_observations or not np.isfinite(position).all():
            raise ValueError("its positions are too many, or not finite")
        place._scenes = {name: code for code, name in enumerate(scenes)}
        place._latest = [np.iinfo(np.int64).min] * len(scenes)
        scene = np.asarray(facts["scene_of"], np.int64).reshape(-1)[track]
        changes = (np.diff(scene) != 0) | (np.diff(step) != 0)
        for rows in np.split(np.arange(count), np.flatnonzero(changes) + 1) if count else ():
            agents = [facts["agents"][index] for index in track[rows].tolist()]
            place._push(scenes[scene[rows[0]]], int(step[rows[0]]), agents, position[rows])
        place._latest = [int(facts["latest"][code]) for code in range(len(scenes))]
        place._observations.restore(velocity, number, int(facts["numbered"]))
        draws, chosen = (PathShares.unpacked(one) for one in facts.get("paths", [[], []]))
        place.earlier_paths = EarlierPaths(draws), EarlierPaths(chosen)
        return place

    def after_fork(self) -> None:
        """Make the place usable in a forked child; it is emptied if another thread was pushing."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._clear()

    def _clear(self) -> None:
        self._lock = threading.RLock()
        self._observations = ObservationStore(self.max_observations, self.dims, RADIUS * self.scale)
        self._scenes: dict[str, int] = {}
        self._latest: list[int] = []
        self.earlier_paths = EarlierPaths(), EarlierPaths()  # in plain draws, in chosen futures


@dataclass(frozen=True)
class Moment:
    """A place at a scene and a step; see `Place.at`."""

    place: Place
    scene: str | Sequence[str] = ""
    now: int | None = None
    offset: float = 0.0

    def with_paths(
        self,
        past: Floats,
        agents: Sequence[Hashable],
        drawn: Floats,
        weights: Floats | None = None,
    ) -> tuple[Floats, Floats | None]:
        """Draws [S, B, A, F, D] of the agents of B scenes with earlier paths in them.

        Args:
            past: Positions at the last T steps, [B, A, T, D].
            agents: Ids of the A agents.
            drawn: Plain draws or chosen futures.
            weights: Weights of chosen futures, [S, B, A].

        Returns:
            The same with paths in place of some, and the new weights.

        Raises:
            ConfigError: The number of scene names or ids does not fit the pasts, or the present is
                before that of an earlier forecast with paths.
        """
        drawn, weights = drawn.copy(), None if weights is None else weights.copy()
        for number, name in enumerate(self._scene_names(past, agents)):
            some = None if weights is None else weights[:, number]
            with self.place.locked() as place:
                paths = place.earlier_paths[weights is not None]
                drawn[:, number], some = paths.mixed(
                    place,
                    name,
                    self._step(name),
                    past[number],
                    agents,
                    drawn[:, number],
                    some,
                    self.offset,
                )
            if weights is not None:
                weights[:, number] = some
        return drawn, weights

    def recall(self, past: Floats, agents: Sequence[Hashable], count: int, horizon: int) -> Floats:
        """Look up the tracks of others for the agents of B scenes, [B, A, K, T + F, D + 1].

        Args:
            past: Positions at the last T steps, [B, A, T, D].
            agents: Ids of the A agents.
            count: Most tracks K for each agent.
            horizon: Following steps F.

        Raises:
            ConfigError: The number of scene names or ids does not fit the pasts.
        """
        parts = []
        for name, scene_past in zip(self._scene_names(past, agents), past, strict=True):
            now = self._step(name)
            parts.append(self.place.recall(name, scene_past, now, agents, count, horizon))
        shape = (0, past.shape[1], count, past.shape[2] + horizon, past.shape[3] + 1)
        return np.stack(parts) if parts else np.zeros(shape)

    def _step(self, scene: str) -> int:
        return self.place.latest(scene) if self.now is None else self.now

    def _scene_names(self, past: Floats, agents: Sequence[Hashable]) -> list[str]:
        """The name of each of B scenes [B, A, T, D], which the ids must fit."""
        scenes = [self.scene] * len(past) if isinstance(self.scene, str) else list(self.scene)
        if len(scenes) != len(past):
            raise ConfigError(f"{len(scenes)} names of scenes for {len(past)} scenes")
        if len(agents) != past.shape[1]:
            raise ConfigError(
                f"a forecast with a place needs agents=, the ids of its {past.shape[1]} agents as "
                f"they were pushed, so that no agent recalls its own track; got {len(agents)}"
            )
        return scenes


def moments(scene: Ints, step: Ints) -> Iterable[Ints]:
    """Rows of each moment of observations [N], ordered by scene and step."""
    order = np.lexsort((step, scene))
    change = (np.diff(scene[order]) != 0) | (np.diff(step[order]) != 0)
    return [] if not len(order) else np.split(order, np.flatnonzero(change) + 1)


def _name(agent: Hashable) -> str:
    """An id as text that distinguishes 7 from "7"."""
    return repr(agent.item() if isinstance(agent, np.generic) else agent)
