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
ENDLESS = (b"Loop", b"Scan", b"If", b"SequenceMap")
"""Operators that may run for ever; no export has them."""
DEEPEST = 8
MOST = 200_000
"""Fields of a model with all that lies inside it; an export has some thousands."""
NODES = 4_000
"""Operators of a model: the time to optimise a graph grows with their square."""
Piece = bytes | memoryview | int


def entry(key: str, value: str) -> bytes:
    """A pair of metadata, to be put at the end of a model's bytes."""
    pair = _piece(1, key.encode()) + _piece(2, value.encode())
    return _piece(METADATA, pair)


def metadata(content: bytes | memoryview) -> dict[str, str]:
    """The metadata of a model.

    Raises:
        RunError: The bytes are no model.
    """
    found = {}
    for number, piece in fields(memoryview(content)):
        if number == METADATA and not isinstance(piece, int):
            pair = dict(fields(piece))
            key, value = pair.get(1, b""), pair.get(2, b"")
            if not isinstance(key, int) and not isinstance(value, int):
                found[str(key, "utf-8", "replace")] = str(value, "utf-8", "replace")
    return found


def check_closed(content: bytes | memoryview) -> None:
    """Refuse a model that reads other files, may never end, or is of too many parts.

    Raises:
        RunError: It does, or the bytes are no model.
    """
    waiting: list[tuple[str, bytes | memoryview, int]] = [("model", memoryview(content), 0)]
    seen = nodes = 0
    while waiting:
        kind, message, depth = waiting.pop()
        nodes += kind == "node"
        if nodes > NODES:
            raise RunError(f"it has more than {NODES} operators, which no export has")
        if depth > DEEPEST:
            raise RunError("graphs inside graphs, deeper than any export has them")
        for number, piece in fields(message):
            seen += 1
            if seen > MOST:
                raise RunError(f"it has more than {MOST} parts, which no export has")
            _check_piece(kind, number, piece)
            if not isinstance(piece, int) and number in INSIDE.get(kind, {}):
                waiting.append((INSIDE[kind][number], piece, depth + 1))


def _check_piece(kind: str, number: int, piece: Piece) -> None:
    if number in ELSEWHERE.get(kind, ()) and piece:
        raise RunError("it wants numbers or code from elsewhere, which no export does")
    if kind == "node" and number == 4 and piece in ENDLESS:
        raise RunError(f"it has the operator {bytes(piece)!r}, which no export has")


def fields(content: bytes | memoryview) -> Iterator[tuple[int, Piece]]:
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


def _varint(content: bytes | memoryview, place: int) -> tuple[int, int]:
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
