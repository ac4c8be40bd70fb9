"""Every key has a name, ROOM.ACTION, by which a file of the user's gives it another."""

import inspect
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from textual.binding import Binding
from textual.dom import DOMNode

from trajflow.errors import ConfigError, did_you_mean

ROOMS = ("trajflow.tui.screens", "trajflow.tui.widgets")


def bound(
    name: str, keys: str, action: str, told: str, *, show: bool = True, shown: str | None = None
) -> Binding:
    """A key that can be given another by the user.

    Args:
        name: ROOM.ACTION, one of its kind in the application.
        keys: Names of keys, joined by commas.
        action: What is done, as Textual writes it.
        told: What the footer and the help say, two or three words.
        show: Whether the footer has it; the help always does.
        shown: How the key is written; its own name if None.
    """
    return Binding(keys, action, told, show=show, key_display=shown, id=name)


def names() -> dict[str, str]:
    """The keys of every action that has a name, over all screens and widgets."""
    return {each.id: each.key for each in all_bindings() if each.id}


def all_bindings() -> Iterator[Binding]:
    """Every binding that this application makes, as it is written."""
    for kind in _nodes():
        for each in vars(kind).get("BINDINGS", ()):
            yield each if isinstance(each, Binding) else Binding(*each)


def read_keys(path: Path) -> dict[str, str]:
    """The keys that a file gives to actions.

    The file is TOML with a table `keys`: `"home.open" = "o,enter"`.

    Raises:
        ConfigError: It cannot be read, or an action has no such name.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as keys: {error}") from None
    table = given.get("keys")
    if not isinstance(table, dict) or set(given) != {"keys"}:
        raise ConfigError(f'{path} needs one table, [keys], with lines as "app.help" = "h"')
    known = names()
    for name, keys in table.items():
        if name not in known:
            raise ConfigError(did_you_mean("action", name, sorted(known)))
        if not isinstance(keys, str) or not all(part.strip() for part in keys.split(",")):
            raise ConfigError(f'{name} needs keys joined by commas, as "o,enter"; got {keys!r}')
    return table


def _nodes() -> Iterator[type[DOMNode]]:
    places = ["trajflow.tui.app"]
    for room in ROOMS:
        places += [f"{room}.{each.name}" for each in iter_modules(import_module(room).__path__)]
    for place in places:
        for _, kind in inspect.getmembers(import_module(place), inspect.isclass):
            if issubclass(kind, DOMNode) and kind.__module__ == place:
                yield kind
