"""What a trainer wants of its data."""

from collections.abc import Iterator
from typing import Protocol

from trajflow.types import Batch


class TrainingData(Protocol):
    """Where batches come from; the order of an epoch is a function of its number alone."""

    def steps(self, size: int) -> int:
        """Batches in a training epoch."""

    def training(self, size: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The training batches of an epoch from the `skip`-th on, `size` targets each."""

    def validation(self, size: int, limit: int) -> Iterator[Batch]:
        """Batches of at most about `limit` targets spread evenly over the validation split."""
