"""Detects the format of a file from its first bytes: one predicate per format."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from trajflow.datasets.columns import plain
from trajflow.datasets.tables import PARQUET
from trajflow.datasets.unpacking import parquet_schema, plain_suffix, stage

HEAD_BYTES = 1 << 16  # Bytes of a file from which its format is detected
SDD_WIDTH = 10  # Columns of an SDD annotation


@dataclass(frozen=True)
class Head:
    """The start of a file, from which its format is detected."""

    path: Path
    raw: bytes  # unpacked
    comments: list[str]  # leading lines that begin with #
    cells: list[list[str]]  # of the first other lines, split at commas, semicolons, tabs or blanks
    names: frozenset[str]  # columns of a Parquet file, or cells of the first line, in lower case

    @classmethod
    def of(cls, path: Path) -> "Head":
        """Read the start of a file."""
        if plain_suffix(path) in PARQUET:
            names = parquet_schema(path)[0]
            return cls(path, b"PAR1", [], [], frozenset(map(plain, names)))
        with TemporaryDirectory() as folder:
            unpacked = Path(folder) / "head"
            stage(path, unpacked, HEAD_BYTES)
            with unpacked.open("rb") as stream:
                raw = stream.read(HEAD_BYTES)
        lines = raw.decode("latin-1").removeprefix("\xef\xbb\xbf").splitlines()
        lines = [line for line in (lines if len(raw) < HEAD_BYTES else lines[:-1]) if line.strip()]
        comments = [line for line in lines if line.startswith("#")]
        rows = [line for line in lines if not line.startswith("#")]
        mark = max(",;\t", key=rows[0].count) if rows else ","
        split = mark if rows and mark in rows[0] else None
        cells = [[cell.strip() for cell in row.split(split)] for row in rows]
        return cls(path, raw, comments, cells, frozenset(map(plain, cells[0] if cells else ())))

    def numbers(self, width: int, most: int = 2000) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The first N rows as numbers, [N, D] with D = `width`; None if they have other columns."""
        rows = self.cells[:most]
        try:
            if rows and all(len(row) == width for row in rows):
                return np.array(rows, np.float64)
        except ValueError:
            pass
        return None


def is_obsmat(head: Head) -> bool:
    """Eight numbers: whole frames in order, whole ids, and a constant z."""
    rows = head.numbers(8)
    if rows is None or not _are_whole(rows[:, :2]):
        return False
    return bool((np.diff(rows[:, 0]) >= 0).all() and np.ptp(rows[:, 3]) == 0)


def is_ethucy(head: Head) -> bool:
    """Four numbers between blanks, the first two whole."""
    rows = None if head.comments or b"," in head.raw else head.numbers(4)
    return rows is not None and _are_whole(rows[:, :2])


def is_mot(head: Head) -> bool:
    """Nine or ten numbers between commas: whole frame, id and class, a flag and a box."""
    rows = next((r for r in map(head.numbers, (9, 10)) if r is not None), None)
    if rows is None or b"," not in head.raw or not _are_whole(rows[:, [0, 1, 7]]):
        return False
    flag, size = rows[:, 6], rows[:, 4:6]
    return bool((rows[:, :2] >= 1).all() and np.isin(flag, (0, 1)).all() and (size > 0).all())


def is_sdd(head: Head) -> bool:
    """Ten cells, the last one quoted."""
    return bool(head.cells) and all(
        len(row) == SDD_WIDTH and row[-1].startswith('"') for row in head.cells[:50]
    )


def is_trajnet(head: Head) -> bool:
    """Lines of JSON with the key "track" or "scene"."""
    begins = (b'{"track":', b'{"scene":')
    return head.raw.lstrip()[:80].replace(b" ", b"").startswith(begins)


def is_geojson(head: Head) -> bool:
    """A JSON list of objects, or a GeoJSON feature or collection."""
    raw = head.raw.lstrip(b"\x1e\xef\xbb\xbf \t\r\n")
    is_list = b"".join(raw[:200].split()).startswith(b"[{")
    return is_list or (raw.startswith(b"{") and b'"Feature' in raw[:4096])


def is_petrack(head: Head) -> bool:
    """Comments that name PeTrack, JuPedSim, JPSvis or a frame rate."""
    words = " ".join(head.comments).lower()
    return any(word in words for word in ("petrack", "jupedsim", "jpsvis", "framerate"))


def is_sqlite(head: Head) -> bool:
    """The header of SQLite."""
    return head.raw.startswith(b"SQLite format 3\0")


def is_gpx(head: Head) -> bool:
    """The element <gpx>."""
    return b"<gpx" in head.raw


def is_ais(head: Head) -> bool:
    """Columns mmsi and latitude, longitude."""
    pairs = ({"lat", "lon"}, {"latitude", "longitude"})
    return "mmsi" in head.names and any(head.names >= pair for pair in pairs)


def is_traffic(head: Head) -> bool:
    """Parquet with the columns of the traffic library."""
    return head.raw == b"PAR1" and head.names >= {"icao24", "timestamp", "latitude", "longitude"}


def is_argoverse2(head: Head) -> bool:
    """The columns of Argoverse 2 scenarios."""
    return head.names >= {"scenario_id", "track_id", "timestep", "position_x", "position_y"}


def is_table(head: Head) -> bool:
    """Text, or Parquet, that is neither XML nor a JSON list."""
    text = b"\0" not in head.raw.strip(b"\xff\xfe") or head.raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return text and not head.raw.lstrip().startswith((b"<", b"["))


def _are_whole(values: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    return bool((values == np.rint(values)).all())
