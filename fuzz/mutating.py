"""Random changes of inputs, for the tests and where atheris is not installed."""

import random
import time
from collections.abc import Callable, Sequence

MAX_CHANGES = 4


def fuzz(
    check: Callable[[bytes], None],
    seeds: Sequence[bytes],
    words: Sequence[bytes],
    *,
    seconds: float,
    seed: int = 0,
) -> int:
    """Call `check` with changed inputs until the time is up; the number of calls.

    Args:
        check: Raises if an input is not handled.
        seeds: Initial inputs; each is first tried unchanged.
        words: Byte strings that are inserted into inputs.
        seconds: Elapsed time.
        seed: Seed of the random changes.
    """
    rng = random.Random(seed)
    end, calls = time.monotonic() + seconds, 0
    for data in seeds:
        check(data)
        calls += 1
    while time.monotonic() < end:
        check(mutate(rng.choice(seeds), words, rng))
        calls += 1
    return calls


def mutate(data: bytes, words: Sequence[bytes], rng: random.Random) -> bytes:
    """Change an input at a few random places."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, MAX_CHANGES)):
        start, size = rng.randint(0, len(raw)), rng.randint(0, 16)
        kind = rng.randrange(5)
        if kind == 0 and raw:
            raw[start % len(raw)] = rng.randrange(256)
        elif kind == 1:
            del raw[start : start + size]
        elif kind == 2:
            raw[start:start] = rng.choice(words)
        elif kind == 3:
            raw[start : start + size] = rng.choice(words)
        else:
            raw[start:start] = raw[start : start + size] * rng.randint(1, 9)
    return bytes(raw)
