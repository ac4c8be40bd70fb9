"""Aligned tables for people: words to the left, numbers to the right."""

import math
import shutil
import sys
from collections.abc import Mapping, Sequence

from trajflow.text import safe

UNLIMITED = 100_000
"""Columns of a line that is not read on a terminal."""
CELL, VALUE = 64, 200
"""Most letters of a cell of a table, and of a value of `pairs`."""


def table(header: Sequence[str], rows: Sequence[Sequence[object]], limit: int = CELL) -> str:
    """Lay rows out under a header; every string passes `safe`.

    On a terminal, words that do not fit its width continue on a further line.

    Args:
        header: One name per column.
        rows: Cells; a float gets four significant digits, None and NaN become "-".
        limit: Most letters of a cell.

    Example:
        >>> from trajflow.cli.tables import table
        >>> print(table(["scene", "windows"], [["zara1", 2356], ["eth", 364]]))
        scene  windows
        zara1     2356
        eth        364
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    right = [bool(column) and _is_numeric(column) for column in columns]
    lines = [list(map(safe, header)), *([_cell(value, limit) for value in row] for row in rows)]
    return _layout(lines, right)


def pairs(values: Mapping[str, object]) -> str:
    """Names and values, one pair on a line, aligned."""
    lines = [[name, _cell(value, VALUE)] for name, value in values.items()]
    return _layout(lines, [False, False])


def _layout(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for numeric in right:
        grid.add_column(justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for line in lines:
        grid.add_row(*map(Text, line))
    live = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if live else UNLIMITED
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _cell(value: object, limit: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else safe(value, limit)


def _is_numeric(column: Sequence[object]) -> bool:
    kinds = (int, float, type(None))
    return all(isinstance(value, kinds) and not isinstance(value, bool) for value in column)
