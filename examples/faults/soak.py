"""A million predictions, in calls of different sizes: memory and open files must not grow.

Memory is compared between the first tenth of the calls, in which caches fill, and the end.
"""

import gc
import os

import numpy as np
import torch
from networks import crowd, small_predictor
from report import arguments, tell

LARGEST = 200
LIMIT = 2.0


def resident() -> float:
    """MB of memory that this process holds."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Predict as often as asked."""
    asked = arguments(1_000_000, __doc__ or "")
    torch.set_num_threads(1)
    predictor, chance = small_predictor(), np.random.default_rng(asked.seed)
    pasts = crowd(LARGEST, 0)
    predictor.predict(pasts, samples=2, seed=0)
    done, calls = 0, 0
    begun: tuple[float, int] | None = None
    while done < asked.count:
        some = int(chance.integers(1, LARGEST + 1))
        predictor.predict(pasts[:some], samples=2, seed=calls)
        done, calls = done + some, calls + 1
        if begun is None and done >= asked.count / 10:
            begun = resident(), len(os.listdir("/proc/self/fd"))
    grown, files = resident() - begun[0], len(os.listdir("/proc/self/fd")) - begun[1]
    found = {"predictions": done, "calls": calls, "MB grown": round(grown, 2), "files": files}
    tell(found, asked.json)
    raise SystemExit(grown > LIMIT or files > 0)


if __name__ == "__main__":
    main()
