"""A control loop of 20 Hz: push observations, and forecast before a deadline.

    python examples/loop_20hz.py RUN [SECONDS]

Replace `Street` with your sensor, and the `print` with your planner.
"""

import gc
import sys
import time

import torch
from simulated_street import PERIOD, Street

from trajflow import OnlinePredictor, Predictor

torch.set_num_threads(1)  # two threads are faster on average, but sometimes late
online = OnlinePredictor(Predictor.load(sys.argv[1]), samples=20, deadline_ms=40)
gc.freeze()  # otherwise garbage collection of torch's objects sometimes takes 100 ms
sensor = Street(people=12, seed=0)
ticks = round(float(sys.argv[2]) / PERIOD) if len(sys.argv) > 2 else 200
start = time.monotonic()

for tick in range(ticks):
    time.sleep(max(start + tick * PERIOD - time.monotonic(), 0))
    for timestamp, ids, positions in sensor.step(tick):  # seconds, ids, metres [A, 2]
        online.push(timestamp, ids, positions)

    result = online.forecast()
    if result.stale or result.late:
        continue  # without a valid forecast: slow down
    futures = result.forecast.samples  # [S, A, F, 2], in steps of result.forecast.dt seconds
    trusted = ~result.constant_velocity & (result.age < 0.5)
    if tick % 20 == 0:
        spread = result.forecast.spread()[trusted].max(initial=0)
        print(
            f"{result.time:6.2f} s: {len(result.ids)} agents, {trusted.sum()} of them with "
            f"{len(futures)} samples each, largest spread {spread:.1f} m, "
            f"in {1e3 * result.seconds:.1f} ms"
        )
