"""A batch in parts that together have its gradient, for several processes or to save memory."""

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
from trajflow.flow import Part
from trajflow.models.trajectory_model import BatchPart, TrajectoryModel
from trajflow.types import Batch, Ints


@dataclass(frozen=True)
class Share:
    """Some scenes of a batch.

    Attributes:
        scenes: Their rows; None: all.
        weight: Share of the batch's targets in them, which is what their mean loss counts.
        place: Where they stand in the batch.
        encoded: Rows of the encoder that are theirs, for a model whose encoder has dropout.
    """

    scenes: Ints | None = None
    weight: float = 1.0
    place: BatchPart | None = None
    encoded: Part | None = None

    def of(self, batch: Batch) -> Batch:
        """The scenes of the share."""
        return batch if self.scenes is None else batch.take(self.scenes)

    def dropout(self) -> AbstractContextManager[object]:
        """Inside, what an encoder drops is drawn for the whole batch."""
        return nullcontext() if self.encoded is None else _BatchDropout(self.encoded)


def shares(batch: Batch, count: int, model: TrajectoryModel) -> list[Share]:
    """A batch cut between scenes into `count` shares of about as many targets, some without any.

    Raises:
        ConfigError: The encoder normalises over a batch, so its parts would give other gradients.
    """
    if count == 1:
        return [Share()]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"the encoder {model.architecture.encoder!r} has a {type(module).__name__}, which "
                "needs the whole batch; train in one process with train.accumulate=1"
            )
    return list(_cut(batch, count, _encoded(batch, model)))


def _cut(batch: Batch, count: int, encoded: Ints | None) -> Iterator[Share]:
    targets = np.append(0, batch.target.sum(1).cumsum())
    total = int(targets[-1])
    # The scene borders that are nearest to equal numbers of targets.
    wanted = np.arange(count + 1) * total / count
    edges = np.searchsorted(targets[1:] - np.diff(targets) / 2, wanted)
    edges[-1] = len(batch.target)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        first, last = int(targets[low]), int(targets[high])
        rows = None
        if encoded is not None:
            rows = Part(int(encoded[low]), int(encoded[high]), int(encoded[-1]))
        place = BatchPart(Part(low, high, len(batch.target)), Part(first, last, total))
        yield Share(np.arange(low, high), (last - first) / total, place, rows)


def _encoded(batch: Batch, model: TrajectoryModel) -> Ints | None:
    """How many agents the encoder reads before each scene, [B + 1]; None if it drops nothing."""
    drops = (getattr(m, "p", 0) or getattr(m, "dropout", 0) for m in model.encoder.modules())
    if not any(isinstance(share, float) and share > 0 for share in drops):
        return None
    rows = model.encoded(torch.as_tensor(batch.seen), torch.as_tensor(batch.target))
    return np.append(0, rows.sum(1).cumsum(0).numpy())


class _BatchDropout(TorchFunctionMode):
    """Dropout of some rows of a batch, which is that of the batch cut to them."""

    def __init__(self, rows: Part) -> None:
        super().__init__()
        self.rows = rows

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = self._drop if func is functional.dropout else func
        return call(*args, **(kwargs or {}))

    def _drop(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return input
        # In the order of memory of the input, in which dropout draws.
        shape = self.rows.shape(input.shape, 0)
        ones = torch.empty_permuted(
            shape, input.dim_order(), dtype=input.dtype, device=input.device
        ).fill_(1)
        kept = self.rows.cut(functional.dropout(ones, p), 0)
        return input.mul_(kept) if inplace else input * kept
