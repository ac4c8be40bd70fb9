"""A control loop of 20 Hz: tell what the sensor saw, ask what comes next, in time.

    python examples/loop_20hz.py RUN [SECONDS]

Put your sensor where `Street` stands and your planner where this prints.
"""

import gc
import sys
import time

import torch
from simulated_street import PERIOD, Street

from trajflow import OnlinePredictor, Predictor

torch.set_num_threads(1)  # two threads are faster on average, and late now and then
online = OnlinePredictor(Predictor.load(sys.argv[1]), samples=20, deadline_ms=40)
gc.freeze()  # else Python looks at all objects of torch now and then, for 100 ms
sensor = Street(people=12, seed=0)
start = time.monotonic()

for tick in range(round(float(sys.argv[2]) / PERIOD) if len(sys.argv) > 2 else 200):
    time.sleep(max(start + tick * PERIOD - time.monotonic(), 0))
    for stamp, ids, positions in sensor.step(tick):  # seconds, ids, metres [A, 2]
        online.push(stamp, ids, positions)

    found = online.forecast()
    if found.stale or found.late:
        continue  # plan as if nothing were known: slow down
    futures = found.forecast.samples  # [S, A, F, 2], one second is 1 / found.forecast.dt steps
    trusted = ~found.constant_velocity & (found.age < 0.5)
    if tick % 20 == 0:
        widest = found.forecast.spread()[trusted].max(initial=0)
        print(
            f"{found.time:6.2f} s: {len(found.ids)} agents, {trusted.sum()} of them forecast by "
            f"{len(futures)} samples that are {widest:.1f} m wide at most, "
            f"in {1e3 * found.seconds:.1f} ms"
        )
