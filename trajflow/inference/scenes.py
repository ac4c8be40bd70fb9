"""The scenes of a forecast: divided where memory is short, and as a folded network takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import RunError
from trajflow.inference.inputs import TrackFormat
from trajflow.inference.noise import batch_keys, place_keys
from trajflow.types import Batch, Bools, Floats, Ints, scene_centres, seen_now, type_codes

ROWS, PAIRS = 1 << 12, 1 << 22
"""Futures, and pairs of an agent and one around it, that one call of a graph computes."""
SLACK = 1.0001
"""By how much farther than the last neighbor that counts another one may be and still be kept."""


class OutOfMemory(RunError):
    """A network needs more memory than there is."""


@dataclass(frozen=True)
class Request:
    """B scenes, N of whose agents are forecast.

    Attributes:
        past: World positions, [B, A, T, D]; NaN where unseen.
        target: The N agents to forecast, [B, A].
        keys: Scene, step and agent of each of the N, [N, 3], which its noise follows from.
        dt_ratio: Seconds per step over those of the training tracks, [B].
        memory: Earlier tracks of others, [B, A, K, T + F, D + 1]; None: nothing is remembered.
        types: Names of the agents' types, [B, A]; None: unknown.
    """

    past: Floats
    target: Bools
    keys: Ints
    dt_ratio: NDArray[np.float32]
    memory: Floats | None = None
    types: NDArray[np.str_] | None = None

    @classmethod
    def of(
        cls,
        past: Floats,
        target: Bools,
        dt_ratio: float | Floats = 1.0,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
    ) -> Request:
        """A request whose noise follows from the places of the targets; see the attributes."""
        ratios = np.full(len(past), dt_ratio, np.float32)
        return cls(past, target, place_keys(target), ratios, memory, types)

    @classmethod
    def of_batch(cls, batch: Batch, dt_ratio: float | Floats) -> Request:
        """The targets of a batch; their noise is the same in any batch."""
        whole = cls.of(batch.past, batch.target, dt_ratio, batch.memory_window, batch.types)
        return replace(whole, keys=batch_keys(batch))

    def part(self, some: Bools, agents: slice) -> Request:
        """Some of the targets, [B, A], which are `agents` of the N; scenes without any go."""
        keep = some.any(1)
        if keep.all():
            return replace(self, target=some, keys=self.keys[agents])
        return Request(
            self.past[keep],
            some[keep],
            self.keys[agents],
            self.dt_ratio[keep],
            None if self.memory is None else self.memory[keep],
            None if self.types is None else self.types[keep],
        )

    def cut(self, most: int, by_scenes: bool) -> Iterator[tuple[Request, slice]]:
        """Parts of at most so many targets, or scenes, and which of the N targets they are."""
        for some, agents in cut(self.target, most, by_scenes):
            yield self.part(some, agents), agents


Draw = Callable[[Request, NDArray[np.float32]], tuple[Floats, Floats]]
"""Futures [S, N, F, D] of a request from noise [S, N, ...], and contexts [N, H]."""


def draw_within_memory(
    draw: Draw, request: Request, noise: NDArray[np.float32], joint: bool
) -> tuple[Floats, Floats]:
    """Futures and contexts of a request, in halves while memory does not suffice.

    Args:
        draw: Draws them, or raises `OutOfMemory`.
        request: The scenes.
        noise: Normal numbers, [S, N, ...].
        joint: Whether the agents of a scene stay together.

    Raises:
        OutOfMemory: It does not suffice for one agent.
    """
    try:
        return draw(request, noise)
    except OutOfMemory:
        pass
    try:
        return _halved(draw, request, noise, joint)
    except OutOfMemory:
        raise OutOfMemory(
            f"out of memory for {len(noise)} samples of one agent among {request.target.shape[1]}; "
            "draw fewer samples, or give fewer neighbors"
        ) from None


def _halved(
    draw: Draw, request: Request, noise: NDArray[np.float32], joint: bool
) -> tuple[Floats, Floats]:
    units = int(request.target.any(1).sum() if joint else noise.shape[1])
    if units < 2 and len(noise) < 2:
        raise OutOfMemory
    if units > 1:
        parts = request.cut(-(-units // 2), joint)
        drawn = [draw_within_memory(draw, part, noise[:, agents], joint) for part, agents in parts]
        futures, contexts = zip(*drawn, strict=True)
        return np.concatenate(futures, 1), np.concatenate(contexts)
    halves = np.array_split(noise, 2)
    drawn = [draw_within_memory(draw, request, half, joint) for half in halves]
    return np.concatenate([futures for futures, _ in drawn]), drawn[0][1]


@dataclass(frozen=True)
class Scenes:
    """B scenes of A agents, the first K of which are targets; N of these are no padding.

    Attributes:
        past: Positions about the scenes' centres, [B, A, T, D]; NaN where unseen.
        centre: A point near each scene, [B, D].
        counts: How many of the N agents each scene has, [B].
        most: K, the most targets of a scene.
    """

    past: NDArray[np.float32]
    centre: Floats
    counts: Ints
    most: int

    @cached_property
    def place(self) -> Ints:
        """Where each of the N agents stands, [2, N]: its scene, and its place among the K."""
        return np.array(np.nonzero(np.arange(self.most) < self.counts[:, None]))

    @classmethod
    def of(cls, past: Floats, target: Bools, limit: int | None) -> Scenes:
        """The scenes of pasts [B, A, T, D] with target [B, A].

        Args:
            past: World positions.
            target: The agents to forecast.
            limit: Neighbors each agent attends to, the nearest; None: it attends to nobody.
        """
        if len(past) == 1 and (scene := cls._of_one(past, target, limit)) is not None:
            return scene
        centre = scene_centres(past)
        counts = target.sum(1)
        most = int(counts.max(initial=0))
        if not target[:, :most].all() or target[:, most:].any():
            order = np.argsort(~target, 1, kind="stable")
            past = np.take_along_axis(past, order[:, :, None, None], 1)
            # Others of a scene with fewer targets must not stand where its targets would.
            gap = np.arange(past.shape[1]) >= counts[:, None]
            padding = np.full((len(past), most, *past.shape[2:]), np.nan)
            agents = np.where(gap[:, :most, None, None], padding, past[:, :most])
            others = np.where(gap[..., None, None], past, np.nan)
            past = np.concatenate([agents, others], 1)
        points = past - centre[:, None, None]
        points = points[:, :most] if limit is None else _pruned(points, most, limit)
        return cls(points.astype(np.float32), centre, counts, most)

    @classmethod
    def _of_one(cls, past: Floats, target: Bools, limit: int | None) -> Scenes | None:
        """As `of`, in few calls of numpy; None if a target is not seen now."""
        most = int(np.count_nonzero(target))
        if not most or np.count_nonzero(target[0, :most]) < most:
            return None
        centre = past[:, 0, 0]
        points = past[0, :most] - centre if limit is None else past[0] - centre
        if limit is not None and past.shape[1] > most + limit:
            keep = nearest(points[:, -1], most, limit)
            if keep is None:
                return None
            points = points[keep]
        elif not math.isfinite(points[:, -1].sum() if limit is not None else centre.sum()):
            return None
        return cls(points[None].astype(np.float32), centre, np.array([most]), most)

    @property
    def seen_agents(self) -> Bools:
        """Which of the N agents were seen at some step, [N]."""
        seen = np.asarray(np.isfinite(self.past).all(-1).any(-1))
        return np.asarray(seen[*self.place])

    def spread(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Noise [S, N, ...] of the agents as the graph wants it, [S, B, K, ...]."""
        if len(self.past) == 1 or noise.shape[1] == len(self.past) * self.most:
            return noise.reshape(len(noise), len(self.past), self.most, noise.shape[-1])
        full = np.zeros((len(noise), len(self.past), self.most, noise.shape[-1]), np.float32)
        full[:, *self.place] = noise
        return full

    def inputs(
        self,
        request: Request,
        noise: NDArray[np.float32],
        form: TrackFormat,
        learned: Ints | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Inputs of a `Sampler` by name.

        Args:
            request: What is known of each agent.
            noise: Of N agents, [S, N, ...].
            form: What the model takes.
            learned: Numbers of the learned noises of further samples; None: there are none.
        """
        inputs: dict[str, NDArray[Any]] = {
            "past": self.past,
            "noise": self.spread(noise),
            "dt_ratio": request.dt_ratio,
            "learned_noises": np.zeros(0, np.int64) if learned is None else learned,
        }
        size = (len(self.past), self.most)
        if form.memory:
            steps = form.history + form.horizon
            full = np.full((*size, form.memory, steps, form.dims + 1), np.nan, np.float32)
            if request.memory is not None:
                memory = request.memory[request.target]
                memory[..., :-1] -= self.centre[self.place[0], None, None]
                full[*self.place] = memory
            inputs["memory"] = full
        if form.types:
            codes = np.zeros(size, np.int64)
            if request.types is not None:
                codes[*self.place] = type_codes(request.types[request.target], form.types)
            inputs["types"] = codes
        return inputs

    def picked(self, futures: NDArray[np.float32]) -> Floats:
        """World futures [S, N, F, D] of what the graph gives, [S, B, K, F, D]."""
        if len(self.past) == 1:
            flat = futures.reshape(len(futures), futures.shape[2], -1).astype(np.float64)
            flat += np.concatenate([self.centre[0]] * futures.shape[3])  # long rows are faster
            return flat.reshape(len(futures), *futures.shape[2:])
        result = futures[:, *self.place].astype(np.float64)
        result += self.centre[self.place[0], None]
        return result


def learned_numbers(
    sets: Iterable[int], count: int, request: Request, size: int
) -> NDArray[np.float32]:
    """In place of noise, [S, N, ...]: first the number of each learned noise among all sets."""
    numbers = np.zeros((count, len(request.keys), size), np.float32)
    first = sum(one for one in sets if one < count)
    numbers[..., 0] = np.arange(first, first + count)[:, None]
    return numbers


def most_at_once(past: Floats, samples: int, by_scenes: bool) -> int:
    """How many targets of pasts [B, A, T, D], or scenes, one call of a graph shall compute."""
    agents: int = max(1, past.shape[1])
    rows = ROWS // max(1, min(samples, ROWS))
    return max(1, rows // agents if by_scenes else min(rows, PAIRS // agents))


def cut(target: Bools, most: int, by_scenes: bool) -> Iterator[tuple[Bools, slice]]:
    """The N targets [B, A] in parts: who is a target, and which of the N they are."""
    if by_scenes:
        ends = target.sum(1).cumsum()
        bounds = [0, *ends[most - 1 : -1 : most].tolist(), int(ends[-1])]
    else:
        count = int(target.sum())
        bounds = [*range(0, count, most), count]
    whole = bounds[-1]
    place = None
    for first, last in pairwise(bounds):
        if last - first == whole:
            yield target, slice(0, whole)
        elif last > first:
            place = np.nonzero(target) if place is None else place
            some = np.zeros_like(target)
            some[place[0][first:last], place[1][first:last]] = True
            yield some, slice(first, last)


def _pruned(past: Floats, most: int, limit: int) -> Floats:
    """Pasts [B, A, T, D] without agents who are among nobody's nearest ones."""
    seen = np.asarray(np.isfinite(past).all(-1))
    crowded = past.shape[1] > most + limit
    keep = _near(past, seen, most, limit) if crowded else seen_now(seen).copy()
    keep[:, :most] = True
    counts = keep.sum(1)
    width = max(int(counts.max(initial=0)), 1)
    if width == past.shape[1]:
        return past
    if len(past) == 1:
        return past[:, keep[0]]
    order = np.argsort(~keep, 1, kind="stable")[:, :width]
    kept = np.take_along_axis(past, order[:, :, None, None], 1)
    return np.where((np.arange(width) < counts[:, None])[..., None, None], kept, np.nan)


def nearest(here: Floats, most: int, limit: int) -> Bools | None:
    """Who is among the first agents of one scene or may be a neighbor of one of them, [A].

    Args:
        here: Where the agents are now, [A, D]; NaN for who is not seen.
        most: How many first agents there are.
        limit: Neighbors each of them attends to, fewer than there are others.

    Returns:
        None if that is not known: one of the first agents, or too many others, are not seen.
    """
    places = here.T.copy()  # long rows are faster
    delta = places[:, None] - places[:, :most, None]
    square = np.square(delta, out=delta).sum(0)
    last = np.partition(square, limit, -1)[:, limit, None]
    bound = last * (SLACK + 2e-10) + 2e-10 * np.square(places[:, :most]).sum(0)[:, None]
    if not math.isfinite(bound.sum()):
        return None
    keep = np.asarray((square <= bound).any(0))
    keep[:most] = True
    return keep


def _near(past: Floats, seen: Bools, most: int, limit: int) -> Bools:
    """Whether an agent may be among the nearest of a target, [B, A]."""
    here = _present(past, seen)
    delta = here[:, None] - here[:, :most, None]
    square = np.einsum("...d,...d->...", delta, delta)
    square = np.where(seen_now(seen)[:, None], square, np.inf)
    # One more than the limit: each is its own nearest one.
    last = np.partition(square, limit, -1)[..., limit : limit + 1]
    scale = np.square(here).max(initial=0.0) * 1e-10
    return np.asarray((np.isfinite(square) & (square <= last * SLACK + scale)).any(1))


def _present(past: Floats, seen: Bools) -> Floats:
    """Where agents are now, [B, A, D]: those lost from sight went on as before."""
    if seen[..., -1].all():
        return past[..., -1, :]
    steps = np.arange(past.shape[2])
    last = np.where(seen, steps, -1).max(-1)
    before = np.where(seen & (steps < last[..., None]), steps, -1).max(-1)
    there, earlier = (
        np.take_along_axis(past, np.maximum(one, 0)[..., None, None], 2)[..., 0, :]
        for one in (last, before)
    )
    there = np.nan_to_num(there)
    gap = np.where(before >= 0, last - before, 1)[..., None]
    moved = np.where((before >= 0)[..., None], there - earlier, 0) / gap
    return np.asarray(there + moved * (len(steps) - 1 - last)[..., None])
