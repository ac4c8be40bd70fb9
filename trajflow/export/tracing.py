"""From a module to a `torch.export` program, and from that to ONNX, with sizes left open."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from trajflow.errors import MissingExtra

Axes = Mapping[str, tuple[int, ...]]
"""The axes of each input that are left open."""


def traced(module: nn.Module, inputs: Mapping[str, Tensor], axes: Axes) -> ExportedProgram:
    """A program that computes what the module does, for all sizes of its open axes.

    Args:
        module: What is traced.
        inputs: Examples of its inputs by name, of any shape.
        axes: Which axes are left open.
    """
    shapes = {name: {axis: Dim.DYNAMIC for axis in axes[name]} for name in inputs}
    with _quiet(), torch.no_grad():
        return torch.export.export(module.eval(), (), dict(inputs), dynamic_shapes=shapes)


def to_onnx(program: ExportedProgram, outputs: Sequence[str]) -> bytes:
    """The program as the bytes of an ONNX model.

    Args:
        program: From `traced`.
        outputs: Names of its outputs.

    Raises:
        MissingExtra: What writes ONNX is not installed.
    """
    check_onnx()
    with _quiet():
        made = torch.onnx.export(program, output_names=list(outputs), dynamo=True, verbose=False)
    assert made is not None
    proto = made.model_proto
    for node in proto.graph.node:  # they say where on this machine its code stands
        del node.metadata_props[:]
    return bytes(proto.SerializeToString())


def check_onnx() -> None:
    """Refuse early where what writes ONNX is not installed.

    Raises:
        MissingExtra: It is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtra(
            "export to ONNX needs onnx and onnxscript; install them with: "
            "pip install 'trajflow[export]'"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
