"""The colours of a map: ground and ink from the theme, a hue for each agent, as the terminal can.

Colours are numbers 0xRRGGBB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trajflow.batch import Floats, Ints

Depth = Literal["full", "256", "16"]

DARK_HUES = (0x5AB4FF, 0xFFB454, 0x59D6A5, 0xF58FD0, 0xE8E06A, 0xB79CFF, 0xFF8272, 0x66D9E8)
LIGHT_HUES = (0x0A62B8, 0xB75A00, 0x007A57, 0xB0247E, 0x7A6A00, 0x6A3FD0, 0xC2321F, 0x00728A)
"""Apart from each other also for most who see colours otherwise; agents bear letters as well."""
DARK_16 = (0x55FFFF, 0xFFFF55, 0x55FF55, 0xFF55FF, 0x5555FF, 0xFF5555)
LIGHT_16 = (0x0000AA, 0xAA5500, 0x00AA00, 0xAA00AA, 0x00AAAA, 0xAA0000)
SIXTEEN = (
    0x000000, 0xAA0000, 0x00AA00, 0xAA5500, 0x0000AA, 0xAA00AA, 0x00AAAA, 0xAAAAAA,
    0x555555, 0xFF5555, 0x55FF55, 0xFFFF55, 0x5555FF, 0xFF55FF, 0x55FFFF, 0xFFFFFF,
)  # fmt: skip
STEPS = np.array([0, 95, 135, 175, 215, 255])
"""Levels of red, green and blue in the cube of 256 colours."""
GREYS = np.arange(24) * 10 + 8


@dataclass(frozen=True)
class Look:
    """How a map is coloured.

    Attributes:
        ground: Behind everything.
        ink: What matters most: the truth, numbers, what is chosen.
        faint: Neighbours, marks of the axes.
        hues: The colours of agents, taken in turn.
        dark: Whether ink is lighter than ground.
        depth: How many colours the terminal has.
        clear: Whether the terminal's own ground is kept.
    """

    ground: int = 0x121212
    ink: int = 0xFFFFFF
    faint: int = 0x808080
    hues: tuple[int, ...] = DARK_HUES
    dark: bool = True
    depth: Depth = "full"
    clear: bool = False

    @classmethod
    def of(cls, ground: int, foreground: int, dark: bool, depth: Depth, clear: bool) -> Look:
        """A look for a theme's background and foreground."""
        hues: tuple[int, ...]
        if depth == "16":
            hues = DARK_16 if dark else LIGHT_16
            ground, ink = (0x000000, 0xFFFFFF) if dark else (0xFFFFFF, 0x000000)
            faint = 0xAAAAAA if dark else 0x555555
            return cls(ground, ink, faint, hues, dark, depth, clear)
        hues = DARK_HUES if dark else LIGHT_HUES
        ink = mixed(foreground, 0xFFFFFF if dark else 0x000000, 0.6)
        return cls(ground, ink, mixed(ground, foreground, 0.5), hues, dark, depth, clear)

    def hue(self, agent: int) -> int:
        """The colour of an agent."""
        return self.hues[agent % len(self.hues)]

    @property
    def lettering(self) -> int:
        """What is written on a hue."""
        return 0x000000 if self.dark else 0xFFFFFF


def mixed(one: int, other: int, share: float) -> int:
    """A colour between two, with a share of the other one."""
    a, b = rgb(np.array([one])), rgb(np.array([other]))
    return int(packed(a + (b - a) * share)[0])


def rgb(colours: Ints) -> Floats:
    """Red, green and blue from 0 to 255 of colours [N], [N, 3]."""
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], -1).astype(float)


def packed(values: Floats) -> Ints:
    """Colours [...] of red, green and blue [..., 3]."""
    whole = np.rint(values).clip(0, 255).astype(np.int64)
    return np.asarray(whole[..., 0] << 16 | whole[..., 1] << 8 | whole[..., 2])


def quantised(values: Floats, depth: Depth) -> Ints:
    """Colours [...] of red, green and blue [..., 3] that a terminal has, the nearest ones."""
    if depth == "full":
        return packed(values)
    if depth == "16":
        known = rgb(np.array(SIXTEEN))
        nearest = np.square(values[..., None, :] - known).sum(-1).argmin(-1)
        return np.asarray(np.array(SIXTEEN)[nearest])
    middles = (STEPS[1:] + STEPS[:-1]) / 2
    cube = STEPS[np.searchsorted(middles, values)]
    light = values.mean(-1, keepdims=True)
    grey = GREYS[np.clip(np.round((light - 8) / 10), 0, 23).astype(int)]
    flat = np.abs(values - light).max(-1, keepdims=True) < 12
    return packed(np.where(flat, grey, cube))
