"""What an exported model carries beside its graph, and how it stands in the file."""

import base64
import binascii
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import RunError
from trajflow.runtime.wire import check_closed, entry, metadata

FORMAT = 1
FACTS, ARRAYS, SIGHT, SHA256 = (
    "trajflow",
    "trajflow.arrays",
    "trajflow.sight",
    "trajflow.sha256",
)
"""Keys of an artefact's metadata."""
LARGEST = 1 << 30
"""Bytes of the largest file that is read, and of the arrays it may unfold to."""
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Artefact:
    """What a forecast needs beside the graph.

    Attributes:
        facts: Format, units, sizes, temperature, origin: JSON.
        arrays: Golden inputs and outputs, and numbers of what numpy does.
        sight: The graph of what surprise looks at, as ONNX; empty if there is none.
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
        packed = io.BytesIO()
        named: dict[str, Any] = {k.replace("/", "|"): one for k, one in self.arrays.items()}
        np.savez(packed, **named)
        told = {
            FACTS: json.dumps(self.facts, sort_keys=True),
            ARRAYS: base64.b64encode(packed.getvalue()).decode(),
        }
        return told | ({SIGHT: base64.b64encode(self.sight).decode()} if self.sight else {})

    @classmethod
    def of(cls, entries: Mapping[str, str]) -> "Artefact":
        """The artefact of `entries`.

        Raises:
            RunError: They are none, or of another format.
        """
        try:
            facts = json.loads(entries[FACTS])
            arrays = _unpacked(base64.b64decode(entries[ARRAYS], validate=True))
            sight = base64.b64decode(entries.get(SIGHT, ""), validate=True)
        except KeyError:
            raise RunError("it was not made by `trajflow export`") from None
        except (ValueError, binascii.Error, OSError, EOFError, zipfile.BadZipFile) as error:
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
    body = content[:-end]
    if content[-end:] != entry(SHA256, hashlib.sha256(body).hexdigest()):
        told = "damaged: its contents do not match its own digest"
        raise RunError(told if SHA256.encode() in content[-end:] else f"{told}, or not ours")
    check_closed(body)
    artefact = Artefact.of(metadata(body))
    if artefact.sight:
        check_closed(artefact.sight)
    return artefact


def _unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sum(one.file_size for one in packed.infolist()) > LARGEST:
            raise ValueError(f"its arrays unfold to more than {LARGEST} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as packed:
        return {name.replace("|", "/"): packed[name] for name in packed.files}
