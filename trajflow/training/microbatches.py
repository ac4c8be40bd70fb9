"""Micro-batches: parts of a batch whose gradients add up to its own.

They serve several processes, and `train.accumulate` to save memory.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trajflow.errors import ConfigError
from trajflow.flow import Slice
from trajflow.models.trajectory_model import BatchPart, TrajectoryModel
from trajflow.types import Batch, Ints


@dataclass(frozen=True)
class MicroBatch:
    """Some scenes of a batch.

    Attributes:
        scenes: Their rows; None: all.
        weight: Share of the batch's targets in them, the weight of their mean loss.
        position: Their position among the scenes and targets of the batch.
        encoder_rows: Their rows of the encoder's input; None if the encoder has no dropout.
    """

    scenes: Ints | None = None
    weight: float = 1.0
    position: BatchPart | None = None
    encoder_rows: Slice | None = None

    def of(self, batch: Batch) -> Batch:
        """The scenes of the micro-batch."""
        return batch if self.scenes is None else batch.take(self.scenes)

    def dropout(self) -> AbstractContextManager[object]:
        """Inside, dropout of the encoder draws its mask for the whole batch."""
        return nullcontext() if self.encoder_rows is None else _BatchDropout(self.encoder_rows)


def split_batch(batch: Batch, count: int, model: TrajectoryModel) -> list[MicroBatch]:
    """Split a batch between scenes into `count` parts of similar numbers of targets, or none.

    Raises:
        ConfigError: The encoder normalises over a batch, so the gradients would differ.
    """
    if count == 1:
        return [MicroBatch()]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"the encoder {model.architecture.encoder!r} has a {type(module).__name__}, which "
                "needs the whole batch; train in one process with train.accumulate=1"
            )
    return list(_split(batch, count, _encoder_rows(batch, model)))


def _split(batch: Batch, count: int, encoder_rows: Ints | None) -> Iterator[MicroBatch]:
    targets = np.append(0, batch.target.sum(1).cumsum())
    total = int(targets[-1])
    # The borders between scenes nearest to equal numbers of targets.
    equal = np.arange(count + 1) * total / count
    edges = np.searchsorted(targets[1:] - np.diff(targets) / 2, equal)
    edges[-1] = len(batch.target)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        first, last = int(targets[low]), int(targets[high])
        rows = None
        if encoder_rows is not None:
            rows = Slice(int(encoder_rows[low]), int(encoder_rows[high]), int(encoder_rows[-1]))
        position = BatchPart(Slice(low, high, len(batch.target)), Slice(first, last, total))
        yield MicroBatch(np.arange(low, high), (last - first) / total, position, rows)


def _encoder_rows(batch: Batch, model: TrajectoryModel) -> Ints | None:
    """Number of agents the encoder reads before each scene, [B + 1]; None without dropout."""
    rates = (getattr(m, "p", 0) or getattr(m, "dropout", 0) for m in model.encoder.modules())
    if not any(isinstance(rate, float) and rate > 0 for rate in rates):
        return None
    rows = model.encoded(torch.as_tensor(batch.seen), torch.as_tensor(batch.target))
    return np.append(0, rows.sum(1).cumsum(0).numpy())


class _BatchDropout(TorchFunctionMode):
    """Inside, `dropout` draws a mask for all rows of the batch and applies its part."""

    def __init__(self, rows: Slice) -> None:
        super().__init__()
        self.rows = rows

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = self._dropout if func is functional.dropout else func
        return call(*args, **(kwargs or {}))

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return input
        # Dropout draws in the input's memory order, so the mask of the batch must have it too.
        shape = self.rows.shape(input.shape, 0)
        ones = torch.empty_permuted(
            shape, input.dim_order(), dtype=input.dtype, device=input.device
        ).fill_(1)
        mask = self.rows.cut(functional.dropout(ones, p), 0)
        return input.mul_(mask) if inplace else input * mask
