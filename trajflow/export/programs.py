"""Exports for torch: a `torch.export` program that carries what an ONNX file does.

Such a file is code of a kind: load your own only.
"""

from __future__ import annotations

import io
from typing import Any

from torch.export import ExportedProgram, save

from trajflow.export.carrying import Sight, artefact_of
from trajflow.export.making import check_sizes, trace
from trajflow.export.sight import sight_program
from trajflow.predictor import Predictor
from trajflow.programs import Program
from trajflow.runtime.archive import plain, sealed_archive
from trajflow.runtime.artefact import DRAWN, SEEN


def exported_program(predictor: Predictor) -> bytes:
    """A predictor as the content of a .pt2 file.

    Raises:
        RunError: The program does not do what the run does.
    """
    program = trace(predictor)
    engine = Program(plain(_saved(program)), DRAWN)
    check_sizes(predictor, engine)
    sight = None
    if predictor.surprise is not None:
        seen = _saved(sight_program(predictor))
        sight = Sight(seen, Program(plain(seen), SEEN))
    artefact = artefact_of(predictor, engine, "fp32", sight)
    return sealed_archive(_saved(program, artefact.entries()))


def _saved(program: ExportedProgram, extra: dict[str, Any] | None = None) -> bytes:
    """An archive without examples of inputs, which torch would pickle, and without our paths."""
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    file = io.BytesIO()
    save(program, file, extra_files=extra)
    return file.getvalue()
