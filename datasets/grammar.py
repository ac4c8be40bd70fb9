"""Text to numbers by one strict ASCII grammar, and moments in time to seconds.

`float()` takes "1_000", Arabic digits, "infinity" and "nan"; a table of positions must not.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trajflow.batch import Floats

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_WHOLE = r"^([+-]?[0-9]+)\.0*$"
_DAY = 86_400.0


def numbers(column: pa.Array) -> Floats:
    """The values of a column, [N]; NaN where an entry is no plain finite decimal number.

    Args:
        column: Text, integers or floating point numbers, [N].
    """
    if _is_text(column.type):
        trimmed = pc.ascii_trim_whitespace(column)
        column = pc.if_else(pc.match_substring_regex(trimmed, NUMBER), trimmed, None)
    elif not _is_number(column.type):
        column = pa.nulls(len(column), pa.float64())
    values = pc.cast(column, pa.float64(), safe=False)
    values = pc.if_else(pc.is_finite(values), values, None)
    return np.array(pc.fill_null(values, float("nan")), np.float64)


def labels(column: pa.Array) -> pa.Array:
    """Names as text, [N], trimmed; whole numbers written as 7.0 become 7, missing ones ""."""
    if not _is_text(column.type):
        column = _written(column)
    text = pc.ascii_trim_whitespace(pc.cast(pc.fill_null(column, ""), pa.string()))
    return pc.replace_substring_regex(text, _WHOLE, r"\1")


def looks_numeric(column: pa.Array) -> bool:
    """Whether most of the filled entries of a column are numbers rather than, say, dates."""
    if not _is_text(column.type):
        return not pa.types.is_temporal(column.type)
    trimmed = pc.ascii_trim_whitespace(column)
    filled = len(column) - (pc.sum(pc.equal(trimmed, "")).as_py() or 0) - column.null_count
    found = pc.sum(pc.match_substring_regex(trimmed, NUMBER)).as_py() or 0
    return bool(2 * found >= filled)


def moments(column: pa.Array) -> Floats:
    """Seconds since 1970 in UTC of dates as ISO 8601 writes them, [N]; NaN where it is none."""
    values = column.to_pandas()
    times = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
    # In the unit of the dates: in nanoseconds the years before 1678 and after 2261 have no number.
    since = (times - pd.Timestamp(0, tz="UTC").as_unit(times.dt.unit)) / np.timedelta64(1, "s")
    return np.asarray(since.to_numpy(dtype=float, na_value=float("nan")))


def midnight(seconds: float) -> float:
    """The last midnight (UTC) before a moment, both in seconds since 1970."""
    return seconds // _DAY * _DAY


def _is_number(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(holds(kind) for holds in kinds)


def _written(column: pa.Array) -> pa.Array:
    """Values as text, or nothing where they are lists or the like."""
    try:
        return pc.cast(column, pa.string(), safe=False)
    except pa.ArrowNotImplementedError:
        return pa.nulls(len(column), pa.string())


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
