"""Exported programs of torch: what an ONNX graph is to ONNX Runtime."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import MissingExtra, RunError


class Program:
    """A program that torch computes."""

    def __init__(self, content: bytes, outputs: Sequence[str], threads: int = 1) -> None:
        """Prepare it.

        Args:
            content: A `torch.export` archive; torch evaluates parts of it, so it must be one that
                was checked.
            outputs: Names of what it gives, in their order.
            threads: How many threads compute.

        Raises:
            MissingExtra: There is no torch.
            RunError: It cannot be read.
        """
        try:
            from torch.export import load
        except ImportError:
            raise MissingExtra(
                "a .pt2 model needs torch; install it, or export the run as .onnx"
            ) from None
        try:
            program = load(io.BytesIO(content))
            self._module = program.module(check_guards=False)
            self.inputs = tuple(map(str, program.call_spec.in_spec.children()[1].context))
        except Exception as error:  # zip files, JSON and torch have kinds of errors of their own
            raise RunError(f"torch cannot read it: {error}") from None
        self._outputs, self._threads = list(outputs), threads

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names."""
        import torch

        past = inputs["past"]
        if past.shape[1] == 1:  # the program does not do for a scene of one
            nobody = np.full_like(past, np.nan)
            inputs = inputs | {"past": np.concatenate([past, nobody], 1)}
        given = {name: torch.as_tensor(one) for name, one in inputs.items()}
        before = torch.get_num_threads()
        if before != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                found = self._module(**given)
        finally:
            if before != self._threads:
                torch.set_num_threads(before)
        return [found[self._outputs.index(name)].numpy() for name in outputs]
