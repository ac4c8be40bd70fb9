"""Reads the times of tables: numbers, with a unit guessed from their size, and dates."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import duckdb

from trajflow.datasets.sources import SAMPLE_ROWS
from trajflow.datasets.sql import number, quoted, reading
from trajflow.errors import DataError

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
