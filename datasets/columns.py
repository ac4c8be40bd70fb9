"""Decides what the columns of a table are: which is which, and how its times are written."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

import duckdb

from trajflow.datasets.schema import Canonical
from trajflow.datasets.sources import SAMPLE_ROWS, number, quoted, reading
from trajflow.errors import DataError

CANONICAL: tuple[str, ...] = get_args(Canonical)
_NAMES = {
    "scene": "scene scene_id recording recording_id sequence sequence_id video video_id episode "
    "episode_id game_id match_id",
    "agent": "agent agent_id track_id trackid track trajectory trajectory_id traj_id object_id "
    "obj_id pedestrian_id ped_id person_id person pedestrian vehicle_id vehicle mmsi icao24 "
    "player_id player vessel_id vessel ship_id ship boat_id boat animal_id animal device_id "
    "individual_local_identifier tag_local_identifier individual_id individual tag_id id",
    "type": "type agent_type object_type vehicle_type class category",
    "time": "time t t_seconds time_s time_seconds seconds timestamp time_stamp datetime date_time "
    "basedatetime utc time_ms timestamp_ms t_ms time_us timestamp_us time_ns timestamp_ns",
    "frame": "frame frame_id frameid frame_number framenumber frame_index fr",
    "z": "z pos_z position_z z_m z_cm z_mm",
    "split": "split part subset",
}
_PLANES = (
    ("x", "y"),
    ("x_m", "y_m"),
    ("x_cm", "y_cm"),
    ("x_mm", "y_mm"),
    ("pos_x", "pos_y"),
    ("position_x", "position_y"),
    ("x_position", "y_position"),
    ("xcenter", "ycenter"),
    ("x_center", "y_center"),
    ("center_x", "center_y"),
    ("easting", "northing"),
    ("utm_x", "utm_y"),
    ("x_px", "y_px"),
    ("lon", "lat"),
    ("long", "lat"),
    ("lng", "lat"),
    ("longitude", "latitude"),
    ("location_long", "location_lat"),
)
_UNITS = {"lat": "degree", "latitude": "degree", "location_lat": "degree", "y_px": "px"}
_UNITS |= {"x_m": "m", "y_m": "m", "easting": "m", "northing": "m", "utm_y": "m"}
_UNITS |= {"y_cm": "cm", "y_mm": "mm"}
_SECONDS = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9, "s": 1.0, "sec": 1.0, "seconds": 1.0}
ORDERS = ("dmy", "mdy", "ymd")  # Orders of day, month and year in a date of numbers
UNIX = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
YEARS = (6.3e8, 4.1e9)  # Seconds since 1970 of a plausible recording: 1990 to 2099
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_OF_DAY = (
    r"(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"\s*(?P<ap>[AaPp]\.?[Mm]\.?)?\s*(?P<z>Z|z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)?"
)
_DAY_NAME, _ORDINAL = r"^(?:[A-Za-z]{3,9}\.?,?\s+)?", "(?:st|nd|rd|th)?"
_NUMBERS = (
    rf"{_DAY_NAME}(?P<a>\d{{1,4}})(?P<sep>[-/.])(?P<b>\d{{1,2}})[-/.](?P<c>\d{{1,4}})"
    rf"(?:[ T,]+{_OF_DAY})?$"
)
_NAMED = (
    rf"{_DAY_NAME}(?P<d>\d{{1,2}}){_ORDINAL}[-/. ]*(?P<m>[A-Za-z]{{3,9}})[-/., ]*"
    rf"(?P<y>\d{{4}}|\d\d)(?:[ T,]+{_OF_DAY})?$",
    rf"{_DAY_NAME}(?P<m>[A-Za-z]{{3,9}})\.?\s+(?P<d>\d{{1,2}}){_ORDINAL},?\s+(?P<y>\d{{4}})"
    rf"(?:[ T,]+{_OF_DAY})?$",
    rf"{_DAY_NAME}(?P<m>[A-Za-z]{{3,9}})\s+(?P<d>\d{{1,2}})\s+{_OF_DAY}\s+(?P<y>\d{{4}})$",
)
_SINCE_START = r"^(?:(?P<d>\d+) days?,? )?(?P<h>\d{1,3}):(?P<mi>\d\d):(?P<s>\d\d(?:[.,]\d+)?)$"


@dataclass(frozen=True)
class Mapped:
    """The columns of a table that are read."""

    names: dict[str, str]  # name in the file of each canonical column that the file has
    unit: str | None  # unit named by the columns of the coordinates, or None
    # Columns with the role in a leave-one-out fold, by the fold's name
    folds: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # sentences about guessed columns

    @property
    def seconds(self) -> float | None:
        """Seconds per unit of the time column, if its name has one, such as "timestamp_ms"."""
        return _SECONDS.get(plain(self.names.get("time", "")).rpartition("_")[2])


def map_columns(
    path: Path,
    chosen: Mapping[str, str],
    names: Sequence[str],
    dims: int | None = None,
    cells: Sequence[str] = (),
) -> Mapped:
    """Find the canonical columns among the `names` of a file.

    `chosen` are names, or numbers from 1, by canonical column, "" for none. `dims` are the
    coordinates to read; None reads z where it exists. `cells` are the first row of a file without a
    header line, and `path` is the file, for messages.

    Raises:
        DataError: A chosen column does not exist, or a required column is missing.
    """
    chosen = {canonical: _by_number(name, names) for canonical, name in chosen.items()}
    for canonical, name in chosen.items():
        _check_choice(path, canonical, name, names)
    result = {canonical: name for canonical, name in chosen.items() if name}
    _guess(result, names, {canonical for canonical, name in chosen.items() if not name})
    if dims == 2:
        result.pop("z", None)
    _check_complete(path, result, names, dims, cells)
    guessed = [f"{c} from {n!r}" for c, n in result.items() if c not in chosen]
    notes = [f"columns guessed: {', '.join(guessed)}"] if guessed else []
    unread = [n for n in names if n not in result.values() and not plain(n).startswith("fold_")]
    free = [f"{canonical}=NAME" for canonical in ("scene", "type", "z") if canonical not in result]
    if unread and free:
        notes.append(f"not read: {_listed(unread)}; --columns {' or '.join(free)} reads one")
    lowered = {plain(name): name for name in names}
    folds = {p.removeprefix("fold_"): n for p, n in lowered.items() if re.match("fold_.", p)}
    unit = _UNITS.get(plain(result["y"])) or _UNITS.get(plain(result["x"]))
    return Mapped(result, unit, folds if "scene" in result else {}, notes)


def names_places(cells: Sequence[str]) -> bool:
    """Whether a cell is a common name of a column of coordinates, times or frames."""
    names = {*_NAMES["time"].split(), *_NAMES["frame"].split()}.union(*_PLANES)
    return not {_joined(name) for name in names}.isdisjoint(map(_joined, cells))


def plain(name: str) -> str:
    """A column's name in lower case with single underscores, as in the lists above."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _by_number(name: str, names: Sequence[str]) -> str:
    """The column with a number from 1, unless a column has this name."""
    if name in names or not (name.isascii() and name.isdigit() and 0 < int(name) <= len(names)):
        return name
    return names[int(name) - 1]


def _guess(mapping: dict[str, str], names: Sequence[str], excluded: Set[str]) -> None:
    free = {_joined(name): name for name in reversed(names) if name not in mapping.values()}
    if "x" not in mapping and "y" not in mapping:
        planes = (tuple(map(_joined, plane)) for plane in _PLANES)
        pair = next((p for p in planes if p[0] in free and p[1] in free), None)
        mapping |= dict(zip("xy", (free[name] for name in pair), strict=True)) if pair else {}
    for canonical, common in _NAMES.items():
        if canonical in mapping or canonical in excluded:
            continue
        if canonical == "frame" and "time" in mapping:
            continue
        name = next((free[_joined(n)] for n in common.split() if _joined(n) in free), None)
        if name is not None and not (canonical == "time" and "frame" in mapping):
            mapping[canonical] = name


def _joined(name: str) -> str:
    """A column's name without underscores, so that "trackId" is "track_id"."""
    return plain(name).replace("_", "")


def _check_choice(path: Path, canonical: str, name: str, names: Sequence[str]) -> None:
    if canonical not in CANONICAL:
        raise DataError(
            f"no canonical column {canonical!r}{_near(canonical, CANONICAL)}; "
            f"choose from {', '.join(CANONICAL)}"
        )
    if names.count(name) > 1:
        raise DataError(f"{path} has two columns {name!r}; rename one")
    if name and name not in names:
        raise DataError(
            f"{path} has no column {name!r} for {canonical!r}{_near(name, names)}; "
            f"it has {_listed(names)}"
        )


def _check_complete(
    path: Path,
    mapping: Mapping[str, str],
    names: Sequence[str],
    dims: int | None,
    cells: Sequence[str],
) -> None:
    needed = ("agent", "x", "y", "z") if dims == 3 else ("agent", "x", "y")
    missing = [c for c in needed if c not in mapping]
    if "time" not in mapping and "frame" not in mapping:
        missing.append("time (or frame)")
    if missing and cells:
        raise DataError(
            f"{path} has no header line, it begins with the row {', '.join(cells)[:200]}; no "
            f"column is named for {', '.join(missing)}: give the number of each, for example "
            "--columns agent=1,time=2,x=3,y=4"
        )
    if missing:
        raise DataError(
            f"{path}: no column found for {', '.join(missing)}; it has {_listed(names)}; name "
            f"it: --columns {missing[0].split()[0]}=NAME"
        )
    if "time" in mapping and "frame" in mapping:
        raise DataError(f"{path}: both time and frame are given; give only one")
    for name in mapping.values():
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns {name!r}; rename one")
        if list(mapping.values()).count(name) > 1:
            raise DataError(f"{path}: column {name!r} is given twice; give each its own column")


def _near(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, 1) or [
        n for n in names if plain(n) == plain(name) and n != name
    ]
    return f"; did you mean {near[0]!r}?" if near else ""


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(repr(name) for name in names[:40])
    return f"the columns {text}" + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def read_times(
    db: duckdb.DuckDBPyConnection,
    path: Path,
    name: str,
    columns: Sequence[tuple[str, str]],
    cell: str,
    order: str | None,
) -> tuple[str, bool, list[str]]:
    """Decide how to read a column of times.

    `columns` are the relation and column of each file: the first decides how to read the column,
    all of them the order of days and months unless the user chose an `order`. `cell` is the SQL of
    a cell with a decimal point, {} being the column; `path` and `name` are for messages.

    Returns:
        SQL of the seconds, {} being the column; whether they count from 1970 because the column
        has dates; and sentences for the report.

    Raises:
        DataError: The order of days and months is ambiguous.
    """
    rows, column = columns[0]
    text = f"trim({column}::varchar)"
    value = number(cell.replace("{}", column))
    stamp = f"try_strptime({text}, '%Y%m%d%H%M%S')"
    with reading(path):
        kind, filled, numbers, middle, stamps, moments, spans = db.execute(
            f"""select any_value(typeof({column})), count(nullif({text}, '')), count({value}),
            median(abs({value})), count({stamp}), count({_moment(column)}), count({_span(column)})
            from (from {rows} limit {SAMPLE_ROWS})"""
        ).fetchall()[0]
    if str(kind).startswith("TIMESTAMP"):
        return f"epoch({_moment('{}')})", True, []
    if 2 * stamps > filled and 1.9e13 < middle < 2.1e13:
        return "epoch(try_strptime(trim({}::varchar), '%Y%m%d%H%M%S'))", True, []
    if not filled or 2 * numbers >= filled:
        return number(cell), False, []
    if 2 * spans > filled:
        return _span("{}"), False, [f"{name!r} is read as hours, minutes and seconds"]
    if 2 * moments > filled:
        return f"epoch({_moment('{}')})", True, []
    order = order or _order(db, path, name, columns)
    words = {"d": "day", "m": "month", "y": "year"}
    notes = [f"dates in {name!r} are read as {', '.join(words[o] for o in order)}"] if order else []
    return f"epoch(coalesce({_moment('{}')}, {_written('{}', order or 'dmy')}))", True, notes


def unix_unit(middle: float) -> str | None:
    """The unit in which a number since 1970 is a date of 1990 to 2099, or None."""
    fits = (u for u, seconds in UNIX.items() if YEARS[0] <= middle * seconds < YEARS[1])
    return next(fits, None)


def _moment(column: str) -> str:
    """SQL: the moment of a date in ISO 8601, in UTC if it has no time zone."""
    basic = "['%Y%m%dT%H%M%SZ', '%Y%m%dT%H%M%S', '%Y%m%d %H%M%S', '%Y%m%dT%H%M%S.%fZ']"
    text = f"trim({column}::varchar)"
    iso = (
        f"case when regexp_matches({text}, '^[0-9]{{4}}') then try_cast({text} as timestamptz) end"
    )
    return f"coalesce({iso}, try_strptime({text}, {basic})::timestamptz)"


def _span(column: str) -> str:
    """SQL: seconds of a time without a date, such as 00:01:30.5 or 0 days 00:01:30."""
    p = _parts(column, _SINCE_START)
    seconds = f"try_cast(replace({p}.s, ',', '.') as double)"
    whole = f"coalesce(try_cast({p}.d as bigint), 0) * 86400 + try_cast({p}.h as bigint) * 3600"
    return f"({whole} + try_cast({p}.mi as bigint) * 60 + {seconds})"


def _written(column: str, order: str) -> str:
    """SQL: the moment of a date of numbers in an order, or with a month's name."""
    # Hours may come first: 10:00 05.07.2024.
    text = (
        rf"regexp_replace(trim({column}::varchar), '^(\d+:\S+(?: ?[AaPp][Mm])?),? (\S+)$', '\2 \1')"
    )
    p = _parts(text, _NUMBERS)
    a, b, c = f"{p}.a", f"{p}.b", f"{p}.c"
    day, month, year = {"dmy": (a, b, c), "mdy": (b, a, c), "ymd": (c, b, a)}[order]
    year, day = (f"if(length({a}) = 4, {first}, {other})" for first, other in ((a, year), (c, day)))
    month = f"if(length({a}) = 4, {b}, {month})"
    dates = [_date(p, year, month, day)]
    for pattern in _NAMED:
        p = _parts(text, pattern)
        months = "[" + ", ".join(map(quoted, _MONTHS)) + "]"
        month = f"list_position({months}, lower(left({p}.m, 3)))::varchar"
        dates.append(_date(p, f"{p}.y", month, f"{p}.d"))
    return f"coalesce({', '.join(dates)})"


def _parts(text: str, pattern: str) -> str:
    """SQL: the named groups of a pattern in a text, '' for those that do not match."""
    names = ", ".join(map(quoted, re.compile(pattern).groupindex))
    plain = re.sub(r"\?P<\w+>", "", pattern)
    return f"regexp_extract(trim({text}::varchar), {quoted(plain)}, [{names}])"


def _date(p: str, year: str, month: str, day: str) -> str:
    """SQL: the moment of a date and the time of day in `_parts`."""
    full = f"if(length({year}) = 2, if({year} < '70', '20', '19') || {year}, {year})"
    hour = f"try_cast({p}.h as int)"
    half = f"if({hour} <= 12, {hour} % 12 + if(upper(left({p}.ap, 1)) = 'P', 12, 0), {hour})"
    clock = f"coalesce(if({p}.ap = '', {hour}, {half}), 0) || ':' || if({p}.mi = '', '00', {p}.mi)"
    clock = f"{clock} || ':' || if({p}.s = '', '00', {p}.s) || '.' || if({p}.f = '', '0', {p}.f)"
    zone = f"if(upper({p}.z) in ('Z', 'UTC', 'GMT'), '+00', {p}.z)"
    text = f"{full} || '-' || {month} || '-' || {day} || ' ' || {clock} || {zone}"
    return f"try_cast({text} as timestamptz)"


def _order(
    db: duckdb.DuckDBPyConnection, path: Path, name: str, columns: Sequence[tuple[str, str]]
) -> str:
    """The order in which most dates are valid; '' if no date begins with a day or month.

    Raises:
        DataError: Several orders are equally valid.
    """
    counts: Counter[str] = Counter()
    first: tuple[int, str] | None = None
    fits = {"dmy": "a <= 31 and b <= 12", "mdy": "a <= 12 and b <= 31"}
    fits["ymd"] = "c <= 31 and b <= 12 and length(text_c) <= 2"
    for rows, column in columns:
        p = _parts(column, _NUMBERS)
        with reading(path):
            result = db.execute(
                f"""select {", ".join(f"count(*) filter ({fit})" for fit in fits.values())},
                count(*) filter (sep = '.'), count(*), arg_min((r, t), r) from (
                    select r, t, p.sep as sep, p.c as text_c, try_cast(p.a as int) as a,
                    try_cast(p.b as int) as b, try_cast(p.c as int) as c from (
                        select "row" as r, {column}::varchar as t, {p} as p from {rows})
                    where p.a <> '' and length(p.a) <= 2)"""
            ).fetchall()[0]
        counts.update(dict(zip((*fits, "dots", "all"), result, strict=False)))
        first = first or result[-1]
    if not counts["all"]:
        return ""
    most = max(counts[order] for order in fits)
    best = [order for order in fits if counts[order] == most]
    if counts["dots"] == counts["all"] and "dmy" in best:
        return "dmy"
    if len(best) == 1 or first is None:
        return best[0]
    raise DataError(
        f"{path}: column {name!r} has dates such as {first[1]!r} (row {first[0]}) that may be read "
        f"as {' or '.join(best)} (d day, m month, y year); choose one: --dates {best[0]}"
    )
