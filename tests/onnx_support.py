"""Exports that a test changes: what they carry, their graphs without it, and both put together."""

import sys
from pathlib import Path

import onnx

from trajflow.inference.onnx.artifact import Artifact, sealed
from trajflow.inference.onnx.session import GraphSession

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "faults"))

from hostile_graphs import carrying


def carried(path):
    """What an export carries."""
    return Artifact.of(GraphSession(path.read_bytes()).metadata)


def bare(path):
    """The graph of an export, without what it carries."""
    model = onnx.load_model_from_string(path.read_bytes())
    del model.metadata_props[:]
    return model.SerializeToString()


def whole(graph, artifact):
    """An export of a graph, also of none, and what it carries."""
    return sealed(carrying(graph, artifact.metadata()))
