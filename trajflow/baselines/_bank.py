"""The training windows that a floor remembers: pasts and futures of targets, at most so many."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from trajflow.errors import DataError
from trajflow.types import Batch, Floats, Ints


@dataclass(frozen=True)
class Bank:
    """N windows of one target each.

    Attributes:
        past: Positions relative to the present one, [N, T, D].
        future: Positions relative to the present one, [N, F, D].
        scene: Index of the recording, [N].
    """

    past: Floats
    future: Floats
    scene: Ints

    def __len__(self) -> int:
        """How many windows, N."""
        return len(self.scene)

    def take(self, rows: Ints) -> "Bank":
        """Some of the windows, [N] of them."""
        return Bank(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def mirrored(self) -> "Bank":
        """The windows and their mirror images, 2 * N windows: left is as good as right."""
        flip = np.where(np.arange(self.past.shape[-1]) == 1, -1.0, 1.0)
        return _joined([self, Bank(self.past * flip, self.future * flip, self.scene)])


def remember(batches: Iterable[Batch], limit: int, chance: np.random.Generator) -> Bank:
    """The targets of the batches; a random choice of them where there are more than `limit`.

    Memory holds twice the limit, however many batches there are.

    Raises:
        DataError: There are no targets.
    """
    held: list[Bank] = []
    keys = np.empty(0)
    for batch in batches:
        held.append(_targets(batch))
        keys = np.append(keys, chance.random(len(held[-1])))
        if len(keys) > 2 * limit:
            bank, keys = _fewer(_joined(held), keys, limit)
            held = [bank]
    if not len(keys):
        raise DataError("there are no training windows to learn from; choose another split or fold")
    return _fewer(_joined(held), keys, limit)[0]


def _targets(batch: Batch) -> Bank:
    past, future = batch.past[batch.target], batch.future[batch.target]
    now = past[:, -1:]
    return Bank(past - now, future - now, np.repeat(batch.scene, batch.target.sum(1)))


def _joined(banks: list[Bank]) -> Bank:
    return Bank(
        **{f.name: np.concatenate([getattr(b, f.name) for b in banks]) for f in fields(Bank)}
    )


def _fewer(bank: Bank, keys: Floats, limit: int) -> tuple[Bank, Floats]:
    """The windows with the least keys, and these keys."""
    if len(keys) <= limit:
        return bank, keys
    rows = np.sort(np.argpartition(keys, limit)[:limit])
    return bank.take(rows), keys[rows]
