"""The one door through which a string from data reaches a terminal."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Mapping

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that take or show no ink."""
SELECTORS = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
"""Marks that only choose among shapes of the letter before."""
MARKS = {"Mn", "Me"}
PILED = 3
"""Marks on one letter; more of them would be drawn over the lines above and below."""


def safe(text: object, limit: int = 64) -> str:
    r"""A string that can only be read, never obeyed, by a terminal.

    Control and format characters, marks that turn the direction of writing, what has no width or
    no ink, lone surrogates, private and unassigned code points and marks piled upon a letter become
    visible escapes; what is longer than `limit` is cut.

    Example:
        >>> from trajflow.text import safe
        >>> safe("ped\x1b]0;owned\x07 7")
        'ped\\x1b]0;owned\\x07 7'
    """
    shown = _line(str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def plain(text: str) -> str:
    r"""The same for a text of any length, whose lines are lines: only "\n" stays what it is."""
    return "\n".join(map(_line, text.split("\n")))


def obeyed(letter: str) -> bool:
    """Whether a terminal would obey a letter, or show nothing of it, rather than draw it."""
    if letter.isascii():
        return not letter.isprintable()
    if unicodedata.category(letter) in HIDDEN or letter in BLANK:
        return True
    return any(low <= ord(letter) <= high for low, high in SELECTORS)


def file_name(text: str) -> str:
    """A name for a file in any folder: it leads nowhere else, and no two texts share one.

    Example:
        >>> from trajflow.text import file_name
        >>> file_name("zara1"), file_name("../../etc")
        ('zara1', '_.._etc-74ccf3c5')
    """
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip(".")[:60]
    if kept == text:
        return text
    return f"{kept}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def width(text: str) -> int:
    """Columns a string takes on a terminal: wide letters take two, combining marks none."""
    return sum(_columns(letter) for letter in text)


def _line(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    shown, piled = [], 0
    for letter in text:
        piled = piled + 1 if unicodedata.category(letter) in MARKS else 0
        shown.append(_escaped(letter) if piled > PILED or obeyed(letter) else letter)
    return "".join(shown)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _columns(letter: str) -> int:
    if unicodedata.category(letter) in MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def no_formula(text: str) -> str:
    """A text that a spreadsheet does not calculate: one that begins like a formula is quoted."""
    return f"'{text}" if text.startswith(FORMULA) else text


class Described:
    """Shows an object by its facts: on one line, and as a table in a notebook."""

    def _facts(self) -> Mapping[str, object]:
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={safe(value)}" for name, value in self._facts().items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(safe(value))}</td></tr>"
            for name, value in self._facts().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"
