"""A picture in layers, made into terminal cells: density below, crisp strokes, letters on top."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from trajflow.browse.view import Bools, Floats, Ints
from trajflow.tui.render.colors import Palette, pack_rgb, quantize, unpack_rgb
from trajflow.tui.render.raster import Trace

HALF_BLOCK, BLANK, BRAILLE = 0x2580, 0x20, 0x2800
BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
"""Bit of each dot of a cell, by its row and column, as Unicode orders braille."""
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float64)
GAIN, POWER = 7.0, 0.6
"""How fast density turns to colour: one path of twenty must still be seen."""
MAX_DARK, MAX_LIGHT = 0.62, 0.55
"""Share of the hue where density is highest; strokes must stand out on it."""
STEP = 8
"""Steps of red, green and blue: fewer colours are fewer bytes for the terminal."""
IMAGE = 0.4
"""Share of an image's colours that is left under the tracks."""
CALM = 0.12
"""How much of the background comes back behind strokes."""


@dataclass(frozen=True)
class Cells:
    """Letters and colours, each [N, N] of rows and columns; colours are 0xRRGGBB.

    Attributes:
        code: Code point of each letter.
        fore, back: Colours of the letter and behind it.
        bold: Whether it is bold.
        transparent: Colour that stands for the terminal's own background; None if none does.
    """

    code: Ints
    fore: Ints
    back: Ints
    bold: Bools
    transparent: int | None = None

    @property
    def lines(self) -> list[str]:
        return [_text(row) for row in self.code]

    def strips(self) -> list[Strip]:
        """One strip for each row, with as few segments as colours change."""
        key = self.fore << 25 | self.back << 1 | self.bold
        empty = (self.code == BLANK) | (self.code == BRAILLE)
        key = np.where(empty, self.back << 25 | self.back << 1, key)
        rows = zip(self.code, key, strict=True)
        return [_strip(_text(code), line, self.transparent) for code, line in rows]


class Canvas:
    """A picture of `rows` by `columns` cells.

    Attributes:
        size: Dots right and down.
        bits: Braille bits of each cell, [N].
        ink: Colour of the last stroke in each cell, [N].
    """

    def __init__(self, rows: int, columns: int, palette: Palette) -> None:
        self.rows, self.columns, self.palette = rows, columns, palette
        self.size = (2 * columns, 4 * rows)
        self.bits = np.zeros(rows * columns, np.uint8)
        self.ink = np.zeros(rows * columns, np.int64)
        self._strength = np.zeros((2 * rows, columns))
        self._hue: Floats | None = None
        self._ground: Floats | None = None
        self._letters: dict[tuple[int, int], tuple[str, int, int | None, bool]] = {}

    def stroke(self, traced: Trace, ink: Ints, alone: bool = False) -> None:
        """Draw lines as braille dots, each line [N] in its colour.

        With `alone`, what was in the cells before is wiped out.
        """
        cell = (traced.row >> 2) * self.columns + (traced.column >> 1)
        if alone:
            self.bits[cell] = 0
        np.bitwise_or.at(self.bits, cell, BITS[traced.row & 3, traced.column & 1])
        self.ink[cell] = ink[traced.line]

    def lay(self, colors: Floats, there: Bools) -> None:
        """Lay an image under everything, dimmed; a terminal with few colours shows none.

        Args:
            colors: Red, green and blue of each pixel, [2 * N, N, 3].
            there: Pixels that lie on the image, [2 * N, N].
        """
        if self.palette.depth == "full":
            plain = unpack_rgb(np.array([self.palette.background]))[0]
            dimmed = np.rint(IMAGE * (colors - plain) / STEP) * STEP
            self._ground = (plain + dimmed * there[..., None]).astype(np.float32)

    def shade(self, planes: Floats, colors: Ints) -> None:
        """Lay density under everything: planes [K, 2 * N, N] of K colours, which may be none."""
        if not len(colors):
            return
        planes = planes.astype(np.float32)
        total = planes.sum(0)
        most = MAX_DARK if self.palette.dark else MAX_LIGHT
        self._strength = most * (-np.expm1(-GAIN * total)) ** POWER
        if self.palette.depth == "full":
            share = planes / np.maximum(total, np.float32(1e-12))
            self._hue = np.tensordot(share, unpack_rgb(colors).astype(np.float32), (0, 0))
        else:
            self._hue = unpack_rgb(colors[planes.argmax(0)])

    def write(
        self,
        row: int,
        column: int,
        text: str,
        fore: int,
        back: int | None = None,
        *,
        bold: bool = False,
    ) -> None:
        """Letters of one column each, from a cell on; those outside are left out."""
        for offset, letter in enumerate(text):
            cell = (row, column + offset)
            if 0 <= row < self.rows and 0 <= cell[1] < self.columns:
                self._letters[cell] = (letter, fore, back, bold)

    def free(self, row: int, column: int, width: int = 1) -> bool:
        """Whether nothing is written on these cells, and they are on the picture."""
        if not (0 <= row < self.rows and column >= 0 and column + width <= self.columns):
            return False
        return all((row, column + k) not in self._letters for k in range(width))

    def cells(self) -> Cells:
        palette, size = self.palette, (self.rows, self.columns)
        code, fore, back = self._fine() if palette.depth == "full" else self._coarse()
        code, fore, back = code.reshape(size), fore.reshape(size), back.reshape(size)
        bold = np.zeros(size, bool)
        for (row, column), (letter, front, behind, strong) in self._letters.items():
            code[row, column], fore[row, column] = ord(letter), front
            bold[row, column] = strong
            if behind is not None:
                back[row, column] = behind
        transparent = palette.background if palette.transparent else None
        return Cells(code, fore, back, bold, transparent)

    def _fine(self) -> tuple[Ints, Ints, Ints]:
        """Half blocks of density, and braille on what lies between them."""
        bits = self._braille()
        has = bits > 0
        size = (2 * self.rows, self.columns, 3)
        plain = unpack_rgb(np.array([self.palette.background]))[0].astype(np.float32)
        ground: Floats = np.broadcast_to(plain, size) if self._ground is None else self._ground
        away: Floats = np.zeros(size, np.float32)
        if self._hue is not None:
            away = (self._hue - ground) * self._strength[..., None]
        pixels = pack_rgb(ground + np.rint(away / STEP) * STEP)
        both = (1 - CALM) / 2 * (away[0::2][has] + away[1::2][has])
        behind = np.rint((ground[0::2][has] + ground[1::2][has]) / 2)
        calm = pixels[1::2].copy()
        calm[has] = pack_rgb(behind + np.rint(both / STEP) * STEP)
        upper, lower = pixels[0::2], pixels[1::2]
        code = np.where(has, BRAILLE + bits, np.where(upper == lower, BLANK, HALF_BLOCK))
        return code, np.where(has, self.ink.reshape(has.shape), upper), calm

    def _coarse(self) -> tuple[Ints, Ints, Ints]:
        """Braille alone: density as more or fewer dots."""
        bits, ink = self._braille(), self.ink.reshape(self.rows, self.columns)
        has = bits > 0
        if self._hue is not None:
            grains = dither(self._strength).reshape(has.shape)
            lower = self._strength[1::2] > self._strength[0::2]
            hue = np.where(lower[..., None], self._hue[1::2], self._hue[0::2])
            bits = np.where(has, bits, grains)
            ink = np.where(has, ink, pack_rgb(hue))
        ink = quantize(unpack_rgb(ink), self.palette.depth)
        code = np.where(bits > 0, BRAILLE + bits, BLANK)
        return code, ink, np.full(has.shape, self.palette.background)

    def _braille(self) -> Ints:
        return self.bits.astype(np.int64).reshape(self.rows, self.columns)


def dither(strength: Floats) -> NDArray[np.uint8]:
    """Braille bits [N] whose number grows with the strength, 0 to 1, of each cell's two pixels.

    Source: Bayer 1973, "An optimum method for two-level rendition of continuous-tone pictures".
    """
    fine = strength.repeat(2, 0).repeat(2, 1)
    rows, columns = fine.shape
    thresholds = (BAYER + 0.5) / 16
    lit = fine > np.tile(thresholds, (-(-rows // 4), -(-columns // 4)))[:rows, :columns]
    cells = lit.reshape(rows // 4, 4, columns // 2, 2).transpose(0, 2, 1, 3)
    return np.asarray((cells * BITS).sum((2, 3)).astype(np.uint8).ravel())


def _strip(text: str, key: Ints, transparent: int | None) -> Strip:
    cuts = np.flatnonzero(key[1:] != key[:-1]) + 1
    edges = [0, *cuts.tolist(), len(key)]
    keys = key[edges[:-1]].tolist()
    segments = [
        Segment(text[begin:end], _style(one, transparent))
        for begin, end, one in zip(edges[:-1], edges[1:], keys, strict=True)
    ]
    return Strip(segments, len(key))


@lru_cache(1 << 14)
def _style(key: int, transparent: int | None) -> Style:
    fore, back = key >> 25, key >> 1 & 0xFFFFFF
    behind = Color.default() if back == transparent else _color(back)
    return Style(color=_color(fore), bgcolor=behind, bold=True if key & 1 else None)


@lru_cache(1 << 13)
def _color(value: int) -> Color:
    return Color.from_rgb(value >> 16, value >> 8 & 255, value & 255)


def _text(codes: Ints) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le")
