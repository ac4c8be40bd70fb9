"""Layers of one picture, density below, crisp strokes on it, letters on top, made into cells."""

from __future__ import annotations

import numpy as np

from trajflow.batch import Bools, Floats, Ints
from trajflow.tui.widgets.cells import BLANK, HALF, Cells
from trajflow.tui.widgets.look import Look, packed, quantised, rgb
from trajflow.tui.widgets.strokes import Strokes, dither

BRAILLE = 0x2800
GAIN, POWER = 7.0, 0.6
"""How fast density turns to colour: a lone path of twenty must still be seen."""
MOST_DARK, MOST_LIGHT = 0.62, 0.55
"""Share of the hue where density is highest; strokes must stand out on it."""
STEP = 8
"""Steps of red, green and blue: fewer colours are fewer bytes for the terminal."""
CALM = 0.12
"""How much of the ground's colour comes back behind strokes."""


class Painting:
    """What is painted on `rows` by `columns` cells.

    Attributes:
        strokes: Crisp lines; their inks are colours.
        dots: Size of the picture in dots, right and down.
    """

    def __init__(self, rows: int, columns: int, look: Look) -> None:
        self.rows, self.columns, self.look = rows, columns, look
        self.strokes = Strokes(rows, columns)
        self.dots = (2 * columns, 4 * rows)
        self._strength = np.zeros((2 * rows, columns))
        self._warmth: Floats | None = None
        self._letters: dict[tuple[int, int], tuple[str, int, int | None, bool]] = {}

    def shade(self, planes: Floats, colours: Ints) -> None:
        """Lay density under everything.

        Args:
            planes: How much of each colour lies on each pixel, [K, 2 * N, N] of K colours.
            colours: The colours, [K]; nothing is laid where K is 0.
        """
        if not len(colours):
            return
        planes = planes.astype(np.float32)
        total = planes.sum(0)
        most = MOST_DARK if self.look.dark else MOST_LIGHT
        self._strength = most * (-np.expm1(-GAIN * total)) ** POWER
        if self.look.depth == "full":
            share = planes / np.maximum(total, np.float32(1e-12))
            self._warmth = np.tensordot(share, rgb(colours).astype(np.float32), (0, 0))
        else:
            self._warmth = rgb(colours[planes.argmax(0)])

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
            there = (row, column + offset)
            if 0 <= row < self.rows and 0 <= there[1] < self.columns:
                self._letters[there] = (letter, fore, back, bold)

    def free(self, row: int, column: int, width: int = 1) -> bool:
        """Whether nothing is written on these cells, and they are on the picture."""
        if not (0 <= row < self.rows and column >= 0 and column + width <= self.columns):
            return False
        return all((row, column + k) not in self._letters for k in range(width))

    def cells(self) -> Cells:
        """The picture."""
        look, size = self.look, (self.rows, self.columns)
        code, fore, back = self._fine() if look.depth == "full" else self._coarse()
        code, fore, back = code.reshape(size), fore.reshape(size), back.reshape(size)
        bold = np.zeros(size, bool)
        for (row, column), (letter, front, behind, strong) in self._letters.items():
            code[row, column], fore[row, column] = ord(letter), front
            bold[row, column] = strong
            if behind is not None:
                back[row, column] = behind
        return Cells(code, fore, back, bold, look.ground if look.clear else None)

    def _fine(self) -> tuple[Ints, Ints, Ints]:
        """Half blocks of density, and braille on what lies between them."""
        look, has = self.look, self._has()
        size = (2 * self.rows, self.columns)
        ground = rgb(np.array([look.ground]))[0].astype(np.float32)
        if self._warmth is None:
            pixels = np.full(size, look.ground)
            calm = pixels[0::2]
        else:
            away = (self._warmth - ground) * self._strength[..., None]
            pixels = packed(ground + np.rint(away / STEP) * STEP)
            both = (1 - CALM) / 2 * (away[0::2][has] + away[1::2][has])
            calm = pixels[1::2].copy()
            calm[has] = packed(ground + np.rint(both / STEP) * STEP)
        upper, lower = pixels[0::2], pixels[1::2]
        ink = self.strokes.ink.reshape(has.shape)
        code = np.where(has, BRAILLE + self._bits(), np.where(upper == lower, BLANK, HALF))
        return code, np.where(has, ink, upper), calm

    def _coarse(self) -> tuple[Ints, Ints, Ints]:
        """Braille alone: density as more or fewer dots."""
        look, has = self.look, self._has()
        bits, ink = self._bits(), self.strokes.ink.reshape(has.shape)
        if self._warmth is not None:
            grains = dither(self._strength).reshape(has.shape)
            lower = self._strength[1::2] > self._strength[0::2]
            warmer = np.where(lower[..., None], self._warmth[1::2], self._warmth[0::2])
            bits = np.where(has, bits, grains)
            ink = np.where(has, ink, packed(warmer))
        ink = quantised(rgb(ink), look.depth)
        code = np.where(bits > 0, BRAILLE + bits, BLANK)
        return code, ink, np.full(has.shape, look.ground)

    def _bits(self) -> Ints:
        return self.strokes.dots.astype(np.int64).reshape(self.rows, self.columns)

    def _has(self) -> Bools:
        return self._bits() > 0
