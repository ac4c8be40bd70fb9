"""Exports for torch: a `torch.export` program that carries what an ONNX file does.

Such a file is code of a kind: load your own only.
"""

from __future__ import annotations

import io
from typing import Any

from torch.export import ExportedProgram, save

from trajflow.export.carrying import Sight, artefact_of
from trajflow.export.lower import lowered
from trajflow.export.making import check_sizes, trace
from trajflow.export.precision import Precision, precision_of
from trajflow.export.sight import sight_program
from trajflow.predictor import Predictor
from trajflow.programs import Program
from trajflow.runtime.archive import plain, sealed_archive
from trajflow.runtime.artefact import DRAWN, SEEN


def exported_program(predictor: Predictor, precision: Precision = "fp32") -> bytes:
    """A predictor as the content of a .pt2 file.

    Args:
        predictor: On the processor.
        precision: What the decoder multiplies in, fp32 or bf16; surprise looks in fp32.

    Raises:
        ConfigError: The precision is another one.
        RunError: The program does not do what the run does.
    """
    model = predictor.model
    low = precision_of(precision, ".pt2") == "bf16"
    program = trace(predictor, lowered(model) if low else model)
    engine = Program(plain(_saved(program)), DRAWN)
    if not low:
        check_sizes(predictor, engine)
    sight = None
    if predictor.surprise is not None:
        seen = _saved(sight_program(predictor))
        sight = Sight(seen, Program(plain(seen), SEEN))
    artefact = artefact_of(predictor, engine, precision, sight)
    return sealed_archive(_saved(program, artefact.entries()))


def _saved(program: ExportedProgram, extra: dict[str, Any] | None = None) -> bytes:
    """An archive without examples of inputs, which torch would pickle, and without our paths."""
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    file = io.BytesIO()
    save(program, file, extra_files=extra)
    return file.getvalue()
