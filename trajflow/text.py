"""The one door through which a string from data reaches a terminal."""

import unicodedata

HIDDEN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def safe(text: object, limit: int = 64) -> str:
    r"""A string that can only be read, never obeyed, by a terminal.

    Control characters, lone surrogates, private and unassigned code points and marks that turn
    the direction of writing become visible escapes; what is longer than `limit` is cut.

    Example:
        >>> from trajflow.text import safe
        >>> safe("ped\x1b]0;owned\x07 7")
        'ped\\x1b]0;owned\\x07 7'
    """
    shown = "".join(_visible(letter) for letter in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def width(text: str) -> int:
    """Columns a string takes on a terminal: wide letters take two, combining marks none."""
    return sum(_columns(letter) for letter in text)


def _visible(letter: str) -> str:
    if unicodedata.category(letter) not in HIDDEN and letter not in BIDI:
        return letter
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
