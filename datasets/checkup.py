"""The numbers behind an examination, gathered scene by scene so that any store fits in memory."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.motion import MotionSurvey, Steps, continuous, steps_of, windows_of
from trajflow.datasets.store import Store
from trajflow.datasets.tracks import Tracks
from trajflow.datasets.windows import cut
from trajflow.text import safe

SHOWN = 3
LONG_GAP = 20
"""Steps after which an agent of the same label may well be another one."""
_SAME = 1e-6


class Checkup:
    """Numbers per trajectory of a store, K of them, and totals.

    Attributes:
        store: What is examined.
        survey: Speeds and boxes of all trajectories.
        scene, kind: Codes of each trajectory's scene and type, [K].
        rows: Rows of each trajectory, [K].
        fastest: Fastest step of each trajectory, [K], units per second.
        leap: Longest way over a gap of 20 steps or more, of each trajectory, [K].
        frozen: Steps in a stretch of five or more without any motion, of each trajectory, [K].
        linear: Steps in a stretch of five or more that are all alike, of each trajectory, [K].
        parts: How many stored parts each trajectory has rows in, [K].
        scene_parts: Names of the parts each scene has rows in.
        steps, gaps: Steps between rows, and those of them that skip a moment.
        windows: Targets of all windows in each stored part.
        copies: Pairs of trajectories, in agents' numbers, that move through the same places.
    """

    def __init__(self, store: Store, history: int, horizon: int) -> None:
        count = store.trajectories
        self.store = store
        self.survey = MotionSurvey(count, store.dims, store.unit)
        self.scene, self.kind = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.rows, self.parts = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.frozen, self.linear = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.fastest, self.leap = np.zeros(count), np.zeros(count)
        self.scene_parts: dict[str, list[str]] = {}
        self.steps, self.gaps = 0, 0
        self.windows: Counter[str] = Counter(dict.fromkeys(store.splits, 0))
        self.copies: list[tuple[int, int]] = []
        self._shape = (history, horizon)
        self._known: dict[bytes, int] = {}

    def add(self, tracks: Tracks) -> None:
        """Examine whole scenes."""
        agent = tracks.agent[tracks.track]
        time = np.asarray(tracks.step * tracks.dt, np.float64)
        self.survey.add(agent, time, tracks.position)
        self.scene[tracks.agent], self.kind[tracks.agent] = tracks.scene, tracks.kind
        self.rows += np.bincount(agent, minlength=len(self.rows))
        position = tracks.position.copy()
        if self.store.unit == "degree":
            position[:, 0] = continuous(position[:, 0], agent)
        steps = steps_of(agent, time, position)
        self._add_steps(steps, np.diff(tracks.step)[steps.row - 1], position)
        self._add_parts(tracks, agent)
        self._add_copies(agent, position)

    def _add_steps(self, steps: Steps, taken: Ints, position: Floats) -> None:
        self.steps += len(taken)
        self.gaps += int((taken > 1).sum())
        np.maximum.at(self.fastest, steps.track, steps.speed)
        long = taken >= LONG_GAP
        np.maximum.at(self.leap, steps.track[long], steps.length[long])
        still = (steps.length == 0) & (taken == 1)
        self.frozen += np.bincount(steps.track[_lasting(still, steps)], minlength=len(self.frozen))
        alike = _alike(steps, position) & (taken == 1)
        self.linear += np.bincount(steps.track[_lasting(alike, steps)], minlength=len(self.linear))

    def _add_parts(self, tracks: Tracks, agent: Ints) -> None:
        pairs = np.unique(np.stack((agent, tracks.split), 1), axis=0)
        self.parts += np.bincount(pairs[:, 0], minlength=len(self.parts))
        scene = tracks.scene[tracks.track]
        for code, split in np.unique(np.stack((scene, tracks.split), 1), axis=0).tolist():
            self.scene_parts.setdefault(tracks.scenes[code], []).append(tracks.splits[split])
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
                known = self._known.setdefault(digest, number)
                if known != number:
                    self.copies.append((known, number))


def _alike(steps: Steps, position: Floats) -> Bools:
    """Whether a step goes exactly as far and in the same direction as the one before, [N]."""
    way = position[steps.row] - position[steps.row - 1]
    same = np.zeros(len(way), np.bool_)
    change = np.linalg.norm(np.diff(way, axis=0), axis=1)
    grain = _SAME * steps.length[1:] + 1e-12 * np.abs(position[steps.row[1:]]).max(1)
    same[1:] = (change <= grain) & (steps.track[1:] == steps.track[:-1]) & (steps.length[1:] > 0)
    return same


def _lasting(flag: Bools, steps: Steps) -> Bools:
    """Steps that are in a stretch of five or more flagged ones of their trajectory, [N]."""
    windows = windows_of(steps.track)
    lasting = np.zeros(len(flag), np.bool_)
    lasting[windows[flag[windows].all(1)]] = True
    return lasting


def name_agents(checkup: Checkup, chosen: Bools) -> str:
    """The first few of the chosen trajectories, [K], by label and scene, safe for a terminal."""
    numbers = np.flatnonzero(chosen)[: SHOWN + 1]
    labels = checkup.store.labels(numbers)
    scenes = [checkup.store.scenes[checkup.scene[number]] for number in numbers]
    return first_few([f"{safe(a)} of {safe(s)}" for a, s in zip(labels, scenes, strict=True)])


def first_few(told: Sequence[str]) -> str:
    """The first three words, and dots if there are more."""
    more = ", ..." if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more
