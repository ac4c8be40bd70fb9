"""Arrays, batches of scenes, and the interface of forecasters. Numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
OnProgress = Callable[[str, int, int | None], None]
"""Called with a label, the number done, and the total or None."""


def seen_now(seen: Any) -> Any:
    """Whether an agent was observed at the present step and may be a neighbor, [*, T] -> [*].

    Takes arrays and tensors, so that networks and exported models follow one rule. Training windows
    hold no agents that have left, so that a network has not learned to use them.
    """
    return seen[..., -1]


@dataclass(frozen=True)
class Batch:
    """B scenes of up to A agents each, padded; NaN where not observed.

    Attributes:
        past: World positions at the last T steps, [B, A, T, D], in the store's unit.
        future: World positions at the next F steps, [B, A, F, D], in the store's unit.
        target: Agents observed in all T + F steps, which are forecast and scored, [B, A].
        scene: Index of the recording, [B].
        start: Step of the recording at which the window starts, [B].
        agent: Number of each agent, unique in the store, [B, A]; -1 for padding.
        around: World positions further before and after the present, [B, A, W, D] with W = R (T +
            F) steps, R T of them up to the present; None unless requested.
        dt_ratio: Real seconds per step of the recording over the store's, [B]; None: equal.
        memory: Earlier tracks of others through the target's position: positions and how many steps
            before the present they were, [B, A, K, W, D + 1] with W = T + F steps (R times as many
            with `around`); NaN where not observed. None unless requested.
        types: Name of each agent's type, [B, A]; "" where unknown or padded. None if all agents
            are of one type.
        name: A number for the recording and id of each agent, [B, A], which makes its noise the
            same in any store; None: numbers of this store are used.
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
    types: NDArray[np.str_] | None = None
    name: Ints | None = None

    @property
    def seen(self) -> Bools:
        """Whether an agent was observed at a past step, [B, A, T]."""
        return np.asarray(np.isfinite(self.past).all(-1))

    @property
    def memory_window(self) -> Floats | None:
        """The memory over T + F steps, [B, A, K, T + F, D + 1]."""
        if self.memory is None:
            return None
        history, horizon = self.past.shape[2], self.future.shape[2]
        first = history * (self.memory.shape[3] // (history + horizon) - 1)
        return self.memory[..., first : first + history + horizon, :]

    @property
    def targets(self) -> int:
        """Number of targets."""
        return int(self.target.sum())

    def without_future(self) -> Batch:
        """This batch with NaN in place of the future, so that a forecaster cannot read it."""
        return replace(self, future=np.full_like(self.future, np.nan))

    def take(self, rows: Ints) -> Batch:
        """The scenes at some rows, in their order."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        chosen: dict[str, Any] = {name: v if v is None else v[rows] for name, v in values}
        return Batch(**chosen)

    def placed(self, rows: Floats) -> Floats:
        """Rows [S, N, ...] of the N targets among all agents, [S, B, A, ...]; NaN elsewhere."""
        full = np.full((len(rows), *self.target.shape, *rows.shape[2:]), np.nan)
        full[:, self.target] = rows
        return full


def type_codes(types: NDArray[np.str_], names: Sequence[str]) -> Ints:
    """Codes of agent types of any shape: 1 + the index of a type in `names`, 0 where unknown."""
    codes = np.zeros(types.shape, np.int64)
    for code, name in enumerate(names, 1):
        codes[types == name] = code
    return codes


class Forecaster(Protocol):
    """A forecaster that can be evaluated."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """World positions of S equally likely futures, [S, B, A, F, D]; NaN for non-targets.

        Args:
            batch: The scenes; only what was observed until the present may be used.
            samples: Futures S of each target.
            seed: Equal seeds give equal futures.
        """


@runtime_checkable
class Chooser(Forecaster, Protocol):
    """A forecaster that can also select samples from more draws."""

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """Selected samples, world positions [S, B, A, F, D], and their weights [S, B, A].

        Args:
            batch: The scenes; only what was observed until the present may be used.
            samples: Futures S of each target.
            draws: Number of draws to select from.
            rule: Name of the selection rule.
            seed: Equal seeds give equal futures.
        """


def silent(label: str, done: int, total: int | None = None) -> None:
    """Ignore progress."""


class Counted(Protocol):
    """A part of some work with a number of targets."""

    @property
    def targets(self) -> int:
        """Number of targets."""


C = TypeVar("C", bound=Counted)


def counted(
    parts: Iterable[C], label: str, on_progress: OnProgress, total: int | None = None
) -> Iterator[C]:
    """Yield the parts, such as batches, and report the number of targets after each."""
    done = 0
    for part in parts:
        yield part
        done += part.targets
        on_progress(label, done, total)


def scene_centres(past: Floats) -> Floats:
    """An observed position of each scene, [B, D] from pasts [B, A, T, D].

    It is subtracted before the cast to single precision, so that map coordinates of millions of
    metres keep their millimetres.
    """
    flat = past.reshape(len(past), -1, past.shape[-1])
    if not flat.shape[1]:
        return np.zeros((len(past), past.shape[-1]))
    if np.isfinite(flat[:, 0]).all():
        return flat[:, 0]
    observed = np.asarray(np.isfinite(flat).all(-1))
    centre = flat[np.arange(len(flat)), observed.argmax(1)]
    return np.where(observed.any(1, keepdims=True), centre, 0.0)
