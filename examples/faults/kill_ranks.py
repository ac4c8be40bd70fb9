"""Kill one process of a training in several at random moments, go on, and compare.

torchrun starts the processes. After a random time one of them, chosen at random, is killed by
SIGKILL and the training is resumed by torchrun, until it is done; then its weights must be those of
the training that was left alone, to the last bit. At last one process ends a run that two began,
and its weights are compared with those of a run in one process. Linux only: it reads /proc.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import torch
from report import arguments, tell
from tiny_run import SIZES, TIMES, make_store, train

from trajflow.errors import TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import WEIGHTS, RunFolder

EPOCHS = 100


def started(store: Path, run: Path, processes: int) -> "subprocess.Popen[bytes]":
    """A training, new or resumed, that torchrun has started."""
    words = ["-m", "trajflow", "train", str(store), "--out", str(run), "-q"]
    settings = (*SIZES, *TIMES, f"train.epochs={EPOCHS}", "train.validate_every=5")
    words += ["--resume"] if run.exists() else [w for s in settings for w in ("--set", s)]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    quiet = subprocess.DEVNULL
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *words], stdout=quiet, stderr=quiet, env=environment)


def ranks(job: int) -> list[int]:
    """The processes that torchrun has started."""
    children = Path(f"/proc/{job}/task/{job}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children]


def digest(run: Path) -> str:
    """What the weights of a run are."""
    return sha256((run / WEIGHTS).read_bytes()).hexdigest()


def apart(one: Path, other: Path) -> float:
    """How far the weights of two runs are from each other, over how long they are."""
    models = [TorchPredictor.load(run).model for run in (one, other)]
    a, b = (torch.cat([p.detach().flatten() for p in model.parameters()]) for model in models)
    return float((a - b).norm() / a.norm())


def main() -> None:
    """Kill as often as the command line says."""
    options = arguments(20, __doc__ or "")
    chance = random.Random(options.seed)
    kills = damaged = ended = equal = 0
    with tempfile.TemporaryDirectory() as place:
        store, run = make_store(Path(place) / "fork.zarr"), Path(place) / "run"
        alone = Path(place) / "alone"
        began = time.monotonic()
        started(store, alone, 2).wait()
        whole = time.monotonic() - began
        while kills < options.count or run.exists():
            job = started(store, run, 2)
            if kills < options.count:
                time.sleep(chance.uniform(0.2, 1) * whole)
                if job.poll() is None and (children := ranks(job.pid)):
                    os.kill(chance.choice(children), signal.SIGKILL)
                    kills += 1
            code = job.wait()
            if not run.exists():
                continue
            try:
                damaged += len(RunFolder.open(run).damages())
                list(RunFolder.open(run).events())
            except TrajflowError as error:
                damaged += 1
                print(f"after kill {kills}: {error}")
            if code == 0:
                ended += 1
                equal += digest(run) == digest(alone)
                shutil.rmtree(run)
        one = Path(place) / "one"
        train(store, one, EPOCHS, False, "train.validate_every=5")
        job = started(store, run, 2)
        while not (run / WEIGHTS).exists():
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGINT)
        job.wait()
        stopped = list(RunFolder.open(run).events())[-1]["reason"] == "stopped"
        train(store, run, EPOCHS, True)
        distance = apart(one, run)
    tell(
        {
            "kill -9 of a process": kills,
            "damaged": damaged,
            "trainings ended": ended,
            "same sha256 as untouched": equal,
            "Ctrl-C saved": stopped,
            "from 2 processes to 1, relative": f"{distance:.1e}",
        },
        options.json,
    )
    raise SystemExit(bool(damaged or equal < ended or not stopped or distance > 1e-6))


if __name__ == "__main__":
    main()
