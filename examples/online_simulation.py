"""Simulate people who come and go, at 20 observations a second, and count missed deadlines.

    python examples/online_simulation.py RUN --minutes 10
    python examples/online_simulation.py RUN --minutes 10 --hog 4

RUN is a run folder or an exported model (.onnx). Timestamps jitter, and some observations are
missing or late. A deadline is missed if the forecast is ready later than the deadline after the
moment at which the observation was due, whatever the cause. `--hog N` keeps N processors busy.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from simulated_street import PERIOD, Street

from trajflow import OnlineForecast, OnlinePredictor

WARM_UP = 0.1
"""Share of the time after which memory must not grow."""
BUSY = """
import os
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
while True:
    pass
"""
"""What busy processes run: they do not inherit a real-time priority."""
FLAGS = ("late", "fewer_samples", "fallback", "stale")


@dataclass
class Statistics:
    """Counts over all forecasts, in arrays of constant size so that memory does not grow."""

    ticks: int
    milliseconds: np.ndarray = field(init=False)
    samples: np.ndarray = field(init=False)
    flags: Counter = field(default_factory=Counter)
    agents: int = 0
    forecasts: int = 0

    def __post_init__(self) -> None:
        self.milliseconds, self.samples = np.zeros(self.ticks), np.zeros(self.ticks, int)

    def add(self, result: OnlineForecast, missed: bool) -> None:
        """Count a forecast, and whether it missed its deadline."""
        self.milliseconds[self.forecasts] = 1e3 * result.seconds
        self.samples[self.forecasts] = 0 if result.fallback else len(result.forecast.samples)
        self.flags.update({name: int(getattr(result, name)) for name in FLAGS})
        self.flags["missed"] += int(missed)
        self.agents += len(result.ids)
        self.forecasts += 1

    def summary(self) -> dict[str, object]:
        """Counts, latency and samples of all forecasts."""
        latency, samples = (a[: self.forecasts] for a in (self.milliseconds, self.samples))
        p50, p99 = np.percentile(latency, (50, 99))
        return {
            "forecasts": self.forecasts,
            "skipped": self.ticks - self.forecasts,
            **self.flags,
            "ms": {"p50": p50, "p99": p99, "max": latency.max()},
            "samples": {
                "mean": samples.mean(),
                "p1": np.percentile(samples, 1),
                "min": int(samples.min()),
            },
            "agents": self.agents / self.forecasts,
        }


@dataclass(frozen=True)
class ProcessUsage:
    """Resident memory in MB, open files and threads of this process (Linux)."""

    megabytes: float
    files: int
    threads: int

    @classmethod
    def now(cls) -> "ProcessUsage":
        """The present usage."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        counts = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
        return cls(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, *counts)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run processes that use all the processor time they get."""
    loop = [sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(loop) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def load(path: str):
    """The predictor of a run folder, with one thread, or of an exported model."""
    from trajflow import Predictor

    if not path.endswith(".onnx"):
        import torch

        torch.set_num_threads(1)
    return Predictor.load(path)


def simulate(online: OnlinePredictor, street: Street, ticks: int, real: bool) -> dict[str, object]:
    """Forecast all agents at every tick; in real time, skip ticks that are already over."""
    statistics, start = Statistics(ticks), time.monotonic()
    deadline, warm = online.deadline or PERIOD, None
    for tick in range(ticks):
        due = start + tick * PERIOD if real else time.monotonic()
        time.sleep(max(due - time.monotonic(), 0))
        for observation in street.step(tick):
            online.push(*observation)
        if tick >= WARM_UP * ticks and warm is None:
            warm = ProcessUsage.now()
        if real and time.monotonic() > due + PERIOD and tick + 1 < ticks:
            continue
        result = online.forecast()
        statistics.add(result, missed=time.monotonic() - due > deadline)
    return statistics.summary() | {
        "seconds": time.monotonic() - start,
        "people": street.total,
        "dropped": online.dropped,
        "warm": asdict(warm or ProcessUsage.now()),
        "end": asdict(ProcessUsage.now()),
    }


def to_text(results: dict) -> str:
    """The results as lines of text."""
    count, options, ms = results["forecasts"], results["settings"], results["ms"]
    samples, warm, end = results["samples"], results["warm"], results["end"]
    load = results["load"]
    share = {name: results[name] / count for name in ("missed", "fewer_samples", "fallback")}
    return "\n".join(
        [
            f"{count} forecasts of {results['agents']:.1f} agents in {results['seconds']:.0f} s, "
            f"{results['people']} people, {options['hog']} busy processes, load "
            f"{load['before']:.1f} before and {load['after']:.1f} after",
            f"missed deadlines of {options['deadline']:g} ms: {results['missed']} "
            f"({share['missed']:.2%}), late forecasts {results['late']}, "
            f"skipped {results['skipped']}",
            f"latency: p50 {ms['p50']:.1f} ms, p99 {ms['p99']:.1f} ms, max {ms['max']:.1f} ms",
            f"samples: mean {samples['mean']:.1f}, p1 {samples['p1']:.0f}, min {samples['min']}; "
            f"fewer than {options['samples']} in {share['fewer_samples']:.1%}, "
            f"constant velocity in {share['fallback']:.2%}",
            f"memory: {warm['megabytes']:.1f} MB after warm-up, {end['megabytes']:.1f} MB at the "
            f"end; files {warm['files']} and {end['files']}, "
            f"threads {warm['threads']} and {end['threads']}",
            "dropped: " + ", ".join(f"{n} {name}" for name, n in results["dropped"].items()),
        ]
    )


def main() -> None:
    """Simulate, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("run", help="run folder or .onnx file")
    add("--minutes", type=float, default=10.0, help="simulated time; 10")
    add("--agents", type=int, default=50, help="people on the street; 50")
    add("--samples", type=int, default=20, help="futures of each agent; 20")
    add("--deadline", type=float, default=50.0, help="milliseconds; 50")
    add("--hog", type=int, default=0, help="busy processes beside; 0")
    add("--seed", type=int, default=0, help="random seed; 0")
    add("--faster-than-real-time", action="store_true", help="do not wait between ticks")
    add("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    ticks, before = max(round(options.minutes * 60 / PERIOD), 1), os.getloadavg()[0]
    predictor = load(options.run)
    with busy_processes(options.hog):
        online = OnlinePredictor(predictor, samples=options.samples, deadline_ms=options.deadline)
        street = Street(options.agents, options.seed)
        gc.collect()
        gc.freeze()  # otherwise garbage collection of torch's objects sometimes takes 100 ms
        results = simulate(online, street, ticks, real=not options.faster_than_real_time)
    results |= {"settings": vars(options)}
    results |= {"load": {"before": before, "after": os.getloadavg()[0]}}
    print(json.dumps(results) if options.json else to_text(results))


if __name__ == "__main__":
    main()
