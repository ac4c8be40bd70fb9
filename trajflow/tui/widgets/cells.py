"""A picture as cells of a terminal, and the strips that Textual shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from trajflow.batch import Bools, Ints

HALF, BLANK = 0x2580, 0x20


@dataclass(frozen=True)
class Cells:
    """Letters and colours, all [N, N] of rows and columns; colours are 0xRRGGBB.

    Attributes:
        code: Code point of each letter.
        fore: Colour of the letter.
        back: Colour behind it.
        bold: Whether it is bold.
        clear: Colour that stands for the terminal's own ground; None if none does.
    """

    code: Ints
    fore: Ints
    back: Ints
    bold: Bools
    clear: int | None = None

    @property
    def lines(self) -> list[str]:
        """The letters alone."""
        return [_text(row) for row in self.code]

    def strips(self) -> list[Strip]:
        """One strip for each row, with as few segments as colours change."""
        key = self.fore << 25 | self.back << 1 | self.bold
        empty = (self.code == BLANK) | (self.code == 0x2800)
        key = np.where(empty, self.back << 25 | self.back << 1, key)
        rows = zip(self.code, key, strict=True)
        return [_strip(_text(code), line, self.clear) for code, line in rows]

    def beside(self, other: Cells) -> Cells:
        """Two pictures of equal height, left and right."""
        return self._joined(other, 1)

    def above(self, other: Cells) -> Cells:
        """Two pictures of equal width, one below the other."""
        return self._joined(other, 0)

    def _joined(self, other: Cells, axis: int) -> Cells:
        return Cells(
            np.concatenate([self.code, other.code], axis),
            np.concatenate([self.fore, other.fore], axis),
            np.concatenate([self.back, other.back], axis),
            np.concatenate([self.bold, other.bold], axis),
            self.clear,
        )


def _strip(text: str, key: Ints, clear: int | None) -> Strip:
    cuts = np.flatnonzero(key[1:] != key[:-1]) + 1
    edges = [0, *cuts.tolist(), len(key)]
    keys = key[edges[:-1]].tolist()
    pieces = [
        Segment(text[begin:end], _style(one, clear))
        for begin, end, one in zip(edges[:-1], edges[1:], keys, strict=True)
    ]
    return Strip(pieces, len(key))


@lru_cache(1 << 14)
def _style(key: int, clear: int | None) -> Style:
    fore, back = key >> 25, key >> 1 & 0xFFFFFF
    ground = Color.default() if back == clear else _color(back)
    return Style(color=_color(fore), bgcolor=ground, bold=True if key & 1 else None)


@lru_cache(1 << 13)
def _color(value: int) -> Color:
    return Color.from_rgb(value >> 16, value >> 8 & 255, value & 255)


def _text(codes: Ints) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le")
