"""Other keys for actions, from a file of the user's."""

import inspect
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from textual.binding import Binding
from textual.dom import DOMNode

from trajflow.errors import ConfigError, did_you_mean

PACKAGES = ("trajflow.tui.screens", "trajflow.tui.widgets")


def all_bindings() -> Iterator[Binding]:
    """Every key binding of the application; its id is ROOM.ACTION, as "home.open"."""
    modules = ["trajflow.tui.app"]
    for name in PACKAGES:
        modules += [f"{name}.{each.name}" for each in iter_modules(import_module(name).__path__)]
    for module in modules:
        for _, kind in inspect.getmembers(import_module(module), inspect.isclass):
            if issubclass(kind, DOMNode) and kind.__module__ == module:
                for each in vars(kind).get("BINDINGS", ()):
                    yield each if isinstance(each, Binding) else Binding(*each)


def read_keymap(path: Path) -> dict[str, str]:
    """The keys that a file gives to actions, for `App.set_keymap`.

    The file is TOML with a table `keys`: `"home.open" = "o,enter"`.

    Raises:
        ConfigError: It cannot be read, or there is no such action.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as keys: {error}") from None
    table = content.get("keys")
    if not isinstance(table, dict) or set(content) != {"keys"}:
        raise ConfigError(f'{path} needs one table, [keys], with lines as "app.help" = "h"')
    actions = sorted(each.id for each in all_bindings() if each.id)
    for name, keys in table.items():
        if name not in actions:
            raise ConfigError(did_you_mean("action", name, actions))
        if not isinstance(keys, str) or not all(part.strip() for part in keys.split(",")):
            raise ConfigError(f'{name} needs keys joined by commas, as "o,enter"; got {keys!r}')
    return table
