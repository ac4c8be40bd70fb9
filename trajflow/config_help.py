"""All settings of a run with default, type and meaning: as rows, and as a commented TOML file."""

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

from trajflow.config import Config

WORDS = {int: "int", float: "float", bool: "true|false", str: "text", dict: "table"}
SIGNS = ((Ge, "ge", ">="), (Gt, "gt", ">"), (Le, "le", "<="), (Lt, "lt", "<"))


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Section and name, as `--set` takes them.
        value: Its value; None if it has none.
        kind: What may be given, such as "int >= 1" or "stored|scene|time".
        meaning: One sentence or two.
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
    """The settings of a run as TOML with a comment on each; what is None is commented out."""
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
                lines += [*comment, f"{name} = {_toml(value)}"]
        lines += tables
    return "\n".join(lines) + "\n"


def _sections(config: Config) -> Iterator[tuple[str, BaseModel]]:
    for section in type(config).model_fields:
        yield section, getattr(config, section)


def _table(name: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return [f"# [{name}]"]
    return [f"[{name}]", *(f"{json.dumps(key)} = {_toml(value)}" for key, value in values.items())]


def _meaning(field: FieldInfo) -> str:
    return _one_line(field.description)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _kind(field: FieldInfo) -> str:
    """What a setting takes, with its bounds."""
    bounds = [
        f"{sign} {getattr(one, name)}"
        for one in field.metadata
        for kind, name, sign in SIGNS
        if isinstance(one, kind)
    ]
    return " ".join([_word(field.annotation), " and ".join(bounds)]).strip()


def _word(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "|".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join("none" if one is type(None) else _word(one) for one in inner)
    if origin is tuple:
        return f"[{', '.join('...' if one is Ellipsis else _word(one) for one in inner)}]"
    return WORDS.get(origin or kind, getattr(kind, "__name__", str(kind)))


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
