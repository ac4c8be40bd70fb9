"""How numbers, times and sizes are written on the screens."""

import math


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits that count; a dash if it is not known."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:#.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return text.rstrip(".")


def share(value: float) -> str:
    """A share in percent; a dash if it is not known."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else "-"


def span(seconds: float) -> str:
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


def count(value: float) -> str:
    """A count with its thousands apart."""
    return f"{int(value):,}".replace(",", " ")
