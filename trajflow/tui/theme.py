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
    error="#ff6b6b",
    success="#87d787",
    foreground="#dadada",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
    variables={
        "button-focus-text-style": "bold underline",
        "border": "#4e4e4e",
        "border-blurred": "#3a3a3a",
        "block-cursor-background": "#303a46",
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
    secondary="#00735c",
    accent="#af5f00",
    warning="#af5f00",
    error="#c0392b",
    success="#2e7d32",
    foreground="#262626",
    background="#f7f7f7",
    surface="#eeeeee",
    panel="#e4e4e4",
    dark=False,
    variables={
        "button-focus-text-style": "bold underline",
        "border": "#a8a8a8",
        "border-blurred": "#c6c6c6",
        "block-cursor-background": "#cfe0f2",
        "block-cursor-foreground": "#000000",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#dadada",
        "block-cursor-blurred-foreground": "#262626",
        "footer-key-foreground": "#af5f00",
        "footer-background": "#eeeeee",
        "footer-description-foreground": "#4e4e4e",
    },
)
SHORT = {"dark": DARK.name, "light": LIGHT.name}


def muted_color(theme: Theme) -> str:
    """The colour of words that matter less."""
    if theme.ansi:
        return "ansi_bright_black"
    return "#9e9e9e" if theme.dark else "#626262"


def theme_named(name: str, available: Iterable[str]) -> str:
    """The full name of a theme.

    Raises:
        ConfigError: There is no theme of this name.
    """
    names = {**{each: each for each in available}, **SHORT}
    if name not in names:
        raise ConfigError(did_you_mean("theme", name, sorted(names)))
    return names[name]
