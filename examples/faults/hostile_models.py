"""Exported models that a stranger made to hurt, each sealed as `trajflow export` would seal it."""

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
from hostile_graphs import carrying, plain_graph
from networks import small_predictor
from payload import Payload

from trajflow.export.onnx import artifact_of
from trajflow.inference.onnx.artifact import ARRAYS, FACTS, Artifact, sealed
from trajflow.inference.onnx.session import GraphSession

MAKERS: dict[str, Callable[[Path, Path], None]] = {}
"""By name: writes a model to a path, given a file that must never be made."""


@cache
def artifact() -> Artifact:
    """What a tame model carries."""
    return artifact_of(small_predictor(), GraphSession(plain_graph()), "fp32")


def tame(path: Path) -> None:
    """A small model that is what it says."""
    path.write_bytes(_whole(plain_graph(), artifact()))


def _graph(name: str, graph: Callable[[Path], bytes]) -> None:
    """Enter a model that carries what a tame one does, sealed."""
    _bytes(name, lambda canary: _whole(graph(canary), artifact()))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(name: str, content: Callable[[Path], bytes]) -> None:
    MAKERS[name] = lambda path, canary: path.write_bytes(content(canary)) and None


def _carries(name: str, key: str, text: Callable[[Path], str]) -> None:
    """Enter a model that carries some text of its own, sealed."""
    _bytes(name, lambda canary: _sealed(plain_graph(), {key: text(canary)}))


def _sealed(graph: bytes, entries: dict[str, str]) -> bytes:
    """A model with other entries than the artifact has, and a digest of all."""
    return sealed(carrying(graph, artifact().metadata() | entries))


def _whole(graph: bytes, carried: Artifact) -> bytes:
    return sealed(carrying(graph, carried.metadata()))


def _holds(name: str, arrays: Callable[[], dict[str, Any]], **facts: Any) -> None:
    """Enter a model that carries other arrays, and says other things."""

    def content(canary: Path) -> bytes:
        own = artifact()
        return _whole(plain_graph(), Artifact({**own.facts, **facts}, {**own.arrays, **arrays()}))

    _bytes(name, content)


def _says(name: str, **facts: Any) -> None:
    _holds(name, dict, **facts)


def _packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> str:
    """A zip archive as the text that arrays are carried by."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return _text(made.getvalue())


def _npy(shape: str, kind: str = "<f8", content: bytes = b"") -> bytes:
    """A file of numpy that claims a shape."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(head + b"\n").to_bytes(2, "little") + head + b"\n" + content


def _objects(canary: Path) -> str:
    made = io.BytesIO()
    np.save(made, np.array([Payload(canary)], object), allow_pickle=True)
    return _packed({"golden|past.npy": made.getvalue()})


def _golden(name: str, spoil: Callable[[Any], Any]) -> dict[str, Any]:
    return {f"golden/{name}": spoil(artifact().arrays[f"golden/{name}"])}


for word, make in (hostile_graphs.MAKERS | hostile_graphs.LATER).items():
    _graph(word, lambda canary, make=make: make())
_graph("a model cut in the middle", lambda c: plain_graph()[:-99])
_graph("a model of random bytes", lambda c: random.Random(0).randbytes(2**20))
_bytes(
    "a model of a piece of 2^60 bytes",
    lambda c: _whole(b"\x3a" + b"\xff" * 8 + b"\x0f", artifact()),
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
_carries("facts of ten million lists", FACTS, lambda c: '{"a":[' + "[]," * 10**7 + "0]}")
_carries("facts a million deep", FACTS, lambda c: "[" * 10**6)
_carries("facts nested nine hundred deep", FACTS, lambda c: "[" * 900 + "]" * 900)
_carries("facts with a number of 10^6 digits", FACTS, lambda c: '{"format":' + "9" * 10**6 + "}")
_carries("facts that are a list", FACTS, lambda c: "[1, 2]")
_carries("arrays that are no base64", ARRAYS, lambda c: "\x1b]0;owned\x07" * 99)
_carries(
    "arrays that are a pickle",
    ARRAYS,
    lambda c: base64.b64encode(pickle.dumps(Payload(c))).decode(),
)
_carries("arrays of Python objects", ARRAYS, _objects)
_carries("arrays of a packed GiB", ARRAYS, lambda c: _packed(
    {f"{n}.npy": _npy(f"({2**24},)", content=bytes(2**27)) for n in range(2)}, zipfile.ZIP_DEFLATED
))  # fmt: skip
_carries(
    "fifty thousand arrays", ARRAYS, lambda c: _packed({f"{n}.npy": b"" for n in range(50_000)})
)
_carries("an array of 10^15 numbers", ARRAYS, lambda c: _packed({"a.npy": _npy(f"({10**15},)")}))
_carries("an array of 10^10 numbers", ARRAYS, lambda c: _packed({"a.npy": _npy(f"({10**10},)")}))
_carries("an array of -1 numbers", ARRAYS, lambda c: _packed({"a.npy": _npy("(-1,)")}))
_carries("an array whose shape is code", ARRAYS, lambda c: _packed(
    {"a.npy": _npy(f"__import__('os').system('touch {c}')")}
))  # fmt: skip
_holds("golden futures that are not finite", lambda: _golden("futures", lambda a: a * np.nan))
_holds("golden futures of another shape", lambda: _golden("futures", lambda a: a[:, :, :, :3]))
_holds("golden pasts of text", lambda: _golden("past", lambda a: a.astype(str)))
_holds(
    "golden pasts of ten million numbers", lambda: {"golden/past": np.zeros((1, 10**6, 8, 2), "f4")}
)
_holds("a learned set of other shapes", lambda: {
    f"set-4/{name}.{kind}": np.zeros((5, 7)) for name in ("read.0", "read.2", "move", "weigh")
    for kind in ("weight", "bias")
} | {"set-4/start": np.zeros((4, 9))}, learned=[4])  # fmt: skip
_says("a history of 10^15 steps", history=10**15)
_says("a horizon of 10^9 steps", horizon=10**9)
_says("10^15 coordinates", dims=10**15)
_says("a step of no time", dt=0.0)
_says("a step of endless time", dt=10**400)
_says("a hundred thousand learned sets", learned=list(range(10**5)))
_says("a learned set of 10^18 futures", learned=[10**18])
_says("10^9 evaluations", evaluations=10**9)
_says("evaluations that are true", evaluations=True)
_says("evaluations that are text", evaluations="1")
_says("half an evaluation", evaluations=1.5)
_says("a clock of 10^300", most_dt_ratio=1e300)
_says("a clock that stands still", least_dt_ratio=1e-300)
_says("clocks in the wrong order", least_dt_ratio=2.0)
_says("a temperature of 10^300", temperature=1e300)
_says("a temperature of 10^-300", temperature=1e-300)
_says("steps of 10^300 metres", displacement_scale=1e300)
_says("a clock of 10^-300 seconds", dt=1e-300)
_says("10^18 neighbors", neighbors=10**18)
_says("neighbors below nobody", neighbors=-1)
_says("golden futures that may be anything", golden=1e300)
_says("no history", history=0)
_says("a horizon of half a step", horizon=12.5)
_says("joint that is neither", joint="yes")
_says("a number without end deep inside", calibration={"people": [10**400]})
_says("a unit of a megabyte", unit="\x1b[31m" * 2**18)
_says("10^18 evaluations", evaluations=10**18)
_says("a calibration of text", calibration={"format": 1, "each": "x"})


def _placed(name: str, put: Callable[[Path], Any]) -> None:
    MAKERS[name] = lambda path, canary: put(path) and None


_placed("a pipe as model", os.mkfifo)
_placed("a link to /dev/zero as model", lambda path: path.symlink_to("/dev/zero"))
_placed("a folder as model", lambda path: path.mkdir())
_placed("a model of 4 GiB", lambda path: path.touch() or os.truncate(path, 2**32))
