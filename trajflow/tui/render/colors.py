"""The colours of a picture: background and foreground of the theme, and a hue for each agent.

Colours are numbers 0xRRGGBB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from textual.color import Color

from trajflow.browse.view import Floats, Ints

if TYPE_CHECKING:
    from textual.widget import Widget

Depth = Literal["full", "256", "16"]
DEPTHS: dict[str | None, Depth] = {"256": "256", "standard": "16", "windows": "16"}
"""By the name of Rich; all others are "full"."""
DARK_HUES = (0x5AB4FF, 0xFFB454, 0x59D6A5, 0xF58FD0, 0xE8E06A, 0xB79CFF, 0xFF8272, 0x66D9E8)
LIGHT_HUES = (0x0A62B8, 0xAF5F00, 0x007A57, 0xB0247E, 0x7A6A00, 0x6A3FD0, 0xC22A1C, 0x00728A)
"""Distinct for most people with colour blindness too; agents also have letters."""
DARK_16 = (0x55FFFF, 0xFF5555, 0x55FF55, 0xFF55FF, 0xFFFF55)
LIGHT_16 = (0x0000AA, 0xAA5500, 0xAA0000, 0xAA00AA)
SIXTEEN = (
    0x000000, 0xAA0000, 0x00AA00, 0xAA5500, 0x0000AA, 0xAA00AA, 0x00AAAA, 0xAAAAAA,
    0x555555, 0xFF5555, 0x55FF55, 0xFFFF55, 0x5555FF, 0xFF55FF, 0x55FFFF, 0xFFFFFF,
)  # fmt: skip
CUBE = np.array([0, 95, 135, 175, 215, 255])
"""Levels of red, green and blue in the cube of 256 colours."""
GREYS = np.arange(24) * 10 + 8


@dataclass(frozen=True)
class Palette:
    """The colours of a picture.

    Attributes:
        background: Behind everything.
        foreground: The true future, numbers, the selected point.
        muted: Neighbors, axes.
        hues: Colours of agents, taken in turn.
        dark: Whether the foreground is lighter than the background.
        depth: How many colours the terminal has.
        transparent: Whether the terminal's own background is kept.
    """

    background: int = 0x121212
    foreground: int = 0xFFFFFF
    muted: int = 0x808080
    hues: tuple[int, ...] = DARK_HUES
    dark: bool = True
    depth: Depth = "full"
    transparent: bool = False

    @classmethod
    def of(
        cls, background: int, foreground: int, dark: bool, depth: Depth, transparent: bool = False
    ) -> Palette:
        """The palette for the background and foreground of a theme."""
        hues: tuple[int, ...] = DARK_HUES if dark else LIGHT_HUES
        strong = blend(foreground, 0xFFFFFF if dark else 0x000000, 0.6)
        muted = blend(background, foreground, 0.6 if dark else 0.7)
        if depth == "16":
            background, strong = (0x000000, 0xFFFFFF) if dark else (0xFFFFFF, 0x000000)
            muted, hues = (0xAAAAAA, DARK_16) if dark else (0x555555, LIGHT_16)
        return cls(background, strong, muted, hues, dark, depth, transparent)

    def hue(self, agent: int) -> int:
        return self.hues[agent % len(self.hues)]

    @property
    def on_hue(self) -> int:
        """The colour of letters on a hue."""
        return 0x000000 if self.dark else 0xFFFFFF


def palette_of(widget: Widget) -> Palette:
    """The palette for a widget in the current theme and its terminal."""
    app = widget.app
    depth = DEPTHS.get(app.console.color_system, "full")
    dark = app.current_theme.dark
    if app.native_ansi_color:
        return Palette.of(0, 0, dark, "16", transparent=True)
    background, foreground = (
        int(Color.parse(app.theme_variables[name]).hex6[1:], 16)
        for name in ("background", "foreground")
    )
    return Palette.of(background, foreground, dark, depth)


def blend(color: int, other: int, share: float) -> int:
    """A colour between two, with a share of the other one."""
    return int(blend_all(np.array([color]), other, share)[0])


def blend_all(colors: Ints, other: int, share: float) -> Ints:
    """Colours [N] with a share of another one."""
    a, b = unpack_rgb(colors), unpack_rgb(np.array([other]))
    return pack_rgb(a + (b - a) * share)


def unpack_rgb(colors: Ints) -> Floats:
    """Red, green and blue from 0 to 255 of colours [N], [N, 3]."""
    return np.stack([colors >> 16 & 255, colors >> 8 & 255, colors & 255], -1).astype(float)


def pack_rgb(values: Floats) -> Ints:
    """Colours [...] of red, green and blue [..., 3]."""
    whole = np.rint(values).clip(0, 255).astype(np.int64)
    return np.asarray(whole[..., 0] << 16 | whole[..., 1] << 8 | whole[..., 2])


def quantize(values: Floats, depth: Depth) -> Ints:
    """The nearest colours [...] that a terminal has to red, green and blue [..., 3]."""
    if depth == "full":
        return pack_rgb(values)
    if depth == "16":
        palette = unpack_rgb(np.array(SIXTEEN))
        nearest = np.square(values[..., None, :] - palette).sum(-1).argmin(-1)
        return np.asarray(np.array(SIXTEEN)[nearest])
    cube = CUBE[np.searchsorted((CUBE[1:] + CUBE[:-1]) / 2, values)]
    light = values.mean(-1, keepdims=True)
    grey = GREYS[np.clip(np.round((light - 8) / 10), 0, 23).astype(int)]
    flat = np.abs(values - light).max(-1, keepdims=True) < 12
    return pack_rgb(np.where(flat, grey, cube))
