"""Hostile exported models. Each has a valid digest, as an attacker could compute it."""

import base64
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hostile_graphs
import numpy as np
from fixtures import Payload, small_predictor
from hostile_graphs import carrying, plain_graph

from trajflow.export.onnx import artifact_of
from trajflow.inference.onnx.artifact import ARRAYS, FACTS, Artifact, sealed
from trajflow.inference.onnx.session import GraphSession

MAKERS: dict[str, Callable[[Path, Path], None]] = {}
"""By name: writes a model, given its path and that of a file that only foreign code creates."""


@cache
def artifact() -> Artifact:
    """The metadata and arrays of a valid model."""
    return artifact_of(small_predictor(), GraphSession(plain_graph()), "fp32")


def tame(path: Path) -> None:
    """Write a small valid model."""
    path.write_bytes(_model(plain_graph(), artifact()))


def _graph(name: str, graph: Callable[[Path], bytes]) -> None:
    """Register a model with a hostile graph and valid metadata."""
    _bytes(name, lambda canary: _model(graph(canary), artifact()))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(name: str, content: Callable[[Path], bytes]) -> None:
    MAKERS[name] = lambda path, canary: path.write_bytes(content(canary)) and None


def _entry(name: str, key: str, text: Callable[[Path], str]) -> None:
    """Register a model with one hostile metadata entry."""
    _bytes(name, lambda canary: _model_with_entries(plain_graph(), {key: text(canary)}))


def _model_with_entries(graph: bytes, entries: dict[str, str]) -> bytes:
    """A model with other metadata entries, and its digest."""
    return sealed(carrying(graph, artifact().metadata() | entries))


def _model(graph: bytes, content: Artifact) -> bytes:
    return sealed(carrying(graph, content.metadata()))


def _arrays(name: str, arrays: Callable[[], dict[str, Any]], **facts: Any) -> None:
    """Register a model with other arrays and other metadata."""

    def content(canary: Path) -> bytes:
        valid = artifact()
        return _model(
            plain_graph(), Artifact({**valid.facts, **facts}, {**valid.arrays, **arrays()})
        )

    _bytes(name, content)


def _metadata(name: str, **facts: Any) -> None:
    _arrays(name, dict, **facts)


def _packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> str:
    """A zip archive as base64 text, the format of arrays in the metadata."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return _text(file.getvalue())


def _npy(shape: str, kind: str = "<f8", content: bytes = b"") -> bytes:
    """A numpy file whose header claims a shape."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(head + b"\n").to_bytes(2, "little") + head + b"\n" + content


def _objects(canary: Path) -> str:
    file = io.BytesIO()
    np.save(file, np.array([Payload(canary)], object), allow_pickle=True)
    return _packed({"golden|past.npy": file.getvalue()})


def _golden(name: str, spoil: Callable[[Any], Any]) -> dict[str, Any]:
    return {f"golden/{name}": spoil(artifact().arrays[f"golden/{name}"])}


for word, make in (hostile_graphs.MAKERS | hostile_graphs.LATER).items():
    _graph(word, lambda canary, make=make: make())
_graph("a model cut in the middle", lambda c: plain_graph()[:-99])
_graph("a model of random bytes", lambda c: random.Random(0).randbytes(2**20))
_bytes(
    "a model of a piece of 2^60 bytes",
    lambda c: _model(b"\x3a" + b"\xff" * 8 + b"\x0f", artifact()),
)
_graph("a number without end", lambda c: b"\xff" * 2**20)
_graph("twenty million fields", lambda c: b"\x08\x01" * 2 * 10**7)
_bytes("a model that is a pickle", lambda c: pickle.dumps(Payload(c)))
_graph("a sealed pickle", lambda c: pickle.dumps(Payload(c)))
_bytes("a model that is a zip of pickles", lambda c: base64.b64decode(
    _packed({"archive/data.pkl": pickle.dumps(Payload(c)), "archive/version": b"3"})
))  # fmt: skip
_bytes("an empty model", lambda c: b"")
_bytes("a model that is text", lambda c: b"hello\n" * 99)
_bytes("a model without a seal", lambda c: plain_graph())
_entry("facts of ten million lists", FACTS, lambda c: '{"a":[' + "[]," * 10**7 + "0]}")
_entry("facts a million deep", FACTS, lambda c: "[" * 10**6)
_entry("facts nested nine hundred deep", FACTS, lambda c: "[" * 900 + "]" * 900)
_entry("facts with a number of 10^6 digits", FACTS, lambda c: '{"format":' + "9" * 10**6 + "}")
_entry("facts that are a list", FACTS, lambda c: "[1, 2]")
_entry("arrays that are no base64", ARRAYS, lambda c: "\x1b]0;owned\x07" * 99)
_entry(
    "arrays that are a pickle",
    ARRAYS,
    lambda c: base64.b64encode(pickle.dumps(Payload(c))).decode(),
)
_entry("arrays of Python objects", ARRAYS, _objects)
_entry("arrays of a packed GiB", ARRAYS, lambda c: _packed(
    {f"{n}.npy": _npy(f"({2**24},)", content=bytes(2**27)) for n in range(2)}, zipfile.ZIP_DEFLATED
))  # fmt: skip
_entry("fifty thousand arrays", ARRAYS, lambda c: _packed({f"{n}.npy": b"" for n in range(50_000)}))
_entry("an array of 10^15 numbers", ARRAYS, lambda c: _packed({"a.npy": _npy(f"({10**15},)")}))
_entry("an array of 10^10 numbers", ARRAYS, lambda c: _packed({"a.npy": _npy(f"({10**10},)")}))
_entry("an array of -1 numbers", ARRAYS, lambda c: _packed({"a.npy": _npy("(-1,)")}))
_entry("an array whose shape is code", ARRAYS, lambda c: _packed(
    {"a.npy": _npy(f"__import__('os').system('touch {c}')")}
))  # fmt: skip
_arrays("golden futures that are not finite", lambda: _golden("futures", lambda a: a * np.nan))
_arrays("golden futures of another shape", lambda: _golden("futures", lambda a: a[:, :, :, :3]))
_arrays("golden pasts of text", lambda: _golden("past", lambda a: a.astype(str)))
_arrays(
    "golden pasts of ten million numbers", lambda: {"golden/past": np.zeros((1, 10**6, 8, 2), "f4")}
)
_arrays("a learned set of other shapes", lambda: {
    f"set-4/{name}.{kind}": np.zeros((5, 7)) for name in ("read.0", "read.2", "move", "weigh")
    for kind in ("weight", "bias")
} | {"set-4/start": np.zeros((4, 9))}, learned=[4])  # fmt: skip
_metadata("a history of 10^15 steps", history=10**15)
_metadata("a horizon of 10^9 steps", horizon=10**9)
_metadata("10^15 coordinates", dims=10**15)
_metadata("a step of no time", dt=0.0)
_metadata("a step of endless time", dt=10**400)
_metadata("a hundred thousand learned sets", learned=list(range(10**5)))
_metadata("a learned set of 10^18 futures", learned=[10**18])
_metadata("10^9 evaluations", evaluations=10**9)
_metadata("evaluations that are true", evaluations=True)
_metadata("evaluations that are text", evaluations="1")
_metadata("half an evaluation", evaluations=1.5)
_metadata("a clock of 10^300", most_dt_ratio=1e300)
_metadata("a clock that stands still", least_dt_ratio=1e-300)
_metadata("clocks in the wrong order", least_dt_ratio=2.0)
_metadata("a temperature of 10^300", temperature=1e300)
_metadata("a temperature of 10^-300", temperature=1e-300)
_metadata("steps of 10^300 metres", displacement_scale=1e300)
_metadata("a clock of 10^-300 seconds", dt=1e-300)
_metadata("10^18 neighbors", neighbors=10**18)
_metadata("neighbors below nobody", neighbors=-1)
_metadata("golden futures that may be anything", golden=1e300)
_metadata("no history", history=0)
_metadata("a horizon of half a step", horizon=12.5)
_metadata("joint that is neither", joint="yes")
_metadata("a number without end deep inside", calibration={"people": [10**400]})
_metadata("a unit of a megabyte", unit="\x1b[31m" * 2**18)
_metadata("10^18 evaluations", evaluations=10**18)
_metadata("a calibration of text", calibration={"format": 1, "each": "x"})


def _placed(name: str, put: Callable[[Path], Any]) -> None:
    MAKERS[name] = lambda path, canary: put(path) and None


_placed("a pipe as model", os.mkfifo)
_placed("a link to /dev/zero as model", lambda path: path.symlink_to("/dev/zero"))
_placed("a folder as model", lambda path: path.mkdir())
_placed("a model of 4 GiB", lambda path: path.touch() or os.truncate(path, 2**32))
