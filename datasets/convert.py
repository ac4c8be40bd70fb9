"""Converts GPX, GeoJSON and SQLite files to lines of JSON or text, one for each observation."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any
from xml.parsers import expat

from trajflow.datasets.unpacking import check_regular, stage
from trajflow.errors import DataError

MAX_JSON = 64 * 2**20  # Bytes of a JSON document, which is read into memory
MAX_RATIO = 50  # Bytes of text per byte of an SQLite file
BLOCK = 1 << 16
MAX_TEXT = 1000
TIMES = ("coordTimes", "times", "timestamps")
SQLITE_TABLE = "trajectory_data"

Row = dict[str, Any]


def gpx_lines(path: Path, place: Path, most: int | None) -> None:
    """Write the track points of a GPX file: agent, time, lon, lat, z."""
    raw = _staged(path, place, most)
    parser = expat.ParserCreate(namespace_separator=" ")
    reader = _GpxReader(parser)
    with raw.open("rb") as stream, place.open("w", encoding="utf-8") as out:
        try:
            while block := stream.read(BLOCK):
                parser.Parse(block, False)
                _write(out, reader.rows)
                reader.rows.clear()
            parser.Parse(b"", most is None)
        except expat.ExpatError as error:
            raise DataError(f"{path} is not GPX: {error}; download it again") from None
        _write(out, reader.rows)


class _GpxReader:
    """Collects the points of tracks while a file is parsed; tracks without a name are numbered."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.rows: list[Row] = []
        self._tracks, self._name, self._text = 0, "", ""
        self._names: dict[str, int] = {}
        self._point: Row | None = None
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._refuse_entity

    def _refuse_entity(self, *_: object) -> None:
        raise DataError(
            "a GPX file declares entities, which may expand without end; save it without a DOCTYPE"
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag, self._text = tag.rpartition(" ")[2], ""
        if tag == "trk":
            self._tracks += 1
            self._name = str(self._tracks)
        elif tag == "trkpt":
            place = {"lon": attributes.get("lon"), "lat": attributes.get("lat")}
            self._point = {"agent": self._name, "time": None, **place}

    def _characters(self, text: str) -> None:
        self._text = (self._text + text)[:MAX_TEXT]

    def _end(self, tag: str) -> None:
        tag, text = tag.rpartition(" ")[2], self._text.strip()
        if self._point is None:
            if tag == "name" and text and self._tracks:
                count = self._names[text] = self._names.get(text, 0) + 1
                self._name = text if count == 1 else f"{text} ({count})"
        elif tag == "trkpt":
            self.rows.append(self._point)
            self._point = None
        elif tag in ("time", "ele"):
            self._point["time" if tag == "time" else "z"] = text


def geojson_lines(path: Path, place: Path, most: int | None) -> None:
    """Write the points of a GeoJSON document, or the objects of a JSON list.

    A line becomes one row per point, with the times in its property coordTimes, times or
    timestamps. A line without an id or a name gets its number as `agent`.
    """
    raw = _staged(path, place, None)
    with raw.open("rb") as stream:
        first = stream.readline(MAX_JSON)
        features: Iterator[Any]
        if _is_feature(first):
            lines = (line.strip(b"\x1e \r\n") for line in chain([first], stream))
            features = map(json.loads, filter(None, lines))
        else:
            stream.seek(0)
            features = iter(_document(path, stream.read(MAX_JSON + 1)))
        try:
            with place.open("w", encoding="utf-8") as out:
                for number, feature in enumerate(features, 1):
                    _write(out, _feature_rows(feature, number))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not GeoJSON: {error}; download it again") from None


def _is_feature(line: bytes) -> bool:
    try:
        return bool(json.loads(line.strip(b"\x1e \r\n")).get("type") == "Feature")
    except (ValueError, AttributeError, RecursionError):
        return False


def _document(path: Path, raw: bytes) -> list[Any]:
    if len(raw) > MAX_JSON:
        raise DataError(
            f"{path} is one JSON document of more than {MAX_JSON >> 20} MiB; write one feature or "
            "object on each line, or Parquet"
        )
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}; download it again") from None
    rows = value.get("features", [value]) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise DataError(f"{path} has no list of features or objects; is it a table of tracks?")
    return rows


def _feature_rows(feature: Any, number: int) -> list[Row]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        return [feature if isinstance(feature, dict) else {}]
    facts = dict(feature.get("properties") or {})
    times = next((facts.pop(name) for name in TIMES if isinstance(facts.get(name), list)), None)
    geometry = feature.get("geometry") or {}
    kind, points = geometry.get("type"), geometry.get("coordinates")
    if kind == "Point":
        identity = {"feature": feature["id"]} if "id" in feature else {}
        return [identity | facts | _coordinates(points)]
    if kind not in ("LineString", "MultiPoint") or not isinstance(points, list):
        return [facts | {"lon": None, "lat": None}]
    agent = {"agent": feature.get("id", facts.get("name", number))}
    clock = times if times is not None and len(times) == len(points) else [None] * len(points)
    pairs = zip(clock, points, strict=True)
    return [agent | facts | {"time": time} | _coordinates(point) for time, point in pairs]


def _coordinates(point: Any) -> Row:
    values = point if isinstance(point, list) else []
    return dict(zip(("lon", "lat", "z"), values, strict=False)) or {"lon": None, "lat": None}


def sqlite_lines(path: Path, place: Path, most: int | None) -> None:
    """Write the rows of an SQLite file of JuPedSim: frame, id, x_m, y_m.

    The first line is a comment with the frames per second.
    """
    size, written = check_regular(path), 0
    raw = _staged(path, place, None)
    address = f"file:{raw.absolute().as_posix().replace('?', '%3f').replace('#', '%23')}"
    try:
        with closing(sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)) as db:
            db.execute("pragma trusted_schema = off")
            tables = db.execute("select name from sqlite_master where type = 'table'").fetchall()
            if (SQLITE_TABLE,) not in tables:
                raise DataError(
                    f"{path} has no table {SQLITE_TABLE!r} as JuPedSim writes it; export the rows "
                    "as CSV"
                )
            metadata = db.execute("select value from metadata where key = 'fps'").fetchone()
            rows = db.execute(f"select frame, id, pos_x, pos_y from {SQLITE_TABLE}")
            with place.open("w", encoding="utf-8") as out:
                fps = float(metadata[0]) if metadata else 0.0
                out.write(f"# framerate: {fps:g}\n" if fps > 0 else "")
                out.write("frame,id,x_m,y_m\n")
                for row in rows:
                    line = ",".join("" if value is None else str(value) for value in row)
                    written += out.write(f"{line[:MAX_TEXT]}\n")
                    if written > max(MAX_RATIO * size, BLOCK):
                        raise DataError(
                            f"{path} yields implausibly much text for its size; export it as CSV"
                        )
                    if most is not None and written > most:
                        break
    except (sqlite3.Error, ValueError) as error:
        raise DataError(
            f"{path} is not an SQLite file of JuPedSim ({error}); download it again"
        ) from None


def _staged(path: Path, place: Path, most: int | None) -> Path:
    raw = place.with_name(f"{place.name}.raw")
    stage(path, raw, most)
    return raw


def _write(out: Any, rows: list[Row]) -> None:
    out.writelines(json.dumps(row) + "\n" for row in rows)
