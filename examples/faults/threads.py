"""Ask one predictor from 8 threads at once, and compare with asking it from one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from networks import crowd, small_predictor
from report import arguments, tell

THREADS = 8


def main() -> None:
    """Ask as often as asked."""
    asked = arguments(2000, __doc__ or "")
    torch.set_num_threads(1)
    predictor = small_predictor()

    def forecast(number: int) -> np.ndarray:
        past = crowd(1 + number % 13, asked.seed + number)
        return predictor.predict(past, samples=5, seed=number).samples

    alone = [forecast(number) for number in range(asked.count)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(forecast, range(asked.count)))
    other = sum(not np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    tell({"threads": THREADS, "predictions": asked.count, "other bits": other}, asked.json)
    raise SystemExit(bool(other))


if __name__ == "__main__":
    main()
