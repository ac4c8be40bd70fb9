"""What can be timed: a run or a new network in torch, an exported model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from trajflow.bench.network import new_predictor
from trajflow.bench.scenes import Scene
from trajflow.buckets import BucketedPredictor, Precision
from trajflow.predictor import Predictor

EXPORTED = (".onnx", ".pt2")
KERNELS = ("highest", "medium")
"""Settings of torch's matmul precision, which choose between two libraries on a processor. Where
"medium" is less than single precision `check` finds it out."""
LARGEST_ERROR = 1e-4
"""Relative to the spread of the forecasts, the error that a kernel of single precision may have."""


class Forecasts(Protocol):
    """What forecasts, in torch or without it."""

    @property
    def history(self) -> int:
        """Past steps T."""

    @property
    def dims(self) -> int:
        """Coordinates D."""

    @property
    def predict(self) -> Callable[..., Any]:
        """Draws futures of pasts [*, A, T, D]."""


@dataclass(frozen=True)
class Engine:
    """One way to compute the forecasts of a subject.

    Attributes:
        subject: What it belongs to.
        threads: Threads that compute.
        kernel: torch's matmul precision; None for what is not torch.
        static: Precision of graphs of static shapes; None for operations one by one.
    """

    subject: Subject
    threads: int = 1
    kernel: str | None = None
    static: Precision | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        medium = " medium" if self.kernel == "medium" else ""
        return {
            "model": self.subject.name,
            "backend": f"graph {self.subject.device}" if self.static else self.subject.backend,
            "precision": self.static or self.subject.precision + medium,
            "threads": self.threads,
        }

    @cached_property
    def predictor(self) -> Forecasts:
        """What forecasts."""
        loaded = self.subject.load(self.threads)
        if self.static is None:
            return loaded
        assert isinstance(loaded, Predictor)
        return BucketedPredictor(loaded, self.static)

    def prepare(self) -> None:
        """Set what torch keeps for all."""
        if self.kernel is not None:
            torch.set_num_threads(self.threads)
            torch.set_float32_matmul_precision(self.kernel)

    def forecast(self, scene: Scene, samples: int, **more: Any) -> Any:
        """The forecast of pasts [A, T, D] among neighbours [N, T, D], always of the same noise."""
        call = self.predictor.predict
        return call(scene.past, scene.neighbours, samples=samples, seed=1, **more)


@dataclass(frozen=True)
class Subject:
    """A model that is timed.

    Attributes:
        path: A run folder or an exported model; None for a new network of the default size.
        device: Where torch computes.
    """

    path: Path | None = None
    device: str = "cpu"
    _loaded: dict[str, Forecasts] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name if self.path else "default size, untrained"

    @property
    def exported(self) -> bool:
        """Whether it is computed without torch's layers."""
        return self.path is not None and self.path.suffix in EXPORTED

    @property
    def backend(self) -> str:
        """What computes it."""
        if self.exported and self.path is not None:
            return self.path.suffix[1:]
        return "eager" if self.device == "cpu" else f"eager {self.device}"

    @property
    def precision(self) -> str:
        """What its large products are computed in."""
        if not self.exported:
            return "fp32"
        told = getattr(self.load(1), "facts", {})
        return str(told.get("precision", "fp32"))

    def load(self, threads: int) -> Forecasts:
        """What forecasts; torch's takes its threads from `Engine.prepare`.

        Raises:
            RunError: There is no such model, or it is damaged.
            MissingExtra: What computes it is not installed.
        """
        key = str(threads) if self.exported else ""
        if key not in self._loaded:
            self._loaded[key] = self._load(threads)
        return self._loaded[key]

    def _load(self, threads: int) -> Forecasts:
        if self.path is None:
            return new_predictor(self.device)
        if not self.exported:
            return Predictor.load(self.path, self.device)
        # By name: what computes exported models need not be installed.
        kind = import_module("trajflow.runtime").Predictor
        loaded: Forecasts = kind.load(self.path, threads=threads)
        return loaded

    def engines(self, threads: Sequence[int], kernels: Sequence[str] = KERNELS) -> list[Engine]:
        """Every way to compute it that is worth a look."""
        if self.exported:
            return [Engine(self, count) for count in threads]
        if self.device == "cpu":
            return [Engine(self, count, kernel) for count in threads for kernel in kernels]
        low: tuple[Precision | None, ...] = (None, "fp32", "bf16")
        return [Engine(self, 1, kernels[0], static) for static in low]


def check(engine: Engine, scene: Scene, samples: int = 20) -> float:
    """How far forecasts are from those of the usual kernel, over their spread."""
    usual = Engine(engine.subject, 1, "highest")
    usual.prepare()
    right = usual.forecast(scene, samples).samples
    engine.prepare()
    found = engine.forecast(scene, samples).samples
    return float(abs(found - right).max() / max(right.std(0).max(), 1e-9))
