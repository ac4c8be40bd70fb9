"""Two colour themes, dark and light, whose surfaces stay distinct in 256 and in 16 colours.

A terminal behind ssh often has 256 colours only. Saturated dark surfaces then become the same
black; greys keep their 24 levels, so backgrounds are grey and only accents are not.
"""

from collections.abc import Iterable
from typing import Any

from textual.theme import Theme

from trajflow.errors import ConfigError, did_you_mean

COLORS = {
    "primary": ("#5fafff", "#005faf"),
    "secondary": ("#87d7af", "#005f5f"),
    "accent": ("#ffaf5f", "#8a4500"),
    "warning": ("#ffaf5f", "#8a4500"),
    "error": ("#ff8787", "#af0000"),
    "success": ("#87d787", "#1b6a1b"),
    "foreground": ("#dadada", "#262626"),
    "background": ("#121212", "#ffffff"),
    "surface": ("#1c1c1c", "#f4f4f4"),
    "panel": ("#262626", "#eaeaea"),
}
"""The colours of the dark and of the light theme."""
VARIABLES = {
    "muted": ("#a8a8a8", "#585858"),
    "button-focus-text-style": ("bold underline", "bold underline"),
    "border": ("#4e4e4e", "#a8a8a8"),
    "border-blurred": ("#3a3a3a", "#c6c6c6"),
    "block-cursor-background": ("#303030", "#d0f4ff"),
    "block-cursor-foreground": ("#ffffff", "#000000"),
    "block-cursor-text-style": ("bold", "bold"),
    "block-cursor-blurred-background": ("#2a2a2a", "#e9e9e9"),
    "block-cursor-blurred-foreground": ("#dadada", "#262626"),
    "footer-key-foreground": ("#ffaf5f", "#8a4500"),
    "footer-background": ("#1c1c1c", "#f4f4f4"),
    "footer-description-foreground": ("#a8a8a8", "#4e4e4e"),
}
FEW_COLORS = {
    "primary": ("#55ffff", "#0000aa"),
    "secondary": ("#55ffff", "#0000aa"),
    "accent": ("#ffff55", "#aa00aa"),
    "warning": ("#ffff55", "#aa00aa"),
    "success": ("#55ff55", "#0000aa"),
    "muted": ("#aaaaaa", "#000000"),
    "block-cursor-background": ("#0000aa", "#0000aa"),
    "block-cursor-foreground": ("#ffffff", "#ffffff"),
    "block-cursor-blurred-background": ("#aaaaaa", "#aaaaaa"),
    "block-cursor-blurred-foreground": ("#000000", "#000000"),
    "footer-key-foreground": ("#ffff55", "#aa00aa"),
    "footer-description-foreground": ("#aaaaaa", "#000000"),
}
"""What replaces the colours above in a terminal that has 16."""


def make_theme(name: str, few_colors: bool = False) -> Theme:
    """The theme "dark" or "light", for a terminal with 16 colours or with more."""
    column = ("dark", "light").index(name)
    pairs = COLORS | VARIABLES | (FEW_COLORS if few_colors else {})
    values: dict[str, Any] = {key: pair[column] for key, pair in pairs.items()}
    variables = {key: values.pop(key) for key in VARIABLES}
    return Theme(f"trajflow-{name}", dark=name == "dark", variables=variables, **values)


DARK, LIGHT = make_theme("dark"), make_theme("light")
SHORT = {"dark": DARK.name, "light": LIGHT.name}


def theme_named(name: str, available: Iterable[str]) -> str:
    """The full name of a theme.

    Raises:
        ConfigError: There is no theme of this name.
    """
    names = {**{each: each for each in available}, **SHORT}
    if name not in names:
        raise ConfigError(did_you_mean("theme", name, sorted(names)))
    return names[name]
