"""Distributions of the pairs of times (r, t) in training."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor


class TimeSampler(Protocol):
    """Draws r <= t, one pair for each event."""

    def __call__(self, like: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Times r and t in [0, 1] with the shape, dtype and device of `like`."""


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def _sort(a: Tensor, b: Tensor, equal: Tensor) -> tuple[Tensor, Tensor]:
    """The smaller and the larger of two draws; the first one twice where `equal`."""
    b = torch.where(equal, a, b)
    return torch.minimum(a, b), torch.maximum(a, b)


def _equal_times(
    like: Tensor, flow_ratio: float, rows: bool, generator: Generator | None
) -> Tensor:
    """Which events have r = t: each independently, or a fixed number of them, row by row."""
    if not rows:
        return _uniform(like, generator) < flow_ratio
    rng = torch.rand((), device=like.device, generator=generator)
    count = (flow_ratio * like.numel() + rng).floor()
    row = torch.rand(like.shape[1:].numel(), device=like.device, generator=generator).argsort()
    first = len(row) * torch.arange(len(like), device=like.device).unsqueeze(-1)
    return (first + row < count).reshape(like.shape)


@dataclass(frozen=True)
class UniformTimes:
    """Two uniform times, sorted; a share `flow_ratio` of the events has r = t.

    Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, section 4.3.
    """

    flow_ratio: float = 0.5

    def __call__(self, like: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Times r <= t with the shape of `like`."""
        a, b = _uniform(like, generator), _uniform(like, generator)
        return _sort(a, b, _equal_times(like, self.flow_ratio, False, generator))


@dataclass(frozen=True)
class LogitNormalTimes:
    """Two logit-normal times, sorted; a share `flow_ratio` of the events has r = t.

    For images, mean -0.4 and deviation 1.0 are used for both. These are rarely near t = 1, where
    one-step sampling starts; the wider defaults here are better for events of few numbers.

    With `rows`, every call has the same share of r = t: in whole rows of the first axis, first, so
    that an objective can skip their derivative, and in random events of one more row.

    Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, section 4.3.
    """

    flow_ratio: float = 0.5
    t_mean: float = 0.5
    t_std: float = 1.5
    r_mean: float = -1.0
    r_std: float = 1.5
    rows: bool = False

    def __call__(self, like: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Times r <= t with the shape of `like`."""
        a = self._draw(like, self.t_mean, self.t_std, generator)
        b = self._draw(like, self.r_mean, self.r_std, generator)
        return _sort(a, b, _equal_times(like, self.flow_ratio, self.rows, generator))

    def _draw(self, like: Tensor, mean: float, std: float, generator: Generator | None) -> Tensor:
        normal = torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)
        return torch.sigmoid(mean + std * normal)


@dataclass(frozen=True)
class AnchoredTimes:
    """r = 0 for every event and t as in `LogitNormalTimes`, so every interval ends at the data."""

    t_mean: float = 0.5
    t_std: float = 1.5

    def __call__(self, like: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Times r = 0 and t with the shape of `like`."""
        _, t = LogitNormalTimes(1.0, self.t_mean, self.t_std, self.t_mean, self.t_std)(
            like, generator
        )
        return torch.zeros_like(t), t
