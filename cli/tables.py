"""Aligned text tables: words to the left, numbers to the right."""

import math
from collections.abc import Sequence

from trajflow.text import safe, width


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The rows under a header, as one aligned text; every string passes `safe`.

    Args:
        header: One name per column.
        rows: Cells; a float gets four significant digits, None and NaN become "-".

    Example:
        >>> from trajflow.cli.tables import table
        >>> print(table(["scene", "windows"], [["zara1", 2356], ["eth", 364]]))
        scene  windows
        zara1     2356
        eth        364
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(header, *cells, strict=True)]
    right = [_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(header)
    lines = [_line(row, widths, right) for row in [list(map(safe, header)), *cells]]
    return "\n".join(lines)


def pairs(values: dict[str, object]) -> str:
    """Names and values, one pair on a line, aligned."""
    longest = max((width(name) for name in values), default=0)
    return "\n".join(
        f"{name}{' ' * (longest - width(name))}  {_cell(value, limit=200)}"
        for name, value in values.items()
    )


def _cell(value: object, limit: int = 64) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else safe(value, limit)


def _numeric(column: Sequence[object]) -> bool:
    kinds = (int, float, type(None))
    return all(isinstance(value, kinds) and not isinstance(value, bool) for value in column)


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = []
    for cell, wide, to_the_right in zip(cells, widths, right, strict=True):
        space = " " * (wide - width(cell))
        padded.append(space + cell if to_the_right else cell + space)
    return "  ".join(padded).rstrip()
