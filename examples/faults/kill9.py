"""Kill trainings at random moments, resume them, and compare with an undisturbed training.

    python examples/faults/kill9.py [--count 200] [--seed 0] [--json]

Each training runs in a process that is killed by SIGKILL after a random time and then resumed,
until it finishes. Its weights must then have the same bytes as those of the undisturbed training.
"""

import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from fixtures import fork, make_store, train
from report import option_parser, print_report

from trajflow.errors import TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import WEIGHTS, RunFolder
from trajflow.training.checkpoint import Checkpoint
from trajflow.training.trainer import Trainer

EPOCHS = 10
STEPS_PER_EPOCH = 2
"""Each epoch ends with a validation and a checkpoint."""
progress = mmap.mmap(-1, 8)
"""Number of the last training step, shared between parent and child."""
advance = Trainer._advance


def set_progress(step: int) -> None:
    """Store the step number."""
    progress[:8] = struct.pack("<q", step)


def get_progress() -> int:
    """The stored step number."""
    return int(struct.unpack("<q", progress[:8])[0])


def advance_and_report(self: Trainer, batch: object) -> torch.Tensor:
    """A training step that stores its number where the parent can read it."""
    loss = advance(self, batch)
    set_progress(self.step)
    return loss


@dataclass
class Counts:
    """What happened so far."""

    kills: int = 0
    unreadable: int = 0
    steps_lost: int = 0
    finished: int = 0
    equal: int = 0


def digest(run: Path) -> str:
    """SHA-256 of the weights of a run."""
    return sha256((run / WEIGHTS).read_bytes()).hexdigest()


def steps_lost(run: Path) -> int:
    """Number of steps that a killed training has to repeat.

    Raises:
        TrajflowError: A file of the run cannot be read.
    """
    folder = RunFolder.open(run)
    for damage in folder.damages():
        raise TrajflowError(damage)
    folder.config, folder.read_record(), list(folder.events())
    if (run / WEIGHTS).exists():
        TorchPredictor.load(run)
    saved = Checkpoint.read(folder).progress.step if Checkpoint.exists(folder) else 0
    return get_progress() - saved if get_progress() else 0


def train_and_kill(store: Path, run: Path, delay: float | None) -> int:
    """Train or resume in a child process, and kill it after `delay` seconds; its exit code."""
    set_progress(0)
    child = fork(lambda: train(store, run, EPOCHS, run.exists()))
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Kill `--count` times and count what was lost."""
    options = option_parser(__doc__, 200).parse_args()
    torch.set_num_threads(1)
    rng, counts = random.Random(options.seed), Counts()
    Trainer._advance = advance_and_report  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        store, run = make_store(Path(place) / "fork.zarr"), Path(place) / "run"
        # Trained in this process, so that forked children need not import anything.
        train(store, Path(place) / "undisturbed", EPOCHS, False)
        expected = digest(Path(place) / "undisturbed")
        start = time.monotonic()
        train_and_kill(store, Path(place) / "timed", None)
        duration = time.monotonic() - start
        while counts.kills < options.count or run.exists():
            last = counts.kills >= options.count
            delay = None if last else rng.uniform(0, 0.7 * duration)
            code = train_and_kill(store, run, delay)
            counts.kills += code == -signal.SIGKILL
            if not run.exists():
                continue
            try:
                counts.steps_lost = max(counts.steps_lost, steps_lost(run))
            except TrajflowError as error:
                counts.unreadable += 1
                print(f"unreadable after kill {counts.kills}: {error}")
            if code == 0 or last:
                counts.finished += 1
                counts.equal += code == 0 and digest(run) == expected
                shutil.rmtree(run)
    print_report(
        {
            "kill -9": counts.kills,
            "unreadable runs": counts.unreadable,
            "most steps lost": counts.steps_lost,
            "steps between checkpoints": STEPS_PER_EPOCH,
            "finished trainings": counts.finished,
            "same sha256 as undisturbed": counts.equal,
        },
        options.json,
    )
    too_many = counts.steps_lost > STEPS_PER_EPOCH
    sys.exit(bool(counts.unreadable or too_many or counts.equal < counts.finished))


if __name__ == "__main__":
    main()
