"""Two colour themes, dark and light, whose surfaces stay distinct in 256 colours.

A terminal behind ssh often has 256 colours only. Saturated dark surfaces then become the same
black; greys keep their 24 levels, so backgrounds are grey and only accents are not.
"""

from collections.abc import Iterable

from textual.theme import Theme

from trajflow.errors import ConfigError, did_you_mean

DARK = Theme(
    name="trajflow-dark",
    primary="#5fafff",
    secondary="#87d7af",
    accent="#ffaf5f",
    warning="#ffaf5f",
    error="#ff8787",
    success="#87d787",
    foreground="#dadada",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
    variables={
        "button-focus-text-style": "bold underline",
        "border": "#4e4e4e",
        "border-blurred": "#3a3a3a",
        "block-cursor-background": "#303030",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#2a2a2a",
        "block-cursor-blurred-foreground": "#dadada",
        "footer-key-foreground": "#ffaf5f",
        "footer-background": "#1c1c1c",
        "footer-description-foreground": "#a8a8a8",
    },
)
LIGHT = Theme(
    name="trajflow-light",
    primary="#005faf",
    secondary="#005f5f",
    accent="#8a4500",
    warning="#8a4500",
    error="#af0000",
    success="#1b6a1b",
    foreground="#262626",
    background="#ffffff",
    surface="#f4f4f4",
    panel="#eaeaea",
    dark=False,
    variables={
        "button-focus-text-style": "bold underline",
        "border": "#a8a8a8",
        "border-blurred": "#c6c6c6",
        "block-cursor-background": "#d0f4ff",
        "block-cursor-foreground": "#000000",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#e9e9e9",
        "block-cursor-blurred-foreground": "#262626",
        "footer-key-foreground": "#8a4500",
        "footer-background": "#f4f4f4",
        "footer-description-foreground": "#4e4e4e",
    },
)
SHORT = {"dark": DARK.name, "light": LIGHT.name}


def muted_color(theme: Theme) -> str:
    """The colour of words that matter less."""
    if theme.ansi:
        return "ansi_bright_black"
    return "#a8a8a8" if theme.dark else "#585858"


def theme_named(name: str, available: Iterable[str]) -> str:
    """The full name of a theme.

    Raises:
        ConfigError: There is no theme of this name.
    """
    names = {**{each: each for each in available}, **SHORT}
    if name not in names:
        raise ConfigError(did_you_mean("theme", name, sorted(names)))
    return names[name]
