"""Exports for torch: a `torch.export` program that carries what an ONNX file does.

Such a file is code of a kind: load those of people you trust only.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import load, save

from trajflow.errors import RunError
from trajflow.export.making import (
    OUTPUTS,
    artefact_of,
    check_sizes,
    random_inputs,
    trace,
)
from trajflow.predictor import Predictor
from trajflow.runtime.artefact import Artefact


class Program:
    """A program that torch computes."""

    def __init__(self, module: torch.nn.Module, inputs: tuple[str, ...]) -> None:
        self._module, self.inputs = module, inputs

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names."""
        past = inputs["past"]
        if past.shape[1] == 1:  # the program does not do for a scene of one
            nobody = np.full_like(past, np.nan)
            inputs = inputs | {"past": np.concatenate([past, nobody], 1)}
        with torch.inference_mode():
            found = self._module(**{name: torch.as_tensor(one) for name, one in inputs.items()})
        return [found[OUTPUTS.index(name)].numpy() for name in outputs]


def exported_program(predictor: Predictor) -> tuple[bytes, Artefact]:
    """A predictor as the content of a .pt2 file, and what it carries.

    Raises:
        RunError: The program does not do what the run does.
    """
    inputs = random_inputs(predictor, (3, 19, 2, 4), seed=0)
    program = trace(predictor, inputs)
    engine = Program(program.module(), tuple(inputs))
    check_sizes(predictor, engine)
    artefact = artefact_of(predictor, engine, "fp32")
    file = io.BytesIO()
    save(program, file, extra_files=artefact.entries())
    return file.getvalue(), artefact


def engine_of(content: bytes) -> Program:
    """What computes the content of a .pt2 file.

    Raises:
        RunError: It is none.
    """
    try:
        program = load(io.BytesIO(content))
    except Exception as error:  # zip files, JSON and torch have kinds of errors of their own
        raise RunError(f"torch cannot read it: {error}") from None
    return Program(program.module(), tuple(program.call_spec.in_spec.children()[1].context))
