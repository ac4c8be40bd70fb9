"""Predict from 8 threads with one predictor, and compare with predictions from one thread.

python examples/faults/threads.py [--count 2000] [--seed 0] [--json]
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from fixtures import random_pasts, small_predictor
from report import option_parser, print_report

THREADS = 8


def main() -> None:
    """Compare `--count` predictions bit by bit."""
    options = option_parser(__doc__, 2000).parse_args()
    torch.set_num_threads(1)
    predictor = small_predictor()

    def predict(number: int) -> np.ndarray:
        past = random_pasts(1 + number % 13, options.seed + number)
        return predictor.predict(past, samples=5, seed=number).samples

    expected = [predict(number) for number in range(options.count)]
    with ThreadPoolExecutor(THREADS) as pool:
        actual = list(pool.map(predict, range(options.count)))
    different = sum(not np.array_equal(a, b) for a, b in zip(actual, expected, strict=True))
    results: dict[str, object] = {"threads": THREADS, "predictions": options.count}
    print_report(results | {"different": different}, options.json)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
