"""Rows on another grid of frames: straight lines between neighbouring rows of one agent and part.

A row that is drawn between two others knows the later one. Nothing crosses a gap or the cut between
two parts, but inside a part the present of a window may lie on the line to the step after it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from trajflow.batch import Bools

AXES = ("x", "y")


@dataclass
class Resampler:
    """Turns rows of one recording from one spacing into another, chunk after chunk.

    Attributes:
        apart: Frames between two rows of an agent in the file; farther ones are a gap.
        every: Frames between two rows that are wanted, on multiples of it.
        read: Readable rows so far.
        made: Rows made of them so far.
    """

    apart: int
    every: int
    read: int = 0
    made: int = 0
    _last: pd.DataFrame | None = None

    def __call__(self, chunk: pd.DataFrame) -> pd.DataFrame:
        """Rows at the wanted frames, and as they are those that cannot be read.

        Args:
            chunk: Rows in the order of the file with columns agent, frame, x, y, fault and, if the
                recording is cut, split.
        """
        sound = _readable(chunk)
        held = chunk[sound] if self._last is None else pd.concat([self._last, chunk[sound]])
        held = held.sort_values("agent", kind="stable")
        new = np.asarray(held.index >= 0)
        made = self._between(held.reset_index(drop=True), new)
        self._last = held.groupby("agent", sort=False).tail(1)
        self._last.index = -1 - np.arange(len(self._last))
        self.read, self.made = self.read + int(sound.sum()), self.made + len(made)
        rows = pd.concat([made, chunk[~sound]])
        return rows.sort_values(["row", "frame"], kind="stable", ignore_index=True)

    def _between(self, held: pd.DataFrame, new: Bools) -> pd.DataFrame:
        before = held.groupby("agent", sort=False)[[*AXES, "frame"]].shift()
        joined = (held["frame"] - before["frame"] == self.apart).to_numpy()
        if "split" in held:
            same = held["split"] == held.groupby("agent", sort=False)["split"].shift()
            joined = joined & same.to_numpy()
        found = []
        for back in range(-(-self.apart // self.every)):
            frame = (held["frame"] // self.every - back) * self.every
            inside = (frame == held["frame"]) | (joined & (frame > before["frame"]))
            share = (held["frame"] - frame) / self.apart
            rows = held.assign(frame=frame)
            for axis in AXES:
                line = held[axis] + share * (before[axis] - held[axis])
                rows[axis] = held[axis].where(share == 0, line)
            found.append(rows[inside.to_numpy() & new])
        return pd.concat(found)


def _readable(chunk: pd.DataFrame) -> Bools:
    numbers = np.isfinite(chunk[["frame", *AXES]].to_numpy(float)).all(1)
    return np.asarray(
        numbers & (chunk["fault"] == "").to_numpy() & (chunk["agent"] != "").to_numpy()
    )
