"""Parsers of exported models, of weights and of the list of a run's files."""

import base64
from contextlib import suppress
from pathlib import Path

from registry import target

from trajflow.inference.onnx.artifact import (
    ARRAYS,
    FACTS,
    FORMAT,
    Artifact,
    ModelSpec,
    check_file,
    pack_arrays,
    sealed,
)
from trajflow.inference.onnx.predictor import NumpyLearnedSamples
from trajflow.manifest import FILE as MANIFEST
from trajflow.manifest import Manifest, read_kept
from trajflow.models.serialization import unpack


@target
def export(data: bytes, folder: Path) -> None:
    """An exported model: the outline of its graph, its facts and its arrays, sealed again."""
    kind, rest = data[:1] or b"\0", data[1:]
    words = rest.decode("utf-8", "replace")
    entries = {FACTS: f'{{"format": {FORMAT}}}', ARRAYS: pack_arrays({})}
    if kind[0] % 4 == 0:
        check_file(rest)
    elif kind[0] % 4 == 1:
        check_file(sealed(rest))
    elif kind[0] % 4 == 2:
        ModelSpec.of(Artifact.of(entries | {FACTS: words}).facts)
    else:
        text = base64.b64encode(rest).decode()
        NumpyLearnedSamples(Artifact.of(entries | {ARRAYS: text}).group("set-4"))


@target
def tensors(data: bytes, folder: Path) -> None:
    """Weights: their header, and what they say of their network."""
    unpack(data, "weights")


@target
def manifest(data: bytes, folder: Path) -> None:
    """The list of a run's files, and a file that is on it."""
    (folder / MANIFEST).write_bytes(data)
    Manifest.read(folder)
    with suppress(FileNotFoundError):
        read_kept(folder / "file", 99)
