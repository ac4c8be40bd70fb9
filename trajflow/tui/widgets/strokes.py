"""Crisp lines as braille, eight dots to a cell, and density as more or fewer of them."""

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Floats, Ints
from trajflow.tui.widgets.raster import Trace

BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
"""Bit of each dot of a cell, by its row and column, as Unicode orders braille."""


class Strokes:
    """Crisp lines as braille: of each cell its dots, and the ink of whoever drew there last.

    Attributes:
        dots: Braille bits of each cell, [N].
        ink: Number of a colour of each cell, [N].
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.dots = np.zeros(rows * columns, np.uint8)
        self.ink = np.zeros(rows * columns, np.int64)

    def draw(self, found: Trace, ink: Ints, alone: bool = False) -> None:
        """Put dots on the cells.

        Args:
            found: The dots.
            ink: Colour of each line, [N].
            alone: Whether what was in the cells before is wiped out.
        """
        cell = (found.row >> 2) * self.columns + (found.column >> 1)
        if alone:
            self.dots[cell] = 0
        np.bitwise_or.at(self.dots, cell, BITS[found.row & 3, found.column & 1])
        self.ink[cell] = ink[found.line]

    def wipe(self, row: int, column: int) -> None:
        """Empty a cell."""
        self.dots[row * self.columns + column] = 0


def circles(centres: Floats, radii: Floats, corners: int = 48) -> Floats:
    """Circles as closed lines, [N, K + 1, 2] with K corners.

    Args:
        centres: Middles, [N, 2].
        radii: Radii, [N]; one that is infinite gives a line of NaN.
        corners: Corners K.
    """
    turn = np.linspace(0, 2 * np.pi, corners + 1)
    rim = np.stack([np.cos(turn), np.sin(turn)], -1)
    finite = np.where(np.isfinite(radii), radii, np.nan)
    return np.asarray(centres[:, None] + finite[:, None, None] * rim)


def dither(strength: Floats) -> NDArray[np.uint8]:
    """Braille bits whose number grows with the strength of each cell's two pixels, [N].

    Args:
        strength: Between 0 and 1 for each pixel, [..., ...] with two rows for each row of cells.

    Source: Bayer 1973, "An optimum method for two-level rendition of continuous-tone pictures".
    """
    fine = strength.repeat(2, 0).repeat(2, 1)
    rows, columns = fine.shape
    order = np.tile(_BAYER, (-(-rows // 4), -(-columns // 4)))[:rows, :columns]
    lit = fine > order
    cells = lit.reshape(rows // 4, 4, columns // 2, 2).transpose(0, 2, 1, 3)
    return np.asarray((cells * BITS).sum((2, 3)).astype(np.uint8).ravel())


_BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float64) + 0.5
) / 16
