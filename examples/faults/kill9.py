"""Kill trainings at random moments, go on, and compare with one that nobody touched.

Each training runs in a process of its own that is killed by SIGKILL, after a random time, again and
again until it is done; then its weights must be those of the training that was left alone.
"""

import mmap
import os
import random
import shutil
import signal
import struct
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import torch
from report import arguments, tell
from tiny_run import forked, make_store, train

from trajflow.errors import TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import WEIGHTS, RunFolder
from trajflow.training.checkpoint import Checkpoint
from trajflow.training.trainer import Trainer

EPOCHS = 10
reached = mmap.mmap(-1, 8)
advance = Trainer._advance


def advance_and_say(self: Trainer, batch: object) -> torch.Tensor:
    """A step whose number the parent sees, whatever becomes of the child."""
    loss = advance(self, batch)
    reached[:8] = struct.pack("<q", self.step)
    return loss


def lost(run: Path) -> int:
    """Steps that a killed training has to do again; its folder must be in order.

    Raises:
        TrajflowError: A file of the folder cannot be read.
    """
    folder = RunFolder.open(run)
    for damage in folder.damages():
        raise TrajflowError(damage)
    folder.config, folder.read_record(), list(folder.events())
    if (run / WEIGHTS).exists():
        TorchPredictor.load(run)
    saved = Checkpoint.read(folder).progress.step if Checkpoint.exists(folder) else 0
    return struct.unpack("<q", reached[:8])[0] - saved


def main() -> None:
    """Kill as often as asked."""
    asked = arguments(200, __doc__ or "")
    torch.set_num_threads(1)
    chance = random.Random(asked.seed)
    Trainer._advance = advance_and_say  # type: ignore[method-assign]
    kills = finished = equal = unreadable = most = 0
    with tempfile.TemporaryDirectory() as place:
        store, run = make_store(Path(place) / "fork.zarr"), Path(place) / "run"
        alone = Path(place) / "alone"
        train(store, alone, EPOCHS, False)  # here, so that the copies need not import anything
        began = time.monotonic()
        os.waitpid(forked(lambda: train(store, Path(place) / "timed", EPOCHS, False)), 0)
        usual = time.monotonic() - began
        wanted = sha256((alone / WEIGHTS).read_bytes()).hexdigest()
        interval = 2  # steps of an epoch, each of which ends with a validation and a checkpoint
        while kills < asked.count:
            reached[:8] = struct.pack("<q", 0)
            child = forked(lambda: train(store, run, EPOCHS, run.exists()))
            time.sleep(chance.uniform(0, 0.7 * usual))
            os.kill(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            kills += code == -signal.SIGKILL
            if not run.exists():
                continue
            try:
                most = max(most, lost(run) if struct.unpack("<q", reached[:8])[0] else 0)
            except TrajflowError as error:
                unreadable += 1
                print(f"unreadable after kill {kills}: {error}")
            if code == 0:
                finished += 1
                equal += sha256((run / WEIGHTS).read_bytes()).hexdigest() == wanted
                shutil.rmtree(run)
        if run.exists():
            code = os.waitstatus_to_exitcode(
                os.waitpid(forked(lambda: train(store, run, EPOCHS, True)), 0)[1]
            )
            finished += code == 0
            equal += sha256((run / WEIGHTS).read_bytes()).hexdigest() == wanted
    tell(
        {
            "kill -9": kills,
            "unreadable": unreadable,
            "most steps lost": most,
            "steps between checkpoints": interval,
            "trainings ended": finished,
            "same sha256 as untouched": equal,
        },
        asked.json,
    )
    raise SystemExit(bool(unreadable or most > interval or equal < finished))


if __name__ == "__main__":
    main()
