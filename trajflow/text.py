"""Escapes text from data before it reaches a terminal, a file name or a spreadsheet."""

import re
import unicodedata
from collections.abc import Mapping

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Letters and marks that are invisible.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Variation selectors: they only change the shape of the letter before.
SELECTORS = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
MARKS = {"Mn", "Me"}
# Further marks on one letter would be drawn over neighboring lines.
MAX_MARKS = 3


def safe(text: object, limit: int = 64) -> str:
    r"""Escape everything in a string that a terminal would interpret or not show.

    Escaped are control and format characters, changes of the writing direction, invisible
    characters, lone surrogates, private and unassigned code points, and the fourth and further
    marks on a letter.
    Text longer than `limit` is cut.

    Examples:
        >>> from trajflow.text import safe
        >>> safe("ped\x1b]0;owned\x07 7")
        'ped\\x1b]0;owned\\x07 7'
    """
    line = _line(str(text)[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def plain(text: str) -> str:
    """As `safe`, for text of any length; line breaks stay."""
    return "\n".join(map(_line, text.split("\n")))


def needs_escape(letter: str) -> bool:
    """Whether a terminal would interpret a character or show nothing, rather than draw it."""
    if letter.isascii():
        return not letter.isprintable()
    if unicodedata.category(letter) in HIDDEN or letter in BLANK:
        return True
    return any(low <= ord(letter) <= high for low, high in SELECTORS)


def file_name(text: str) -> str:
    """A file name for a text, unique to the text and without separators.

    Examples:
        >>> from trajflow.text import file_name
        >>> file_name("zara1"), file_name("../../etc")
        ('zara1', '_.._etc-74ccf3c5')
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip(".")[:60]
    if name == text:
        return text
    import hashlib

    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def with_unit(value: float, unit: str | None) -> str:
    """A number with its unit, such as "2 m"; without one if it is not known or is 1.

    Examples:
        >>> from trajflow.text import with_unit
        >>> with_unit(2.0, "m"), with_unit(0.5, "1")
        ('2 m', '0.5')
    """
    return f"{value:.3g}" if unit in (None, "", "1", "unknown") else f"{value:.3g} {unit}"


def width(text: str) -> int:
    """Columns of a string on a terminal: wide characters take two, combining marks none."""
    return sum(_columns(letter) for letter in text)


def _line(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    letters, marks = [], 0
    for letter in text:
        marks = marks + 1 if unicodedata.category(letter) in MARKS else 0
        escape = marks > MAX_MARKS or needs_escape(letter)
        letters.append(_escaped(letter) if escape else letter)
    return "".join(letters)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _columns(letter: str) -> int:
    if unicodedata.category(letter) in MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


# A cell that starts so is a formula to a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def no_formula(text: str) -> str:
    """Quote a text that a spreadsheet would interpret as a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


class Described:
    """Shows an object by its facts: on one line, and as a table in a notebook."""

    def _facts(self) -> Mapping[str, object]:
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={safe(value)}" for name, value in self._facts().items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(safe(value))}</td></tr>"
            for name, value in self._facts().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"
