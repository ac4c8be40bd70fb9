"""Training steps per second of two checkouts, taken in turns in one run.

Usage:
  git worktree add /tmp/first 8390ca7
  python examples/bench_versions.py /tmp/first . --rounds 20
  git worktree remove /tmp/first

Each checkout trains in a process of its own, on the same generated walkers, with the same settings
and one thread; a round is some steps of the one, then some of the other, so ratios hold on a busy
machine too. More settings are SECTION.NAME=VALUE words that both versions know.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = ("train.batch_size=256", "train.noise_samples=4", "train.threads=1", "train.epochs=1")
OLD_WORDS = ("train.batch=256", "train.draws=4", "train.threads=1", "train.epochs=1")
"""Names of version 0.1.0, for checkouts before they were changed."""
CROWD, HISTORY, HORIZON = 16, 8, 12


def main() -> None:
    """Run two workers in turns, and print what they did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs=2, type=Path, help="the old one and the new one")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3, help="training steps of a turn")
    parser.add_argument("--set", nargs="*", default=(), metavar="SECTION.NAME=VALUE")
    asked = parser.parse_args()
    workers = [_start(one.resolve(), asked.set) for one in asked.checkouts]
    turns = [[_turn(worker, asked.steps) for worker in workers] for _ in range(asked.rounds + 1)][
        1:
    ]
    for one, seconds in zip(asked.checkouts, zip(*turns, strict=True), strict=True):
        wall, processor = (sorted(pair[k] for pair in seconds) for k in (0, 1))
        middle = len(wall) // 2
        print(
            f"{one}: {asked.steps / wall[middle]:.2f} steps/s in the middle, "
            f"{asked.steps / wall[0]:.2f} at best, "
            f"{1e3 * processor[middle] / asked.steps:.0f} ms of the processor each"
        )
    for k, what in enumerate(("wall", "processor")):
        ratios = sorted(old[k] / new[k] for old, new in turns)
        print(f"new over old, paired, {what}: {ratios[len(ratios) // 2]:.2f} times as many steps/s")
    for worker in workers:
        worker.kill()


def _start(checkout: Path, words: list[str]) -> subprocess.Popen:
    world = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    old = "noise_samples" not in (checkout / "trajflow" / "config.py").read_text()
    names = OLD_WORDS if old else WORDS
    command = [sys.executable, __file__, "--work", *names, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=checkout, env=world)


def _turn(worker: subprocess.Popen, steps: int) -> tuple[float, float]:
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    wall, processor = worker.stdout.readline().split()
    return float(wall), float(processor)


def work(words: list[str]) -> None:
    """Train as many steps as each line asks for, and say how many seconds they took."""
    import torch

    from trajflow.config import Config
    from trajflow.training.setup import new_trainer

    config = Config.load(None, words)
    facts = {"dims": 2, "dt": 0.4, "unit": "m"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = new_trainer(
            config,
            Walkers(config.train.batch_size),
            f"{folder}/run",
            {},
            facts,
            torch.device("cpu"),
        )
    count = sum(p.numel() for p in trainer.model.parameters())
    print(f"{os.getcwd()}: {count} weights", file=sys.stderr)
    batch = Walkers(config.train.batch_size).batch()
    for line in sys.stdin:
        trainer.step = trainer.total // 2
        began, busy = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            trainer._advance(batch)  # one step: what both versions call it
        print(time.perf_counter() - began, time.process_time() - busy, flush=True)


class Walkers:
    """Training data of one batch of generated walkers, as both versions take it."""

    def __init__(self, targets: int) -> None:
        self.scenes = max(1, targets // CROWD)

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
        """Scenes are small."""

    def batch(self):
        """Scenes of agents that walk nearly straight, all of which are learned from."""
        import numpy as np

        from trajflow.types import Batch

        rng = np.random.default_rng(0)
        shape = (self.scenes, CROWD, 1, 2)
        steps = np.arange(HISTORY + HORIZON)[:, None]
        swerve = rng.normal(0, 0.03, (*shape[:2], len(steps), 2)).cumsum(2)
        tracks = rng.uniform(0, 20, shape) + rng.normal(0, 0.35, shape) * steps + swerve
        zeros = np.zeros(self.scenes, np.int64)
        return Batch(
            past=tracks[:, :, :HISTORY],
            future=tracks[:, :, HISTORY:],
            target=np.ones(shape[:2], bool),
            scene=zeros,
            start=zeros,
            agent=np.arange(self.scenes * CROWD).reshape(shape[:2]),
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2:])
    else:
        main()
