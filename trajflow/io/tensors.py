"""The header of safetensors bytes, checked in full before anything is made of it."""

import json
import re
from dataclasses import dataclass
from math import prod
from typing import Any

from trajflow.errors import RunError
from trajflow.io.reading import parse_json

HEADER = 1 << 22
"""Most bytes of a header."""
TENSORS = 20_000
AXES = 8
NAME = re.compile(r"[\w./:-]{1,200}", re.ASCII)
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2}
BYTES |= {"I32": 4, "F32": 4, "I64": 8, "F64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What safetensors bytes hold: tensors by name, and words about them."""

    tensors: dict[str, TensorSpec]
    words: dict[str, str]


def read_header(content: bytes, name: str) -> Header:
    """The header of safetensors bytes.

    Args:
        content: The whole file.
        name: What errors call it.

    Raises:
        RunError: It lies about sizes, or is larger, deeper or stranger than ours are.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(HEADER, len(content) - 8):
        raise RunError(f"{name} is damaged: its header does not fit into it")
    header = content[8 : 8 + length]
    if header.count(b"[") + header.count(b"{") > 4 * TENSORS:  # three for each, and a few more
        raise RunError(f"{name} is damaged: its header is no list of tensors")
    said = parse_json(header, name)
    if not isinstance(said, dict) or len(said) > TENSORS:
        raise RunError(f"{name} is damaged: its header is no list of tensors")
    words = said.pop("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
        raise RunError(f"{name} is damaged: its header holds no plain words")
    spans = []
    tensors = {}
    for key, one in said.items():
        spec, span = _spec(key, one, name)
        tensors[key] = spec
        spans.append(span)
    if not _tile(spans, len(content) - 8 - length):
        raise RunError(f"{name} is damaged: its tensors do not fill it exactly")
    return Header(tensors, words)


def _spec(key: str, one: Any, name: str) -> tuple[TensorSpec, tuple[int, int]]:
    try:
        if not NAME.fullmatch(key) or set(one) != {"dtype", "shape", "data_offsets"}:
            raise ValueError("its description is strange")
        (start, end), shape = one["data_offsets"], tuple(one["shape"])
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in (start, end, *shape)):
            raise ValueError("its sizes are no sizes")
        if len(shape) > AXES or end - start != BYTES[one["dtype"]] * prod(shape):
            raise ValueError("its bytes do not fit its shape")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{name} is damaged: tensor {json.dumps(key)[:80]}: {error}") from None
    return TensorSpec(one["dtype"], shape), (start, end)


def _tile(spans: list[tuple[int, int]], size: int) -> bool:
    """Whether the spans fill so many bytes without a gap or an overlap."""
    reached = 0
    for start, end in sorted(spans):
        if start != reached:
            return False
        reached = end
    return reached == size
