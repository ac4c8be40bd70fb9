"""What an exported model carries beside its graph, and what is checked before it is used.

ONNX Runtime reads the metadata. Before it opens a file, the size, the digest and the outline of the
graph are checked here: other files, loops, functions and graphs of very many nodes are refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.calibration import Calibration, parse_calibration
from trajflow.errors import RunError
from trajflow.inference.inputs import DtRange, TrackFormat
from trajflow.io import parse_bounded_json

FORMAT = 5
FACTS, ARRAYS = "trajflow", "trajflow.arrays"
"""Keys of the metadata."""
SEAL = b"r\x53\n\x0ftrajflow.sha256\x12\x40"
"""What stands before the digest at the end of a file: the start of one more pair of metadata."""
LARGEST, MOST_FACTS, MOST_ARRAYS = 1 << 27, 1 << 22, 3 << 24
"""Most bytes of a file, of its facts, and letters of its arrays."""
NODES, NODE_BYTES, FIELDS = 4_000, 1 << 20, 20_000
"""Most nodes of a graph, their bytes, and fields of it: the time to optimise a graph grows with the
square of its nodes."""
REFUSED = (b"Loop", b"Scan", b"If", b"SequenceMap", b"com.microsoft")
"""Operators that hold graphs, and a domain whose operators may: no export has them."""
CONTENTS = 1 << 18
"""Most bytes of the table of contents of arrays."""

Arrays = Mapping[str, NDArray[Any]]


BOUNDS: Mapping[str, tuple[float, float]] = {
    "history": (1, 10_000),
    "horizon": (1, 10_000),
    "dims": (2, 3),
    "dt": (1e-6, 1e6),
    "displacement_scale": (1e-9, 1e9),
    "temperature": (1e-2, 1e2),
    "least_dt_ratio": (1 / 64, 1),
    "most_dt_ratio": (1, 64),
    "evaluations": (1, 1000),
    "golden": (0, 0.25),
}
"""Bounds of the numbers that a forecast depends on."""
WHOLE = {"history", "horizon", "dims", "evaluations"}
NEIGHBORS, MEMORY, LEARNED_SETS, UNIT, NUMBER = 10_000, 64, 64, 40, 1e15
"""Most neighbors of an agent, earlier tracks that it is shown, sets of learned samples, letters of
a unit; largest other number."""
TYPES, TYPE = 1000, 200
"""Most agent types, and letters of one."""


@dataclass(frozen=True)
class ModelSpec:
    """What a predictor must know of an exported model.

    Attributes:
        format: Steps, coordinates, unit and time steps.
        temperature: Standard deviation of the noise.
        evaluations: Network evaluations per draw.
        neighbors: Neighbors each agent attends to, the nearest; None: it attends to nobody.
        joint: Whether the agents of a scene are drawn together.
        learned: Futures of each set of learned samples.
        tolerance: Share of the motion by which golden futures may be off.
        calibration: That of the run, if it has one.
    """

    format: TrackFormat
    temperature: float
    evaluations: int
    neighbors: int | None
    joint: bool
    learned: tuple[int, ...]
    tolerance: float
    calibration: Calibration | None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> ModelSpec:
        """The specification in the facts of a file.

        Raises:
            RunError: Something is missing, of the wrong kind or out of bounds.
        """
        try:
            numbers = {name: _bounded(name, facts[name]) for name in BOUNDS}
            neighbors, learned, unit = facts["neighbors"], facts["learned"], facts["unit"]
            if neighbors is not None and not 0 < neighbors <= NEIGHBORS:
                raise ValueError(f"neighbors must be from 1 to {NEIGHBORS}")
            if len(learned) > LEARNED_SETS or {type(one) for one in learned} - {int}:
                raise ValueError(f"learned must be at most {LEARNED_SETS} numbers")
            if not isinstance(unit, str) or len(unit) > UNIT:
                raise ValueError(f"unit must be a word of at most {UNIT} letters")
            if type(facts["joint"]) is not bool or type(neighbors) not in (int, type(None)):
                raise TypeError("joint must be true or false, and neighbors a whole number")
            memory = facts.get("memory", 0)  # earlier versions knew none
            if type(memory) is not int or not 0 <= memory <= MEMORY:
                raise ValueError(f"memory must be from 0 to {MEMORY}")
            types = facts.get("types", [])
            if len(types) > TYPES or not all(isinstance(n, str) and len(n) <= TYPE for n in types):
                raise ValueError(f"types must be at most {TYPES} names of {TYPE} letters")
            history, horizon, dims = (int(numbers[name]) for name in ("history", "horizon", "dims"))
            dt, calibration = numbers["dt"], facts["calibration"]
            dts = DtRange(dt, numbers["least_dt_ratio"] * dt, numbers["most_dt_ratio"] * dt)
            return cls(
                TrackFormat(
                    history,
                    horizon,
                    dims,
                    unit,
                    numbers["displacement_scale"],
                    dts,
                    memory,
                    tuple(types),
                    neighbors=None if facts["joint"] else neighbors or 0,
                ),
                numbers["temperature"],
                int(numbers["evaluations"]),
                neighbors,
                facts["joint"],
                tuple(learned),
                numbers["golden"],
                None if calibration is None else parse_calibration(calibration),
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise RunError(f"what it says of itself cannot be used: {error!r}") from None


def _bounded(name: str, value: Any) -> float:
    least, most = BOUNDS[name]
    whole = type(value) is int
    if not (whole or (type(value) is float and name not in WHOLE)) or not least <= value <= most:
        raise ValueError(f"{name} is {str(value)[:20]}, and must be from {least:g} to {most:g}")
    return float(value)


@dataclass(frozen=True)
class Artifact:
    """What a forecast needs beside the graph.

    Attributes:
        facts: Format, units, sizes, temperature, origin: JSON.
        arrays: Golden inputs and outputs, learned samples, the detector: by name.
    """

    facts: Mapping[str, Any]
    arrays: Arrays = field(default_factory=dict)

    def group(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of any shape whose names begin with `name/`, without it."""
        start = f"{name}/"
        return {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)}

    def metadata(self) -> dict[str, str]:
        """The artifact as texts by key."""
        return {FACTS: json.dumps(self.facts, sort_keys=True), ARRAYS: pack_arrays(self.arrays)}

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Artifact:
        """The artifact in the metadata of a file.

        Raises:
            RunError: It is damaged, or of another format.
        """
        try:
            facts = parse_bounded_json(metadata[FACTS].encode(), MOST_FACTS)
            if not isinstance(facts, dict) or facts.get("format") != FORMAT:
                result = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
                raise RunError(
                    f"its format is {str(result)[:40]}, this version reads {FORMAT}; "
                    "export the run again"
                )
            _check_numbers(facts)
            return cls(facts, unpack_arrays(metadata[ARRAYS]))
        except KeyError:
            raise RunError("it was not made by `trajflow export`") from None
        except ValueError as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"its metadata cannot be read: {error}") from None


def sealed(content: bytes) -> bytes:
    """An ONNX file with its digest at the end."""
    return content + SEAL + hashlib.sha256(content).hexdigest().encode()


def check_file(content: bytes) -> None:
    """Check an ONNX file before ONNX Runtime opens it.

    Raises:
        RunError: It is too large, damaged, not an export, or its graph is none of an export.
    """
    if len(content) > LARGEST:
        raise RunError(f"it has {len(content)} bytes, more than the {LARGEST} that are read")
    body, seal, digest = content[: -len(SEAL) - 64], content[-len(SEAL) - 64 : -64], content[-64:]
    if seal != SEAL or digest != hashlib.sha256(body).hexdigest().encode():
        raise RunError("damaged, or not made by `trajflow export`: its digest is not that of it")
    check_graph(body)


def check_graph(content: bytes) -> None:
    """Check the outline of an ONNX graph.

    Raises:
        RunError: It reads other files, loops, brings functions, or is of very many parts.
    """
    nodes: list[bytes] = []
    parts = 0
    for number, start, end in _fields(content, 0, len(content)):
        if number in (20, 25):
            raise RunError("it brings functions or training steps, which no export has")
        if number != 7:
            continue
        # The key under which ONNX writes where the numbers of a tensor are.
        if content.find(b"location", start, end) >= 0:
            raise RunError("it reads numbers from elsewhere, which no export does")
        fields = _fields(content, start, end)
        parts += len(fields)
        nodes += [content[a:b] for kind, a, b in fields if kind == 1]
    together = b"\0".join(nodes)
    if len(nodes) > NODES or len(together) > NODE_BYTES or parts > FIELDS:
        raise RunError(f"its graph has {len(nodes)} nodes, more than any export (at most {NODES})")
    for word in REFUSED:
        if word in together:
            raise RunError(f"it has the operator {word.decode()}, which no export has")


def _fields(content: bytes, place: int, end: int) -> list[tuple[int, int, int]]:
    """The fields of a Protocol Buffers message: their numbers, starts and ends.

    ONNX Runtime tells nothing of a graph before it has opened it, so the outline is read by hand;
    in one loop, since a graph has hundreds of fields.

    Raises:
        RunError: The bytes are no message, or have more than `FIELDS` fields.
    """
    result: list[tuple[int, int, int]] = []
    try:
        while place < end and len(result) <= FIELDS:
            numbers = [0, 0]  # a tag, and the length of what follows or a number
            for k in range(2):
                if k and numbers[0] & 7 in (1, 5):
                    numbers[1] = 8 if numbers[0] & 7 == 1 else 4
                    break
                for shift in range(0, 70, 7):
                    byte = content[place]
                    place += 1
                    numbers[k] |= (byte & 127) << shift
                    if byte < 128:
                        break
            tag, size = numbers
            size = 0 if tag & 7 == 0 else size
            if tag & 7 not in (0, 1, 2, 5) or place + size > end:
                raise IndexError
            result.append((tag >> 3, place, place + size))
            place += size
    except IndexError:
        raise RunError("it is cut short, or not ONNX") from None
    if len(result) > FIELDS:
        raise RunError(f"it has more than {FIELDS} parts, which no export has")
    return result


def pack_arrays(arrays: Mapping[str, Any]) -> str:
    """Arrays of any shape by name as a text: a file of `numpy.savez` in base 64."""
    made = io.BytesIO()
    np.savez(made, **{name.replace("/", "|"): one for name, one in arrays.items()})
    return base64.b64encode(made.getvalue()).decode()


def unpack_arrays(text: str) -> dict[str, NDArray[Any]]:
    """The arrays of any shape of `pack_arrays`, by name.

    Raises:
        ValueError: The text is none, or is larger or made otherwise than ours are.
    """
    if len(text) > MOST_ARRAYS:
        raise ValueError("its arrays are too large")
    content = base64.b64decode(text, validate=True)
    end = content[-22:]
    if end[:4] != b"PK\x05\x06" or b"PK\x06\x07" in content[-42:-22]:
        raise ValueError("its arrays are no archive of numpy")
    if int.from_bytes(end[12:16], "little") > CONTENTS:
        raise ValueError("it has more arrays than any export")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(one.compress_type or one.flag_bits & 1 for one in archive.infolist()):
                raise ValueError("its arrays are compressed, which no export's are")
        with np.load(io.BytesIO(content), allow_pickle=False) as result:
            return {name.replace("|", "/"): result[name] for name in result.files}
    except Exception as error:  # zip files and numpy raise many kinds
        raise ValueError(f"its arrays cannot be read: {error}") from None


def _check_numbers(value: Any) -> None:
    """Refuse numbers of JSON that are absurdly large, wherever they are.

    Raises:
        ValueError: There is one.
    """
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif isinstance(one, (int, float)) and not abs(one) <= NUMBER:
            raise ValueError(f"a number is beyond {NUMBER:g}")
