"""Compare the training speed of two checkouts, in turns.

    git worktree add /tmp/first COMMIT
    python examples/bench_versions.py /tmp/first . --rounds 20
    git worktree remove /tmp/first

Each checkout trains in a process of its own, on the same generated walkers, with the same settings
and one thread. In each round one trains some steps, then the other, so the ratio is valid on a busy
machine too. Both versions must know the settings.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = ("train.batch_size=256", "train.noise_samples=4", "train.threads=1", "train.epochs=1")
AGENTS, HISTORY, HORIZON = 16, 8, 12
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""glibc keeps freed memory: else steps of equal size may return and fetch it each time, or not."""


def main() -> None:
    """Run two workers in turns, and print their speeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkouts", nargs=2, type=Path, help="the old one and the new one")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each; 20")
    parser.add_argument("--steps", type=int, default=3, help="training steps in a turn; 3")
    parser.add_argument(
        "--set", nargs="*", default=(), metavar="SECTION.NAME=VALUE", help="more settings"
    )
    options = parser.parse_args()
    workers = [start_worker(path.resolve(), options.set) for path in options.checkouts]
    rounds = [[run_turn(w, options.steps) for w in workers] for _ in range(options.rounds + 1)]
    rounds = rounds[1:]  # the first one warms up
    for path, turns in zip(options.checkouts, zip(*rounds, strict=True), strict=True):
        wall, cpu = zip(*turns, strict=True)
        print(
            f"{path}: {options.steps / statistics.median(wall):.2f} steps/s (median), "
            f"{options.steps / min(wall):.2f} steps/s (best), "
            f"{1e3 * statistics.median(cpu) / options.steps:.0f} ms CPU per step"
        )
    for k, kind in enumerate(("elapsed", "CPU")):
        ratio = statistics.median(old[k] / new[k] for old, new in rounds)
        print(f"new / old, paired, by {kind} time: {ratio:.2f} times as many steps per second")
    for worker in workers:
        worker.kill()


def start_worker(checkout: Path, settings: list[str]) -> subprocess.Popen:
    """Start a process that trains with the code of a checkout."""
    environment = os.environ | MALLOC | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--worker", *SETTINGS, *settings]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, cwd=checkout, env=environment
    )


def run_turn(worker: subprocess.Popen, steps: int) -> tuple[float, float]:
    """Let a worker train some steps; elapsed and CPU seconds."""
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    wall, cpu = worker.stdout.readline().split()
    return float(wall), float(cpu)


def work(settings: list[str]) -> None:
    """For each line of stdin, train as many steps and print the elapsed and CPU seconds."""
    import torch

    from trajflow.config import Config
    from trajflow.training.setup import new_trainer

    config = Config.load(None, settings)
    data = Walkers(config.train.batch_size)
    facts = {"dims": 2, "dt": 0.4, "unit": "m"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = new_trainer(config, data, f"{folder}/run", {}, facts, torch.device("cpu"))
    count = sum(parameter.numel() for parameter in trainer.model.parameters())
    print(f"{os.getcwd()}: {count} parameters", file=sys.stderr)
    batch = data.batch()
    for line in sys.stdin:
        trainer.step = trainer.total // 2
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            trainer._advance(batch)  # one training step; the same name in all versions
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


class Walkers:
    """Training data of one batch of generated walkers, with the interface of `TrackData`."""

    def __init__(self, targets: int) -> None:
        self.scenes = max(1, targets // AGENTS)

    def steps(self, size: int) -> int:
        """Batches in an epoch."""
        return 1000

    def training(self, size: int, epoch: int, skip: int = 0):
        """The batch, once."""
        yield self.batch()

    def validation(self, size: int, limit: int):
        """The batch, once."""
        yield self.batch()

    def divide(self, neighbors: int | None) -> None:
        """Do nothing: the scenes are small."""

    def batch(self):
        """Scenes of agents that walk nearly straight; all are targets."""
        import numpy as np

        from trajflow.types import Batch

        rng = np.random.default_rng(0)
        shape = (self.scenes, AGENTS, 1, 2)
        steps = np.arange(HISTORY + HORIZON)[:, None]
        noise = rng.normal(0, 0.03, (*shape[:2], len(steps), 2)).cumsum(2)
        tracks = rng.uniform(0, 20, shape) + rng.normal(0, 0.35, shape) * steps + noise
        zeros = np.zeros(self.scenes, np.int64)
        return Batch(
            past=tracks[:, :, :HISTORY],
            future=tracks[:, :, HISTORY:],
            target=np.ones(shape[:2], bool),
            scene=zeros,
            start=zeros,
            agent=np.arange(self.scenes * AGENTS).reshape(shape[:2]),
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2:])
    else:
        main()
