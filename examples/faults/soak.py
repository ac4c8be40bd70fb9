"""Make a million predictions in calls of different sizes: memory and open files must not grow.

    python examples/faults/soak.py [--count 1000000] [--largest 200] [--seed 0] [--json]

A prediction is the forecast of one agent; a call has 1 to 200 of them (`--largest`). In the first
calls memory grows by about 10 MB, because the allocator keeps space for each new number of agents.
Growth is therefore measured from call 1000 (and from call 5000) to the end.
"""

import sys

import numpy as np
import torch
from fixtures import random_pasts, small_predictor
from measure import process_usage
from report import option_parser, print_report

MEASURED_CALLS = (1000, 5000)
LIMIT_MB = 2.0


def main() -> None:
    """Predict, and print how much memory, files and objects have grown."""
    parser = option_parser(__doc__, 1_000_000)
    parser.add_argument("--largest", type=int, default=200, help="most agents in a call; 200")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor, rng = small_predictor(), np.random.default_rng(options.seed)
    pasts = random_pasts(options.largest, 0)
    predictions, calls, usage = 0, 0, {}
    while predictions < options.count:
        agents = int(rng.integers(1, options.largest + 1))
        predictor.predict(pasts[:agents], samples=2, seed=calls)
        predictions, calls = predictions + agents, calls + 1
        if calls in MEASURED_CALLS:
            usage[calls] = process_usage()
    end = process_usage()
    results: dict[str, object] = {"predictions": predictions, "calls": calls}
    grown = []
    for call, start in usage.items():
        memory, files, objects = (after - before for before, after in zip(start, end, strict=True))
        grown.append(memory > LIMIT_MB or files > 0)
        growth = {"MB": round(memory, 2), "files": files, "objects": objects}
        results |= {f"{name} since call {call}": value for name, value in growth.items()}
    print_report(results, options.json)
    if not grown:
        sys.exit(f"{calls} calls are too few to measure growth; give a larger --count")
    sys.exit(any(grown))


if __name__ == "__main__":
    main()
