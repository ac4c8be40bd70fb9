"""How numbers, times, paths and curves are written on the screens."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

EIGHTHS = "▁▂▃▄▅▆▇█"


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; a dash if it is not known."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:#.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return text.rstrip(".")


def percent(value: float) -> str:
    """A share in percent; a dash if it is not known."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else "-"


def duration(seconds: float) -> str:
    """A length of time in its two largest units; a dash if it is not known."""
    if not math.isfinite(seconds):
        return "-"
    whole = max(0, round(seconds))
    for size, unit, small, less in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {less}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def ago(seconds: float) -> str:
    """How long something is past, in one unit."""
    for size, unit in ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    if minutes < 60:
        return f"{int(minutes)}:{rest:04.1f}"
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{int(rest):02d}"


def time_after(seconds: float) -> str:
    """A time before or after now with its sign, in seconds, minutes or hours.

    Example:
        >>> from trajflow.tui.format import time_after
        >>> time_after(-2.8), time_after(0), time_after(600)
        ('-2.8 s', 'now', '+10 min')
    """
    if abs(seconds) < 1e-9:
        return "now"
    for size, unit in ((7200, "h"), (120, "min"), (0, "s")):
        if abs(seconds) >= size:
            return f"{seconds / {'h': 3600, 'min': 60, 's': 1}[unit]:+.3g} {unit}"
    return "-"


def count(value: float) -> str:
    """A count with a space between thousands."""
    return f"{int(value):,}".replace(",", " ")


def short_path(path: Path) -> str:
    """A path with ~ for the home folder."""
    home = Path.home()
    if home != Path("/") and path.is_relative_to(home):
        return str(Path("~") / path.relative_to(home))
    return str(path)


def bar(share: float, width: int) -> str:
    """A line of so many letters, full at 1.

    Example:
        >>> from trajflow.tui.format import bar
        >>> bar(0.625, 4)
        '━━╸ '
    """
    full, half = divmod(round(min(1.0, max(0.0, share)) * 2 * width), 2)
    return ("━" * full + "╸" * half).ljust(width)


def spark(values: Sequence[float], columns: int) -> str:
    """Values from left to right in blocks, the largest as the highest.

    Where there are more values than columns, each column shows the mean of its share; values that
    are not finite leave a gap.

    Example:
        >>> from trajflow.tui.format import spark
        >>> spark([3, 2, 1, 0], 8)
        '█▆▃▁'
    """
    if columns < 1 or not len(values):
        return ""
    bins = min(columns, len(values))
    ends = [k * len(values) // bins for k in range(bins + 1)]
    means = [_mean(values[low:high]) for low, high in pairwise(ends)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span, top = (high - low) or 1.0, len(EIGHTHS) - 1
    return "".join(
        EIGHTHS[round((mean - low) / span * top)] if math.isfinite(mean) else " " for mean in means
    )


def bars(counts: Sequence[float], columns: int, rows: int, most: float | None = None) -> list[str]:
    """Counts as bars over so many columns and rows, the first line on top.

    Every count above zero shows at least an eighth of a row, so nothing rare is hidden.

    Args:
        counts: A count for each bar.
        columns: Letters of a line.
        rows: Lines.
        most: The count that fills all rows; None: the largest.
    """
    most = max([*counts, 1e-9]) if most is None else most
    eighths = [max(1, round(n / most * rows * 8)) if n else 0 for n in counts]
    blocks = " " + EIGHTHS
    lines = []
    for row in range(rows - 1, -1, -1):
        parts = [blocks[max(0, min(8, high - 8 * row))] for high in eighths]
        lines.append("".join(parts[column * len(parts) // columns] for column in range(columns)))
    return lines


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
