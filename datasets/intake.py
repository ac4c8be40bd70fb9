"""Rows on their way from an importer to the disk: unreadable ones apart, the others spilled."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajflow.batch import Bools
from trajflow.datasets.contents import MAX_SPLITS
from trajflow.datasets.quarantine import Apart, Quarantine
from trajflow.datasets.reading import Reading
from trajflow.datasets.roster import Roster
from trajflow.datasets.schema import AXES
from trajflow.datasets.spill import Spill, row_type
from trajflow.errors import DataError

MAX_NAME = 200


@dataclass
class Intake:
    """Takes the chunks of a reading.

    Attributes:
        roster: Scenes and trajectories met so far.
        spill: Good rows.
        quarantine: Rows that cannot be read.
        rows: All rows so far.
    """

    roster: Roster
    spill: Spill
    quarantine: Quarantine
    rows: int = 0

    def take(self, reading: Reading, progress: Callable[[int], None]) -> None:
        """Take all chunks.

        Raises:
            DataError: The importer broke its promise, or there are no rows.
        """
        for chunk in reading.chunks:
            self._take(chunk.reset_index(drop=True), list(AXES[: reading.dims]))
            self.rows += len(chunk)
            progress(self.rows)
        self.spill.flush()
        if not self.rows:
            raise DataError(f"no rows in {reading.files[0]} or its neighbours; is it empty?")

    def _take(self, chunk: pd.DataFrame, axes: list[str]) -> None:
        lacking = {"scene", "agent", "time", "row", "file", *axes} - set(chunk.columns)
        if lacking:
            raise DataError(f"the importer gave no column {sorted(lacking)}; it must give them all")
        reason = _faults(chunk, axes)
        bad = np.flatnonzero(reason != "")
        if len(bad):
            self.quarantine.add(_apart(chunk.iloc[bad], reason[bad], axes))
        good = chunk[reason == ""]
        if len(good):
            self._spill(good, axes)

    def _spill(self, chunk: pd.DataFrame, axes: list[str]) -> None:
        track, split = self.roster.enter(chunk)
        if len(self.roster.splits.names) > MAX_SPLITS:
            raise DataError(
                f"the column of parts has more than {MAX_SPLITS} names, such as "
                f"{self.roster.splits.names[-1]!r}; it is no split: map another column or none"
            )
        rows = np.empty(len(chunk), row_type(len(axes)))
        rows["track"], rows["split"] = track, split
        rows["scene"] = np.array(self.roster.scene, np.int32)[track]
        rows["time"] = chunk["time"]
        rows["position"] = chunk[axes].to_numpy(float)
        rows["file"], rows["row"] = chunk["file"], chunk["row"]
        self.spill.add(rows)


def _faults(chunk: pd.DataFrame, axes: list[str]) -> NDArray[np.object_]:
    """The name of what is wrong with each row, "" where nothing is, [N]."""
    reason = np.full(len(chunk), "", object)
    if "fault" in chunk:
        reason = chunk["fault"].to_numpy(object).copy()
    nameless = ~(_names(chunk["scene"]) & _names(chunk["agent"]))
    for name in ("type", "split"):
        if name in chunk:
            nameless |= ~(_names(chunk[name]) | (chunk[name] == "").to_numpy(bool))
    unreadable = ~np.isfinite(chunk[["time", *axes]].to_numpy(float)).all(1)
    reason[(reason == "") & nameless] = "no-label"
    reason[(reason == "") & unreadable] = "not-a-number"
    return reason


def _names(column: "pd.Series[str]") -> Bools:
    """Whether each entry can be the name of something, [N]."""
    codes, found = pd.factorize(column.to_numpy(object))
    fit = np.array([_is_name(name) for name in found], np.bool_)
    return fit[codes]


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or "\0" in name:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _apart(chunk: pd.DataFrame, reason: NDArray[np.object_], axes: list[str]) -> Apart:
    text = chunk["text"].to_numpy(object) if "text" in chunk else np.full(len(chunk), "", object)
    return Apart(
        reason=reason,
        scene=_printable(chunk["scene"]),
        agent=_printable(chunk["agent"]),
        time=chunk["time"].to_numpy(float),
        position=chunk[axes].to_numpy(float),
        file=chunk["file"].to_numpy(np.int64),
        row=chunk["row"].to_numpy(np.int64),
        text=text,
    )


def _printable(column: "pd.Series[str]") -> NDArray[np.object_]:
    names = [str(name)[:MAX_NAME].encode("utf-8", "replace").decode() for name in column]
    return np.array(names, object)
