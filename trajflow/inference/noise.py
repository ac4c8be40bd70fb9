"""The noise of forecasts: a stream of random numbers for each (seed, scene, step, agent).

What one agent draws depends on no other agent, on no batch and on no order, so forecasts may be
computed in any parts, on any number of machines, by torch or from an exported model.
"""

import secrets
import threading
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trajflow.types import Batch, Bools, Ints

WORD = (1 << 64) - 1
_thread = threading.local()


def place_keys(target: Bools) -> Ints:
    """Keys of the N targets [B, A] by their places alone: scene b, step 0, agent a; [N, 3]."""
    scene, agent = np.nonzero(target)
    keys = np.zeros((len(scene), 3), np.int64)
    keys[:, 0], keys[:, 2] = scene, agent
    return keys


def batch_keys(batch: Batch) -> Ints:
    """Keys of a batch's N targets: recording, present step and agent, or names, [N, 3]."""
    scene, agent = np.nonzero(batch.target)
    present = batch.start + batch.past.shape[2] - 1
    if batch.name is not None:
        return np.stack([np.zeros_like(scene), present[scene], batch.name[scene, agent]], 1)
    return np.stack([batch.scene[scene], present[scene], batch.agent[scene, agent]], 1)


def name_keys(scenes: Sequence[str], agents: Sequence[str]) -> Ints:
    """A number for each recording and id, [N]; the same wherever they are."""
    names = (f"{scene}\0{agent}".encode() for scene, agent in zip(scenes, agents, strict=True))
    digests = b"".join(blake2b(name, digest_size=8).digest() for name in names)
    return np.frombuffer(digests, "<i8").astype(np.int64)


def normal(seed: int | None, keys: Ints, samples: int, size: int) -> NDArray[np.float32]:
    """Independent normal numbers, [S, N, size]; fewer samples are the first of more.

    Args:
        seed: Equal seeds give equal numbers; None: others each time.
        keys: Scene, step and agent of each of N agents, [N, 3].
        samples: Draws S.
        size: Numbers of one draw.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011
    (Philox).
    """
    result = np.empty((len(keys), samples, size), np.float32)
    for stream, numbers in zip(_streams(seed, keys), result, strict=True):
        stream.standard_normal(dtype=np.float32, out=numbers)
    return np.ascontiguousarray(result.swapaxes(0, 1))


def uniform(seed: int | None, keys: Ints, size: int) -> NDArray[np.float32]:
    """Independent numbers in [0, 1), [N, size], of agents with keys [N, 3]."""
    result = np.empty((len(keys), size), np.float32)
    for stream, numbers in zip(_streams(seed, keys), result, strict=True):
        stream.random(dtype=np.float32, out=numbers)
    return result


def fresh(seed: int | None) -> int:
    """The seed, or one of the system's if there is none."""
    return secrets.randbits(62) if seed is None else seed


def _streams(seed: int | None, keys: Ints) -> Iterator[np.random.Generator]:
    """One generator of this thread, set to the start of each agent's stream in turn.

    A generator for each agent would cost twice as much as its numbers.
    """
    if not hasattr(_thread, "stream"):
        bits = np.random.Philox(key=0)
        _thread.stream = bits, np.random.Generator(bits), bits.state
    bits, generator, state = _thread.stream
    start: dict[str, Any] = {}
    state["state"] = cast(Any, start)
    word = fresh(seed) & WORD
    for scene, step, agent in keys.astype(np.uint64).tolist():
        start["counter"], start["key"] = (0, 0, step, scene), (word, agent)
        bits.state = state
        yield generator
