"""JSON from strangers: read within bounds of size, of values and of depth, or refused."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_BYTES = 32 * 2**20
MAX_VALUES = 2_000_000
MAX_DEPTH = 32


def parse_json(raw: bytes, most: int = MAX_BYTES) -> Any:
    """The value that a document of UTF-8 JSON describes.

    Memory and time are bounded before anything is built: `[[],[],...` takes forty times its size.

    Args:
        raw: The document.
        most: Bytes that it may have.

    Raises:
        ValueError: It is no such document, or larger, fuller or deeper than any of ours.
    """
    if len(raw) > most:
        raise ValueError(f"{len(raw)} bytes are more than {most}")
    values = sum(map(raw.count, (b",", b"[", b"{")))
    if values > MAX_VALUES:
        raise ValueError(f"{values} values are more than {MAX_VALUES}")
    try:
        found = json.loads(raw.decode(), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(found)
    return found


def _check_depth(found: Any) -> None:
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
    if level:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _inside(value: Any) -> Iterator[Any]:
    """The lists and objects directly inside one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (one for one in inner if isinstance(one, (dict, list)))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
