"""How numbers, times and paths are written on the screens."""

import math
from pathlib import Path

SCORES = {"min_ade": "minADE", "min_fde": "minFDE", "energy_score": "energy score"}
SCORES |= {"expected_error": "expected error", "spread": "spread", "coverage_90": "coverage@90"}
SCORES |= {"miss_rate": "miss rate", "ood_score": "OOD score"}
"""Names of scores; `HEADS` has those over columns."""
HEADS = SCORES | {"energy_score": "energy", "coverage_90": "cov@90", "ood_score": "OOD"}
SHARES = {"coverage_90", "miss_rate"}


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; a dash if it is not known."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:#.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return text.rstrip(".")


def epochs(value: float) -> str:
    """A number of epochs, without zeros at its end; a dash if it is not known."""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def percent(value: float) -> str:
    """A share in percent; a dash if it is not known."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else "-"


def score(name: str, value: float) -> str:
    """A score as tables write it; a dash if it is not known."""
    if name in SHARES:
        return percent(value)
    return f"{value:.3f}" if name == "ood_score" and math.isfinite(value) else number(value)


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
    """A count with a comma between thousands."""
    return f"{int(value):,}"


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
        '██▌╌'
    """
    full, rest = divmod(round(min(1.0, max(0.0, share)) * 8 * width), 8)
    partial = "▏▎▍▌▋▊▉"[rest - 1] if rest else ""
    return ("█" * full + partial).ljust(width, "╌")
