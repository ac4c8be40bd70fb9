"""The skeleton of an ONNX file, read without its library: what it carries and what it refers to.

Source: ONNX `onnx.proto` (version 3 of the syntax) for the numbers of the fields; Protocol
Buffers, "Encoding", for how they are written.
"""

from collections.abc import Iterator

from trajflow.errors import RunError

METADATA = 14
"""The field of a model in which pairs of a key and a value stand."""
INSIDE = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Which fields of a message hold further messages."""
ELSEWHERE = {"tensor": {13, 14}, "model": {20, 25}}
"""Fields by which numbers come from another file, and code is run that no forecast needs."""
ENDLESS = {b"Loop", b"Scan", b"If", b"SequenceMap"}
"""Operators that may run for ever; no export has them."""
DEEPEST = 8


def entry(key: str, value: str) -> bytes:
    """A pair of metadata, to be put at the end of a model's bytes."""
    pair = _piece(1, key.encode()) + _piece(2, value.encode())
    return _piece(METADATA, pair)


def metadata(content: bytes) -> dict[str, str]:
    """The metadata of a model.

    Raises:
        RunError: The bytes are no model.
    """
    found = {}
    for number, piece in fields(content):
        if number == METADATA and isinstance(piece, bytes):
            pair = dict(fields(piece))
            key, value = pair.get(1, b""), pair.get(2, b"")
            if isinstance(key, bytes) and isinstance(value, bytes):
                found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found


def check_closed(content: bytes, kind: str = "model", depth: int = 0) -> None:
    """Refuse a model that reads other files, or may never end.

    Args:
        content: The bytes of a message.
        kind: What message it is.
        depth: How deep it lies.

    Raises:
        RunError: It does, or the bytes are no model.
    """
    if depth > DEEPEST:
        raise RunError("graphs inside graphs, deeper than any export has them")
    for number, piece in fields(content):
        if number in ELSEWHERE.get(kind, ()) and piece:
            raise RunError("it wants numbers or code from elsewhere, which no export does")
        if kind == "node" and number == 4 and piece in ENDLESS:
            raise RunError(f"it has the operator {piece!r}, which no export has")
        if isinstance(piece, bytes) and number in INSIDE.get(kind, {}):
            check_closed(piece, INSIDE[kind][number], depth + 1)


def fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message as they come: their number, and bytes or a whole number.

    Raises:
        RunError: The bytes are no message.
    """
    place, end = 0, len(content)
    while place < end:
        tag, place = _varint(content, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(content, place)
        else:
            size = {1: 8, 5: 4}.get(wire, end + 1)
        if number == 0 or place + size > end:
            raise RunError("it is cut short, or no ONNX")
        yield number, content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content) and shift < 64:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise RunError("it is cut short, or no ONNX")


def _piece(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return bytes([value & 127 | 128]) + _number(value >> 7)
