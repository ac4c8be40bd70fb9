"""A batch of scenes as plain numpy: what windows produce and models and metrics consume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
OnProgress = Callable[[str, int, int | None], None]
"""Is told what is counted, how many are done, and of how many; None: that is not known."""


def seen_now(seen: Any) -> Any:
    """Whether an agent may be a neighbor: seen at the present step, the last, [*, T] -> [*].

    It takes arrays and tensors, so that networks and exported models follow one rule. Training
    windows hold nobody who has left, so a network knows nothing of such neighbors.
    """
    return seen[..., -1]


@dataclass(frozen=True)
class Batch:
    """B scenes of up to A agents each, padded; an unseen entry holds NaN.

    Attributes:
        past: World positions at the last T steps, [B, A, T, D], in the store's unit.
        future: World positions at the next F steps, [B, A, F, D], in the store's unit.
        target: Agents seen in all T + F steps, the ones that are forecast and scored, [B, A].
        scene: Index of the recording each window was cut from, [B].
        start: Step of the recording at which the window starts, [B], in steps.
        agent: Number of each agent, unique in the store, [B, A]; -1 where padded.
        around: World positions farther before and after the present, [B, A, W, D] with
            W = R (T + F) steps, R T of them up to the present; only where asked for.
        dt_ratio: Seconds per step over the store's, [B], where a recording's real clock is told.
        memory: What others did earlier who were where a target is now: positions and how many
            steps before the present they were, [B, A, K, W, D + 1] with W = T + F steps (R times
            as many like `around`); NaN where nobody was seen. Only where asked for.
        name: A number for the recording and id of each agent, [B, A], by which its noise is the
            same in any store; None: numbers of this store are taken.
    """

    past: Floats
    future: Floats
    target: Bools
    scene: Ints
    start: Ints
    agent: Ints
    around: Floats | None = None
    dt_ratio: Floats | None = None
    memory: Floats | None = None
    name: Ints | None = None

    @property
    def seen(self) -> Bools:
        """Whether an agent was observed at a past step, [B, A, T]."""
        return np.asarray(np.isfinite(self.past).all(-1))

    @property
    def memory_window(self) -> Floats | None:
        """What is remembered over T + F steps alone, [B, A, K, T + F, D + 1]."""
        if self.memory is None:
            return None
        history, horizon = self.past.shape[2], self.future.shape[2]
        first = history * (self.memory.shape[3] // (history + horizon) - 1)
        return self.memory[..., first : first + history + horizon, :]

    @property
    def targets(self) -> int:
        """How many agents of the batch are forecast and scored."""
        return int(self.target.sum())

    def take(self, rows: Ints) -> Batch:
        """The chosen scenes of this batch, in the given order."""
        parts = ((f.name, getattr(self, f.name)) for f in fields(self))
        taken: dict[str, Any] = {name: v if v is None else v[rows] for name, v in parts}
        return Batch(**taken)

    def placed(self, rows: Floats) -> Floats:
        """Rows [S, N, ...] of the N targets among all agents, [S, B, A, ...]; NaN elsewhere."""
        full = np.full((len(rows), *self.target.shape, *rows.shape[2:]), np.nan)
        full[:, self.target] = rows
        return full


class Forecaster(Protocol):
    """Whatever can be judged."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """World positions of S equally likely futures, [S, B, A, F, D]; NaN for non-targets.

        Args:
            batch: The scenes; only what was seen until the present may be used.
            samples: Futures S of each target.
            seed: The same gives the same futures, another gives other draws.
        """


@runtime_checkable
class Chooser(Forecaster, Protocol):
    """A forecaster that can also choose its samples of more draws."""

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """World positions [S, B, A, F, D] of a chosen set, and weights [S, B, A] of sum 1 over S.

        Args:
            batch: The scenes; only what was seen until the present may be used.
            samples: Futures S of each target.
            draws: Draws they are chosen from.
            rule: Name of how they are chosen.
            seed: The same gives the same futures.
        """


def silent(label: str, done: int, total: int | None = None) -> None:
    """Tell nobody of progress."""


def counted(
    batches: Iterable[Batch], label: str, on_progress: OnProgress, total: int | None = None
) -> Iterator[Batch]:
    """The batches as they come, with word of the targets that were dealt with."""
    done = 0
    for batch in batches:
        yield batch
        done += batch.targets
        on_progress(label, done, total)


def scene_centres(past: Floats) -> Floats:
    """A point near each scene's agents, [B, D] from pasts [B, A, T, D]: any seen position.

    Taken off before the cast to single precision, so that map coordinates of millions of metres
    keep their millimetres.
    """
    flat = past.reshape(len(past), -1, past.shape[-1])
    if not flat.shape[1]:
        return np.zeros((len(past), past.shape[-1]))
    if np.isfinite(flat[:, 0]).all():
        return flat[:, 0]
    seen = np.asarray(np.isfinite(flat).all(-1))
    first = seen.argmax(1)
    centre = flat[np.arange(len(flat)), first]
    known = np.asarray(seen.any(1))
    return np.where(known[:, None], centre, 0.0)
