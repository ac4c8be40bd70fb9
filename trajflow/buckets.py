"""Forecasts of static shapes: one CUDA graph for each bucket of sizes, or as they are elsewhere."""

from __future__ import annotations

import contextlib
import secrets
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from trajflow.captured import Captured
from trajflow.errors import TrajflowError, TrajflowWarning
from trajflow.export.graph import ForecastGraph
from trajflow.forecast import Forecast
from trajflow.pasts import PastShape
from trajflow.predictor import Predictor
from trajflow.tensors import scene_centres, to_tensor

Floats = NDArray[np.float64]
Precision = Literal["fp32", "bf16"]
KEPT = 16
"""Graphs that are kept; the one that was not used for longest makes room."""


@dataclass(frozen=True)
class Bucket:
    """Sizes of a call, rounded up so that few of them cover all.

    Attributes:
        scenes, agents, neighbours: Powers of two.
        samples: As asked.
    """

    scenes: int
    agents: int
    neighbours: int
    samples: int

    @classmethod
    def of(cls, scenes: int, agents: int, neighbours: int, samples: int) -> Bucket:
        """The smallest bucket that holds the call."""
        return cls(rounded(scenes), rounded(agents), rounded(neighbours), samples)

    def padded(self, past: Floats, agents: int) -> Floats:
        """Pasts [B, A, T, D], the first `agents` of which are asked for, in the bucket's sizes."""
        full = np.full((self.scenes, self.agents + self.neighbours, *past.shape[2:]), np.nan)
        full[: len(past), :agents] = past[:, :agents]
        full[: len(past), self.agents : self.agents + past.shape[1] - agents] = past[:, agents:]
        return full


def rounded(count: int) -> int:
    """The least power of two that is no smaller; 0 stays 0.

    Example:
        >>> from trajflow.buckets import rounded
        >>> [rounded(n) for n in (0, 1, 5, 64)]
        [0, 1, 8, 64]
    """
    return 1 << (count - 1).bit_length() if count else 0


class BucketedPredictor:
    """A predictor's plain draws by graphs of static shapes; equal seeds give what it would give.

    On a GPU the first call of a bucket captures a CUDA graph, and those after it replay it. Where
    that fails, and on a processor, the same operations run one by one.
    """

    def __init__(self, predictor: Predictor, precision: Precision = "fp32") -> None:
        """Wrap a predictor.

        Args:
            predictor: What knows how to forecast.
            precision: What the large products are computed in.
        """
        self.predictor, self.precision = predictor, precision
        self.graph = ForecastGraph(predictor.model, predictor.temperature, predictor.steps)
        self._calls: OrderedDict[Bucket, Callable[[Tensor, Tensor], Tensor]] = OrderedDict()

    @property
    def history(self) -> int:
        """Past steps T."""
        return self.predictor.history

    @property
    def dims(self) -> int:
        """Coordinates D."""
        return self.predictor.dims

    @torch.inference_mode()
    def predict(
        self,
        past: ArrayLike,
        neighbours: Any = None,
        samples: int = 20,
        seed: int | None = None,
    ) -> Forecast:
        """Draw `samples` futures of every agent; arguments as of `Predictor.predict`.

        Returns:
            Samples [S, *, A, F, D], in the unit and world frame of the past [*, A, T, D].

        Raises:
            TrajflowError: A shape is wrong, or an agent was never seen.
        """
        shape = PastShape(self.history, self.dims)
        known = shape.points(past, "past")
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        scenes = known.reshape(-1, *known.shape[-3:])
        shape.check_seen(scenes, ())
        around = shape.around(neighbours, len(scenes))
        full = np.concatenate([scenes, around], 1)
        bucket = Bucket.of(len(full), scenes.shape[1], around.shape[1], samples)
        drawn = self._drawn(full, scenes.shape[1], bucket, seed)
        drawn = drawn.reshape(samples, *known.shape[:-2], *drawn.shape[-2:])
        return Forecast(drawn, self.predictor.dt, calibration=self.predictor.calibration)

    def _drawn(self, full: Floats, agents: int, bucket: Bucket, seed: int | None) -> Floats:
        """Futures [S, B, N, F, D] of the first N agents of pasts [B, A, T, D]."""
        device, scenes = self.predictor.device, len(full)
        centre = scene_centres(full)
        padded = np.zeros((bucket.scenes, centre.shape[1]))
        padded[:scenes] = centre
        past = to_tensor(bucket.padded(full, agents), padded, device)
        noise = past.new_zeros(
            bucket.samples, bucket.scenes, bucket.agents, self.predictor.model.scaling.size
        )
        # A joint model draws for those around as well: the same numbers as the predictor's.
        many = full.shape[1] if self.predictor.model.architecture.joint else agents
        chance = secrets.randbits(62) if seed is None else seed
        generator = torch.Generator(device).manual_seed(chance)
        drawn = torch.randn(
            bucket.samples, scenes, many, noise.shape[-1], device=device, generator=generator
        )
        noise[:, :scenes, :agents] = drawn[:, :, :agents]
        futures = self._call(bucket, past, noise)(past, noise)[:, :scenes, :agents]
        return np.asarray(futures.double().cpu().numpy() + centre[:, None, None])

    def _call(
        self, bucket: Bucket, past: Tensor, noise: Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """What computes the bucket; it is made at its first use."""
        if bucket not in self._calls:
            self._calls[bucket] = self._captured(past, noise)
            if len(self._calls) > KEPT:
                self._calls.popitem(last=False)
        self._calls.move_to_end(bucket)
        return self._calls[bucket]

    def _captured(self, past: Tensor, noise: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        if past.device.type != "cuda":
            return self._eager
        try:
            return Captured(self._eager, past, noise)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"no CUDA graph of {list(past.shape)} ({reason}); it is computed step by step",
                TrajflowWarning,
                stacklevel=2,
            )
            return self._eager

    def _eager(self, past: Tensor, noise: Tensor) -> Tensor:
        low = self.precision == "bf16"
        with (
            torch.autocast(past.device.type, torch.bfloat16, cache_enabled=False)
            if low
            else contextlib.nullcontext()
        ):
            futures: Tensor = self.graph(past, noise)[0]
        return futures.float()
