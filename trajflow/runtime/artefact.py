"""What an exported model carries beside its graph, and how it stands in the file."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from trajflow.errors import RunError
from trajflow.foreign import parse_json
from trajflow.runtime.packed import packed, unpacked
from trajflow.runtime.wire import check_closed, entry, metadata

FORMAT = 2
FACTS, ARRAYS, SIGHT, SHA256 = (
    "trajflow",
    "trajflow.arrays",
    "trajflow.sight",
    "trajflow.sha256",
)
"""Keys of an artefact's metadata."""
DRAWN, SEEN = ("futures", "context"), ("context", "once", "twice")
"""Outputs of a graph, and of the graph that surprise looks by."""
LARGEST, TOLD = 1 << 27, 1 << 22
"""Bytes of the largest file that is read, and of what it says of itself."""
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Artefact:
    """What a forecast needs beside the graph.

    Attributes:
        facts: Format, units, sizes, temperature, origin: JSON.
        arrays: Golden inputs and outputs, and numbers of what numpy does.
        sight: The graph that surprise looks by, of the file's own kind; empty if there is none.
    """

    facts: Mapping[str, Any]
    arrays: Arrays = field(default_factory=dict)
    sight: bytes = b""

    def under(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays of any shape whose names begin with `prefix/`, without it."""
        start = f"{prefix}/"
        return {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)}

    def entries(self) -> dict[str, str]:
        """The artefact as texts by key."""
        told = {
            FACTS: json.dumps(self.facts, sort_keys=True),
            ARRAYS: packed({k.replace("/", "|"): one for k, one in self.arrays.items()}),
        }
        return told | ({SIGHT: base64.b64encode(self.sight).decode()} if self.sight else {})

    @classmethod
    def of(cls, entries: Mapping[str, str]) -> "Artefact":
        """The artefact of `entries`.

        Raises:
            RunError: They are none, or of another format.
        """
        try:
            facts = parse_json(entries[FACTS].encode(), TOLD)
            found = unpacked(entries[ARRAYS])
            arrays = {name.replace("|", "/"): one for name, one in found.items()}
            sight = base64.b64decode(entries.get(SIGHT, ""), validate=True)
        except KeyError:
            raise RunError("it was not made by `trajflow export`") from None
        except ValueError as error:
            raise RunError(f"what it carries cannot be read: {error}") from None
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            told = facts.get("format") if isinstance(facts, dict) else facts
            raise RunError(
                f"it is of format {told!r}, and this version reads {FORMAT}; export the run again"
            )
        return cls(facts, arrays, sight)


def sealed(graph: bytes, artefact: Artefact) -> bytes:
    """An ONNX file of a graph that carries an artefact, and a digest of all of it."""
    body = graph + b"".join(entry(*pair) for pair in artefact.entries().items())
    return body + entry(SHA256, hashlib.sha256(body).hexdigest())


def opened(content: bytes) -> Artefact:
    """The artefact in the bytes of an ONNX file, once these are known to be whole and closed.

    Raises:
        RunError: They are damaged, of another kind, or refer to other files.
    """
    end = len(entry(SHA256, "0" * 64))
    if len(content) > LARGEST:
        raise RunError(f"it has {len(content)} bytes, more than the {LARGEST} that are read")
    body = memoryview(content)[:-end]
    if content[-end:] != entry(SHA256, hashlib.sha256(body).hexdigest()):
        told = "damaged: its contents do not match its own digest"
        raise RunError(told if SHA256.encode() in content[-end:] else f"{told}, or not ours")
    check_closed(body)
    artefact = Artefact.of(metadata(body))
    if artefact.sight:
        check_closed(artefact.sight)
    return artefact
