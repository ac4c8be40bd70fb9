"""Rows set apart by an import: kept on disk until the store is written, and counted throughout."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Floats, Ints
from trajflow.datasets.roster import Codes
from trajflow.datasets.schema import AXES, CHUNK
from trajflow.datasets.spill import write_rows
from trajflow.datasets.writer import StoreWriter

TABLE = "quarantine"
MAX_TEXTS = 1000
MAX_TEXT = 200


@dataclass(frozen=True)
class Apart:
    """N rows to set apart; coordinates and time are the file's own.

    Attributes:
        reason: Name of the problem of each row, N of them.
        scene, agent: Names as the file has them, N of them.
        time: Seconds or frames, NaN where unreadable, [N].
        position: Coordinates, NaN where unreadable, [N, D].
        file, row: Where each row stands, [N].
        text: The row as the file has it, or "", N of them.
    """

    reason: NDArray[np.object_]
    scene: NDArray[np.object_]
    agent: NDArray[np.object_]
    time: Floats
    position: Floats
    file: Ints
    row: Ints
    text: NDArray[np.object_]


@dataclass
class Quarantine:
    """Collects the rows that were set apart.

    Attributes:
        path: Temporary file for the rows.
        dims: Coordinates of a position, D.
        by_scene: Rows by scene and reason.
        by_agent: Rows by (scene, agent) and reason.
    """

    path: Path
    dims: int
    by_scene: dict[str, Counter[str]] = field(default_factory=dict)
    by_agent: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    _codes: dict[str, Codes] = field(
        default_factory=lambda: {name: Codes() for name in ("reason", "scene", "agent", "text")}
    )

    @property
    def reasons(self) -> Counter[str]:
        """Rows by reason."""
        return sum(self.by_scene.values(), Counter())

    def add(self, rows: Apart) -> None:
        """Take rows, [N]."""
        table = np.zeros(len(rows.row), self._kind())
        for name, codes in self._codes.items():
            names = getattr(rows, name)
            table[name] = codes.of(self._shortened(names) if name == "text" else names)
        table["time"], table["position"] = rows.time, rows.position
        table["file"], table["row"] = rows.file, rows.row
        write_rows(self.path, table, "ab")
        for reason, scene, agent in zip(rows.reason, rows.scene, rows.agent, strict=True):
            self.by_scene.setdefault(scene, Counter())[reason] += 1
            self.by_agent.setdefault((scene, agent), Counter())[reason] += 1

    def store(self, writer: StoreWriter, files: list[str]) -> None:
        """Write all rows into the store's table `quarantine`."""
        if not self.path.exists():
            return
        kind = self._kind()
        names = {n: np.array(c.names, object) for n, c in self._codes.items()}
        for first in range(0, self.path.stat().st_size // kind.itemsize, CHUNK):
            table = np.fromfile(self.path, kind, CHUNK, offset=first * kind.itemsize)
            texts = {name: known[table[name]].tolist() for name, known in names.items()}
            axes = dict(zip(AXES, table["position"].T, strict=False))
            where = {"file": np.array(files, object)[table["file"]].tolist(), "row": table["row"]}
            writer.append_table(TABLE, {**texts, "time": table["time"], **axes, **where})

    def _shortened(self, texts: NDArray[np.object_]) -> list[str]:
        """Texts cut to a sane length; after the first thousand they are left out."""
        room = MAX_TEXTS - len(self._codes["text"].names)
        chosen = []
        for text in texts:
            room -= bool(text)
            chosen.append(text[:MAX_TEXT] if room >= 0 else "")
        return chosen

    def _kind(self) -> np.dtype[np.void]:
        codes = [(name, "<i8") for name in self._codes]
        values = [("time", "<f8"), ("position", "<f8", (self.dims,)), ("file", "<i4")]
        return np.dtype([*codes, *values, ("row", "<i8")])
