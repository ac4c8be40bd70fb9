"""Help on all settings of a run: rows of value, type and meaning, and a commented TOML file."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trajflow.config import Config, toml_value

WORDS = {int: "int", float: "float", bool: "true|false", str: "text", dict: "table"}
SIGNS = ((Ge, "ge", ">="), (Gt, "gt", ">"), (Le, "le", "<="), (Lt, "lt", "<"))


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Section and name, as in `--set`.
        value: Its value; may be None.
        kind: Type and bounds, such as "int >= 1" or "stored|scene|time".
        meaning: One or two sentences.
    """

    name: str
    value: Any
    kind: str
    meaning: str


def settings_of(config: Config) -> list[Setting]:
    """All settings of a run with their values.

    Example:
        >>> from trajflow.config import Config
        >>> from trajflow.config_help import settings_of
        >>> first = settings_of(Config())[0]
        >>> first.name, first.value, first.kind
        ('data.history', 8, 'int >= 1 and <= 100000')
    """
    return [
        Setting(f"{section}.{name}", getattr(values, name), _kind(field), _meaning(field))
        for section, values in _sections(config)
        for name, field in type(values).model_fields.items()
    ]


def commented_toml(config: Config) -> str:
    """The settings as TOML with a comment on each; those that are None are commented out."""
    lines = ["# Settings of a training: trajflow train DATA --config FILE"]
    for section, values in _sections(config):
        tables: list[str] = []
        lines += ["", f"# {_one_line(type(values).__doc__)}", f"[{section}]"]
        for name, field in type(values).model_fields.items():
            value, comment = getattr(values, name), ["", f"# {_meaning(field)} ({_kind(field)})"]
            if isinstance(value, dict):  # a table must follow the plain values of its section
                tables += [*comment, *_table(f"{section}.{name}", value)]
            elif value is None:
                lines += [*comment, f"# {name} ="]
            else:
                lines += [*comment, f"{name} = {toml_value(value)}"]
        lines += tables
    return "\n".join(lines) + "\n"


def _sections(config: Config) -> Iterator[tuple[str, BaseModel]]:
    for section in type(config).model_fields:
        yield section, getattr(config, section)


def _table(name: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return [f"# [{name}]"]
    return [
        f"[{name}]",
        *(f"{json.dumps(key)} = {toml_value(value)}" for key, value in values.items()),
    ]


def _meaning(field: FieldInfo) -> str:
    return _one_line(field.description)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _kind(field: FieldInfo) -> str:
    """Type and bounds of a setting."""
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for kind, name, sign in SIGNS
        if isinstance(bound, kind)
    ]
    return " ".join([_word(field.annotation), " and ".join(bounds)]).strip()


def _word(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "|".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join("none" if part is type(None) else _word(part) for part in inner)
    if origin is tuple:
        return f"[{', '.join('...' if part is Ellipsis else _word(part) for part in inner)}]"
    return WORDS.get(origin or kind, getattr(kind, "__name__", str(kind)))
