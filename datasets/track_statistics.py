"""Statistics of the trajectories of a store that the doctor judges, collected scene by scene."""

import hashlib
from collections import Counter

import numpy as np

from trajflow.datasets.motion import MotionSurvey, Steps, at_places, steps_of, windows_of
from trajflow.datasets.projection import continuous
from trajflow.datasets.schema import Tracks
from trajflow.datasets.store import Store
from trajflow.datasets.windows import cut
from trajflow.types import Bools, Floats, Ints

LONG_GAP_STEPS = 20  # After this many steps a label may belong to another agent
MIN_CROWD = 3  # This many agents at exactly one position suggest a filler
_REL_TOLERANCE = 1e-6


class TrackStatistics:
    """Statistics of the K trajectories of a store, collected scene by scene."""

    def __init__(self, store: Store, history: int, horizon: int) -> None:
        count = store.trajectories
        self.store = store
        self.survey = MotionSurvey(count, store.dims, store.unit)
        # One entry per trajectory, [K]:
        self.scene, self.kind = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.first, self.last = np.zeros(count, np.int64), np.zeros(count, np.int64)  # steps
        self.rows, self.splits = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.frozen = np.zeros(count, np.int64)  # steps in five or more without motion
        self.linear = np.zeros(count, np.int64)  # steps in five or more that are equal
        self.fastest = np.zeros(count)  # units per second
        self.leap = np.zeros(count)  # longest distance over a gap of 20 steps or more
        # Totals:
        self.steps, self.gaps, self.single_gaps = 0, 0, 0
        self.alternating = 0  # steps that stand after a moving one, or move after a standing one
        self.at_fillers = 0  # rows
        self.crowded: Counter[tuple[float, float]] = Counter()  # rows of three agents at one place
        self.scene_splits: dict[str, list[str]] = {}
        self.windows: Counter[str] = Counter(dict.fromkeys(store.splits, 0))  # targets by split
        self.copies: list[tuple[int, int]] = []  # trajectories through the same places
        self._shape = (history, horizon)
        self._paths: dict[bytes, int] = {}

    def add(self, tracks: Tracks) -> None:
        """Add whole scenes."""
        agent = tracks.agent[tracks.track]
        time = np.asarray(tracks.step * tracks.dt, np.float64)
        self.survey.add(agent, time, tracks.position)
        self.scene[tracks.agent], self.kind[tracks.agent] = tracks.scene, tracks.kind
        self.rows += np.bincount(agent, minlength=len(self.rows))
        begins = np.flatnonzero(np.diff(agent, prepend=-1))
        self.first[agent[begins]] = tracks.step[begins]
        self.last[agent[begins]] = tracks.step[np.append(begins[1:], len(agent)) - 1]
        self.at_fillers += int(at_places(tracks.position, self.survey.fillers).sum())
        position = tracks.position.copy()
        if self.store.unit == "degree":
            position[:, 0] = continuous(position[:, 0], agent)
        steps = steps_of(agent, time, position)
        self._add_crowded(tracks)
        self._add_steps(steps, np.diff(tracks.step)[steps.row - 1], position)
        self._add_splits(tracks, agent)
        self._add_copies(agent, position)

    def _add_steps(self, steps: Steps, duration: Ints, position: Floats) -> None:
        self.steps += len(duration)
        self.gaps += int((duration > 1).sum())
        self.single_gaps += int((duration == 2).sum())
        stands = steps.length == 0
        next_step = steps.track[1:] == steps.track[:-1]
        self.alternating += int(((stands[1:] != stands[:-1]) & next_step).sum())
        np.maximum.at(self.fastest, steps.track, steps.speed)
        long = duration >= LONG_GAP_STEPS
        np.maximum.at(self.leap, steps.track[long], steps.length[long])
        frozen = _in_stretch((steps.length == 0) & (duration == 1), steps)
        self.frozen += np.bincount(steps.track[frozen], minlength=len(self.frozen))
        equal = _in_stretch(_repeats_step(steps, position) & (duration == 1), steps)
        self.linear += np.bincount(steps.track[equal], minlength=len(self.linear))

    def _add_crowded(self, tracks: Tracks) -> None:
        stays = (np.diff(tracks.position[:, :2], axis=0) == 0).all(1) & (np.diff(tracks.track) == 0)
        stands = np.append(False, stays) | np.append(stays, False)
        moment = np.stack((tracks.scene[tracks.track], tracks.step), 1)[stands]
        places = np.concatenate((moment, tracks.position[stands, :2]), 1)
        for place, count in zip(*np.unique(places, axis=0, return_counts=True), strict=True):
            if count >= MIN_CROWD:
                self.crowded[float(place[2]), float(place[3])] += int(count)

    def _add_splits(self, tracks: Tracks, agent: Ints) -> None:
        pairs = np.unique(np.stack((agent, tracks.split), 1), axis=0)
        self.splits += np.bincount(pairs[:, 0], minlength=len(self.splits))
        scene = tracks.scene[tracks.track]
        for code, split in np.unique(np.stack((scene, tracks.split), 1), axis=0).tolist():
            self.scene_splits.setdefault(tracks.scenes[code], []).append(tracks.splits[split])
        for code, name in enumerate(tracks.splits):
            rows = tracks.split == code
            if rows.any():
                self.windows[name] += cut(tracks, *self._shape, rows=rows).targets

    def _add_copies(self, agent: Ints, position: Floats) -> None:
        begins = np.flatnonzero(np.diff(agent, prepend=-1))
        for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(agent)], strict=True):
            places = position[first:end]
            if len(places) >= 5 and (places != places[0]).any():
                digest = hashlib.blake2b(places.tobytes(), digest_size=16).digest()
                number = int(agent[first])
                original = self._paths.setdefault(digest, number)
                if original != number:
                    self.copies.append((original, number))


def _repeats_step(steps: Steps, position: Floats) -> Bools:
    """Whether a step has the same displacement as the one before, [N]."""
    displacement = position[steps.row] - position[steps.row - 1]
    same = np.zeros(len(displacement), np.bool_)
    change = np.linalg.norm(np.diff(displacement, axis=0), axis=1)
    grain = _REL_TOLERANCE * steps.length[1:] + 1e-12 * np.abs(position[steps.row[1:]]).max(1)
    same[1:] = (change <= grain) & (steps.track[1:] == steps.track[:-1]) & (steps.length[1:] > 0)
    return same


def _in_stretch(flag: Bools, steps: Steps) -> Bools:
    """Steps in a stretch of five or more flagged steps of their trajectory, [N]."""
    windows = windows_of(steps.track)
    result = np.zeros(len(flag), np.bool_)
    result[windows[flag[windows].all(1)]] = True
    return result
