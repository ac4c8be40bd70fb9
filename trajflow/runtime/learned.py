"""Sets of noises that a run has learned, as numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Floats
from trajflow.errors import RunError

LAYERS = ("read.0", "read.2", "move", "weigh")


@dataclass(frozen=True)
class LearnedSet:
    """K noises for each agent, and how likely each leads nearest to what will happen.

    Attributes:
        arrays: Weights and biases by the names of a `NoiseSet`.
    """

    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        needed = {f"{name}.{kind}" for name in LAYERS for kind in ("weight", "bias")} | {"start"}
        if set(self.arrays) != needed:
            raise RunError("a learned set in it is not whole; export the run again")
        try:
            noise, weights = self(np.zeros((1, self.width)))
            fits = weights.shape == noise.shape[:2] == (len(self.arrays["start"]), 1)
            fits = fits and all(np.isfinite(one).all() for one in (*self.arrays.values(), weights))
        except (TypeError, ValueError, IndexError):
            fits = False
        if not fits:
            raise RunError("a learned set in it does not fit together; export the run again")

    @property
    def width(self) -> int:
        """Length H of the contexts it reads."""
        return int(self.arrays["read.0.weight"].shape[1])

    def __call__(self, context: Floats) -> tuple[Floats, Floats]:
        """Noises [K, N, ...] and weights [K, N] of contexts [N, H]."""
        hidden = _silu(self._layer("read.2", _silu(self._layer("read.0", context))))
        start = self.arrays["start"]
        moved = self._layer("move", hidden).reshape(-1, *start.shape)
        shares = self._layer("weigh", hidden)
        shares = np.exp(shares - shares.max(1, keepdims=True))
        return (start + moved).swapaxes(0, 1), (shares / shares.sum(1, keepdims=True)).T

    def _layer(self, name: str, x: Floats) -> Floats:
        weight, bias = (self.arrays[f"{name}.{kind}"] for kind in ("weight", "bias"))
        return np.asarray(x @ weight.T + bias)


def _silu(x: Floats) -> Floats:
    return np.asarray(x / (1 + np.exp(-x)))
