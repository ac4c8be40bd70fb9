"""Whether a loop keeps its deadline: people come and go, 20 observations a second, in real time.

    python examples/online_simulation.py RUN --minutes 10
    python examples/online_simulation.py RUN --minutes 10 --hog 4

RUN is a run folder, or an exported model, .onnx. Stamps jitter, some observations are
missing and some come late. A tick is missed where its forecast is later than the deadline after
the moment at which the observation was due, whoever is to blame. `--hog N` lets N processes spin
meanwhile.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from simulated_street import PERIOD, Street

from trajflow import OnlineForecast, OnlinePredictor

SETTLED = 0.1
"""Share of the time after which memory shall grow no more."""


@dataclass
class Diary:
    """What came of each tick, in numbers that take no room as time goes on."""

    ticks: int
    milliseconds: np.ndarray = field(init=False)
    samples: np.ndarray = field(init=False)
    flags: dict[str, int] = field(default_factory=dict)
    agents: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self.milliseconds, self.samples = np.zeros(self.ticks), np.zeros(self.ticks, int)

    def note(self, found: OnlineForecast, missed: bool) -> None:
        """Take in a forecast, and whether it missed its deadline."""
        self.milliseconds[self.done] = 1e3 * found.seconds
        self.samples[self.done] = 0 if found.fallback else len(found.forecast.samples)
        told = {
            name: getattr(found, name) for name in ("late", "fewer_samples", "fallback", "stale")
        }
        for name, one in (told | {"missed": missed}).items():
            self.flags[name] = self.flags.get(name, 0) + int(one)
        self.agents += len(found.ids)
        self.done += 1

    def summary(self) -> dict[str, object]:
        """What came of all ticks; times in milliseconds."""
        taken, drawn = self.milliseconds[: self.done], self.samples[: self.done]
        p50, p99 = np.percentile(taken, (50, 99))
        return {
            "forecasts": self.done,
            "skipped": self.ticks - self.done,
            **self.flags,
            "ms": {"p50": p50, "p99": p99, "max": taken.max()},
            "samples": {
                "mean": drawn.mean(),
                "p1": np.percentile(drawn, 1),
                "least": int(drawn.min()),
            },
            "agents": self.agents / self.done,
        }


@dataclass(frozen=True)
class Footprint:
    """What the process holds: resident memory in MB, open files, threads."""

    megabytes: float
    files: int
    threads: int

    @classmethod
    def now(cls) -> "Footprint":
        """That of this process at this moment, where there is a /proc."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        folders = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
        return cls(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, *folders)


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Processes that take all the processor time they get."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()


def load(path: str):
    """The predictor of a run folder, on one thread, or of an exported model."""
    from trajflow import Predictor

    if not path.endswith(".onnx"):
        import torch

        torch.set_num_threads(1)
    return Predictor.load(path)


def play(online: OnlinePredictor, street: Street, ticks: int, real: bool) -> dict[str, object]:
    """A forecast of everybody at every tick; ticks that are over before one is done are skipped."""
    diary, start = Diary(ticks), time.monotonic()
    deadline, begun = online.deadline or PERIOD, None
    for tick in range(ticks):
        due = start + tick * PERIOD if real else time.monotonic()
        time.sleep(max(due - time.monotonic(), 0))
        for seen in street.step(tick):
            online.push(*seen)
        if tick >= SETTLED * ticks and begun is None:
            begun = Footprint.now()
        if real and time.monotonic() > due + PERIOD and tick + 1 < ticks:
            continue
        found = online.forecast()
        diary.note(found, missed=time.monotonic() - due > deadline)
    seconds = time.monotonic() - start
    memory = {"settled": asdict(begun or Footprint.now()), "end": asdict(Footprint.now())}
    told = {"seconds": seconds, "people": street.known, "dropped": online.dropped}
    return diary.summary() | told | memory


def main() -> None:
    """Play, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--deadline", type=float, default=50.0, help="milliseconds")
    parser.add_argument("--hog", type=int, default=0, help="processes that spin meanwhile")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faster-than-real-time", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    ticks, before = max(round(given.minutes * 60 / PERIOD), 1), os.getloadavg()
    predictor = load(given.run)
    with hogs(given.hog):
        online = OnlinePredictor(predictor, samples=given.samples, deadline_ms=given.deadline)
        street = Street(given.agents, given.seed)
        gc.collect()
        gc.freeze()  # else a collection looks at all of torch now and then, for 100 ms
        found = play(online, street, ticks, real=not given.faster_than_real_time)
    found |= {"settings": vars(given), "load": {"before": before[0], "after": os.getloadavg()[0]}}
    print(json.dumps(found) if given.json else table(found))


def table(found: dict) -> str:
    """The findings in words."""
    count, asked, flags = found["forecasts"], found["settings"], found
    ms, drawn, (begin, end) = found["ms"], found["samples"], (found["settled"], found["end"])
    share = {name: flags[name] / count for name in ("missed", "late", "fewer_samples", "fallback")}
    return "\n".join(
        [
            f"{count} forecasts of {found['agents']:.1f} agents in {found['seconds']:.0f} s, "
            f"{found['people']} people, {asked['hog']} hogs, load {found['load']['before']:.1f} "
            f"before and {found['load']['after']:.1f} after",
            f"missed deadlines of {asked['deadline']:g} ms: {flags['missed']} "
            f"({share['missed']:.2%}), late answers {flags['late']}, skipped {found['skipped']}",
            f"latency: p50 {ms['p50']:.1f} ms, p99 {ms['p99']:.1f} ms, max {ms['max']:.1f} ms",
            f"samples: mean {drawn['mean']:.1f}, p1 {drawn['p1']:.0f}, least {drawn['least']}; "
            f"fewer than {asked['samples']} in {share['fewer_samples']:.1%}, "
            f"constant velocity in {share['fallback']:.2%}",
            f"memory: {begin['megabytes']:.1f} MB settled, {end['megabytes']:.1f} MB at the end; "
            f"files {begin['files']} and {end['files']}, "
            f"threads {begin['threads']} and {end['threads']}",
            "dropped: " + ", ".join(f"{n} {name}" for name, n in found["dropped"].items()),
        ]
    )


if __name__ == "__main__":
    main()
