"""A million predictions, in calls of different sizes: memory and open files must not grow.

A prediction is the forecast of one agent; a call asks for 1 to 200 of them (`--largest`). For some
hundred calls memory still grows, by about 10 MB: every new number of agents brings allocations of
new sizes, and the allocator keeps room for each. So what counts begins after a thousand calls; it
is told once more from the five thousandth.
"""

import gc
import os

import numpy as np
import torch
from networks import crowd, small_predictor
from report import arguments, tell

WARM = (1000, 5000)
"""Calls after which memory is looked at first."""
LIMIT = 2.0


def held() -> tuple[float, int, int]:
    """MB of memory, open files and Python's objects that this process holds."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    files = len(os.listdir("/proc/self/fd"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files, len(gc.get_objects())


def main() -> None:
    """Predict as often as asked."""
    asked = arguments(1_000_000, __doc__ or "", largest=200)
    torch.set_num_threads(1)
    predictor, chance = small_predictor(), np.random.default_rng(asked.seed)
    pasts = crowd(asked.largest, 0)
    done, calls = 0, 0
    looks = []
    while done < asked.count:
        some = int(chance.integers(1, asked.largest + 1))
        predictor.predict(pasts[:some], samples=2, seed=calls)
        done, calls = done + some, calls + 1
        if calls in WARM or done >= asked.count:
            looks.append(held())
    grown = [[now - was for now, was in zip(looks[-1], one, strict=True)] for one in looks[:-1]]
    found: dict[str, object] = {"predictions": done, "calls": calls}
    for mark, (memory, files, objects) in zip(WARM, grown, strict=False):
        told = {"MB": round(memory, 2), "files": files, "objects": objects}
        found |= {f"{what} since call {mark}": more for what, more in told.items()}
    tell(found, asked.json)
    raise SystemExit(not grown or any(m > LIMIT or files > 0 for m, files, _ in grown))


if __name__ == "__main__":
    main()
