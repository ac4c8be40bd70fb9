"""Random changes of inputs, where atheris is not installed and for the short run of the tests."""

import random
import time
from collections.abc import Callable, Sequence

MOST = 4


def fuzz(
    check: Callable[[bytes], None],
    seeds: Sequence[bytes],
    words: Sequence[bytes],
    *,
    seconds: float,
    seed: int = 0,
) -> int:
    """Call `check` with changed seeds until the time is up; returns how often.

    Args:
        check: Raises if an input is not handled.
        seeds: Inputs to begin with; each is tried as it is first.
        words: What is put into inputs.
        seconds: Time on the clock.
        seed: What all chance is drawn from.
    """
    chance = random.Random(seed)
    end, tried = time.monotonic() + seconds, 0
    for each in seeds:
        check(each)
        tried += 1
    while time.monotonic() < end:
        check(changed(chance.choice(seeds), words, chance))
        tried += 1
    return tried


def changed(data: bytes, words: Sequence[bytes], chance: random.Random) -> bytes:
    """An input with a few random changes."""
    raw = bytearray(data)
    for _ in range(chance.randint(1, MOST)):
        place, size = chance.randint(0, len(raw)), chance.randint(0, 16)
        kind = chance.randrange(5)
        if kind == 0 and raw:
            raw[place % len(raw)] = chance.randrange(256)
        elif kind == 1:
            del raw[place : place + size]
        elif kind == 2:
            raw[place:place] = chance.choice(words)
        elif kind == 3:
            raw[place : place + size] = chance.choice(words)
        else:
            raw[place:place] = raw[place : place + size] * chance.randint(1, 9)
    return bytes(raw)
