"""Opens predictors: run folders and exported models. torch is imported only where it computes."""

from __future__ import annotations

import logging
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from trajflow.errors import ConfigError, MissingExtra, RunError, TrajflowWarning, did_you_mean
from trajflow.inference.base import Predictor
from trajflow.manifest import EXPORT
from trajflow.remote import local_copy

log = logging.getLogger("trajflow")
BACKENDS = ("auto", "torch", "onnx")
"""What may compute the forecasts of a run."""


def open_predictor(
    path: str | Path, device: str, steps: int | None, threads: int, backend: str
) -> Predictor:
    """The predictor of a run folder or of an exported model; see `Predictor.load`."""
    path = local_copy(path)
    if backend not in BACKENDS:
        raise ConfigError(did_you_mean("backend", backend, BACKENDS))
    if path.suffix == ".onnx":
        return _exported(path, steps, threads, backend)
    beside = path / EXPORT
    if backend == "onnx" or (backend == "auto" and device == "cpu" and beside.exists()):
        try:
            exported = _onnx().of_run(path, steps or 1, threads, fall_back=backend == "auto")
            return cast(Predictor, exported.to(device))
        except (RunError, MissingExtra) as error:
            if backend == "onnx":
                raise
            reason = f"{error}; until then torch computes the forecasts"
            warnings.warn(reason, TrajflowWarning, stacklevel=3)
    run = import_module("trajflow.inference.predictor").TorchPredictor
    return cast(Predictor, run.load(path, device, 1 if steps is None else steps))


def _exported(path: Path, steps: int | None, threads: int, backend: str) -> Predictor:
    if backend == "torch":
        raise ConfigError(f"torch cannot compute the exported model {path}; load the run folder")
    exported = _onnx().load(path, threads)
    if steps not in (None, exported.steps):
        raise RunError(
            f"{path} draws in {exported.steps} evaluations, not in {steps}; leave --steps "
            f"at {exported.steps}, or export the run with --steps {steps}"
        )
    return cast(Predictor, exported)


def _onnx() -> Any:
    return import_module("trajflow.inference.onnx.predictor").OnnxPredictor


def load_predictor(
    run: str | Path, device: str = "auto", steps: int = 1, backend: str = "torch"
) -> Predictor:
    """The predictor of a run folder or of an exported model.

    Args:
        run: A run folder, or an .onnx file.
        device: Where a run computes: "auto", "cpu", "cuda" or "cuda:N".
        steps: Network evaluations per draw.
        backend: What computes the forecasts of a run; see `Predictor.load`. Scores are those of
            the weights unless said otherwise.

    Raises:
        RunError: There is none, or it was exported for another number of evaluations.
    """
    if Path(run).suffix == ".onnx":
        return Predictor.load(run, steps=steps)
    from trajflow.runs import RunFolder  # it needs more than an exported model does

    folder = RunFolder.open(run).path
    if backend != "onnx":
        from trajflow.models.tensors import device_of

        device = str(device_of(device))
    predictor = Predictor.load(folder, device, steps, backend=backend)
    if predictor.backend == "onnx":
        log.info("forecasting with %s", folder / EXPORT)
    return predictor
