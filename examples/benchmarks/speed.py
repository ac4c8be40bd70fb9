"""Measure training steps, sample selection, network evaluations and start-up time.

    python examples/benchmarks/speed.py [RUN|MODEL.onnx ...] [--show training,...] [--hog 4]

The cases of a section are timed in turns in one process, so their ratios are valid on a busy
machine too. Prints one JSON object. `trajflow bench` measures the latency of forecasts.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from trajflow.config import Config
from trajflow.inference.choosing import RULES
from trajflow.inference.predictor import TorchPredictor
from trajflow.latency import Case, Model, measure_latency, time_in_turns, walkers
from trajflow.models.tensors import to_tensor
from trajflow.training.setup import objective_of
from trajflow.types import Batch, scene_centres

SECTIONS = ("training", "selection", "evaluations", "start")
OBJECTIVES = (
    ("flow", 1.0, 0.0),
    ("meanflow", 0.75, 0.0),
    ("mmf", 0.75, 0.0),
    ("mmf", 0.75, 1.0),
    ("mmf", 0.5, 0.0),
    ("mmf", 0.5, 1.0),
)
"""Preset, share of r = t, lambda."""
START = """
import json, time
start = time.perf_counter()
{load}
loaded = time.perf_counter()
import numpy as np
past = np.cumsum(np.full((1, predictor.history, predictor.dims), 0.4), axis=1)
predictor.predict(past, samples=20, seed=1)
memory = next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]
called = time.perf_counter()
print(json.dumps([1e3 * (loaded - start), 1e3 * (called - loaded), int(memory) / 1024]))
"""


def main() -> None:
    """Measure the sections of `--show`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, help="run folders or .onnx files")
    parser.add_argument("--show", default=",".join(SECTIONS), help="sections; all")
    parser.add_argument("--agents", type=int, nargs="*", default=[1, 64], help="agents; 1 64")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for each case; 2")
    parser.add_argument(
        "--hog", type=int, default=0, help="busy processes for a second measurement; 0"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = [Model(path) for path in options.models] or [Model()]
    sections = {
        "training": lambda: training(options.seconds),
        "selection": lambda: selection(models, options.agents, options.seconds),
        "evaluations": lambda: evaluations(models, options.agents, options.seconds),
        "start": lambda: [start(model.path) for model in models if model.path],
    }
    report = {name: sections[name]() for name in options.show.split(",")}
    if options.hog:
        quiet = measure_latency(models, options.agents, seconds=options.seconds)
        with busy_processes(options.hog):
            busy = measure_latency(models, options.agents, seconds=options.seconds)
        for row, reference in zip(busy, quiet, strict=True):
            row["x_quiet"] = row["p50_ms"] / reference["p50_ms"]
        report["busy"] = busy
    print(json.dumps(report, indent=1))


def timed_rows(cases: list[Case], seconds: float, ratio: str) -> list[dict]:
    """Times of all cases, with the ratio of each to the first one."""
    times = time_in_turns(cases, seconds)
    return [
        case.facts | own.to_dict() | {ratio: own.ratio(times[0])}
        for case, own in zip(cases, times, strict=True)
    ]


def training(seconds: float, scenes: int = 16, agents: int = 16) -> list[dict]:
    """Time of a training step of each objective, and its ratio to that of flow matching."""
    tracks = np.stack([walkers(agents, 20, seed=seed) for seed in range(scenes)])
    zeros = np.zeros(scenes, np.int64)
    ids = np.arange(scenes * agents).reshape(scenes, agents)
    target = np.ones((scenes, agents), bool)
    batch = Batch(tracks[:, :, :8], tracks[:, :, 8:], target, zeros, zeros, ids)
    cases = [training_case(batch, *objective) for objective in OBJECTIVES]
    return timed_rows(cases, seconds, "x_flow")


def training_case(batch: Batch, preset: str, flow_ratio: float, weight: float) -> Case:
    """Training steps of the default network on one batch."""
    settings = Config.from_dict({"flow": {"preset": preset, "flow_ratio": flow_ratio}})
    objective, model = objective_of(settings.flow), Model().load(1).model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(0)
    centre = scene_centres(batch.past)
    past, future = (to_tensor(x, centre, torch.device("cpu")) for x in (batch.past, batch.future))
    target = torch.as_tensor(batch.target)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        draws = settings.train.noise_samples
        model(past, future, target, objective, weight, draws, generator).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.train.max_grad_norm)
        optimizer.step()

    return Case({"preset": preset, "r_below_t": 1 - flow_ratio, "lambda": weight}, step)


def selection(models: list[Model], agents: list[int], seconds: float) -> list[dict]:
    """Times of selection rules and learned samples, and their ratio to 20 plain samples."""
    predictor = next(model.load(1) for model in models if not model.exported)
    rules = [("plain", 20), ("plain", 400)]
    rules += [(rule, draws) for rule in RULES for draws in (400, 100)]
    rules += [("learned", 20)] if 20 in predictor.sets else []
    rows = []
    for count in agents:
        cases = [selection_case(predictor, count, rule, draws) for rule, draws in rules]
        rows += timed_rows(cases, seconds, "x_plain")
    return rows


def selection_case(predictor: TorchPredictor, agents: int, rule: str, draws: int) -> Case:
    """Forecasts with a selection rule."""
    tracks = walkers(agents + 60, predictor.history, predictor.dims)
    options = {"samples": draws} if rule == "plain" else {"select": rule, "draws": draws}

    def run() -> object:
        return predictor.predict(tracks[:agents], tracks[agents:], seed=1, **options)

    return Case({"agents": agents, "rule": rule, "draws": draws}, run)


def evaluations(models: list[Model], agents: list[int], seconds: float) -> list[dict]:
    """Time of forecasts with 1, 10 and 100 network evaluations of the same weights."""
    predictor = next(model.load(1) for model in models if not model.exported)
    rows = []
    for count in agents:
        cases = [evaluations_case(predictor, count, steps) for steps in (1, 10, 100)]
        rows += timed_rows(cases, seconds, "x_one")
    return rows


def evaluations_case(predictor: TorchPredictor, agents: int, steps: int) -> Case:
    """Forecasts with a number of evaluations."""
    tracks = walkers(agents + 60, predictor.history, predictor.dims)
    stepped = TorchPredictor(predictor.model, predictor.facts, steps=steps)
    facts = {"agents": agents, "evaluations": steps}
    return Case(facts, lambda: stepped.predict(tracks[:agents], tracks[agents:]))


def start(path: Path, rounds: int = 3) -> dict:
    """Time to import and load, time of the first call, and peak memory, in new processes."""
    backend = "onnx" if path.suffix == ".onnx" else "torch"
    load = f"from trajflow import Predictor\npredictor = Predictor.load({str(path)!r}, "
    load += f"backend={backend!r})"
    command = [sys.executable, "-c", START.format(load=load)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(rounds)
    ]
    names = ("import and load ms", "first call ms", "memory MB")
    return {"model": path.name} | dict(
        zip(names, map(statistics.median, zip(*runs, strict=True)), strict=True)
    )


BUSY = """
import os
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
while True:
    pass
"""
"""What busy processes run: they do not inherit a real-time priority."""


@contextlib.contextmanager
def busy_processes(count: int):
    """Run processes that use all the processor time they get."""
    loop = [sys.executable, "-S", "-E", "-c", BUSY]
    processes = [subprocess.Popen(loop) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()
