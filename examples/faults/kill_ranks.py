"""Kill one process of a distributed training at random moments, resume it, and compare weights.

torchrun starts two processes. After a random time one of them is killed by SIGKILL, and torchrun
resumes the training, until it is done. Its weights must be bit-identical to those of an undisturbed
training. Finally, one process finishes a run that two began, and its weights are compared with
those of a run in one process. Linux only, because it reads /proc.
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
from fixtures import TINY_SETTINGS, make_store, set_options
from report import option_parser, print_report

from trajflow.errors import TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import WEIGHTS, RunFolder

SETTINGS = (*TINY_SETTINGS, "train.epochs=100", "train.validate_every=5")


def start(store: Path, run: Path, processes: int) -> "subprocess.Popen[bytes]":
    """Start a new or resumed training by torchrun."""
    words = ["-m", "trajflow", "train", str(store), "--out", str(run), "-q"]
    words += ["--resume"] if run.exists() else set_options(SETTINGS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    quiet = subprocess.DEVNULL
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *words], stdout=quiet, stderr=quiet, env=environment)


def children(job: int) -> list[int]:
    """The processes that torchrun has started."""
    text = Path(f"/proc/{job}/task/{job}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def digest(run: Path) -> str:
    """SHA-256 of the weights of a run."""
    return sha256((run / WEIGHTS).read_bytes()).hexdigest()


def relative_distance(run: Path, other: Path) -> float:
    """Distance between the weights of two runs, over their norm."""
    models = [TorchPredictor.load(one).model for one in (run, other)]
    a, b = (torch.cat([p.detach().flatten() for p in model.parameters()]) for model in models)
    return float((a - b).norm() / a.norm())


def main() -> None:
    """Kill as often as the command line says."""
    options = option_parser(__doc__, 20).parse_args()
    rng = random.Random(options.seed)
    kills = damaged = finished = equal = 0
    with tempfile.TemporaryDirectory() as folder:
        store, run = make_store(Path(folder) / "fork.zarr"), Path(folder) / "run"
        undisturbed, single = Path(folder) / "undisturbed", Path(folder) / "single"
        began = time.monotonic()
        start(store, undisturbed, 2).wait()
        duration = time.monotonic() - began
        while kills < options.count or run.exists():
            job = start(store, run, 2)
            if kills < options.count:
                time.sleep(rng.uniform(0.2, 1) * duration)
                if job.poll() is None and (processes := children(job.pid)):
                    os.kill(rng.choice(processes), signal.SIGKILL)
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
                finished += 1
                equal += digest(run) == digest(undisturbed)
                shutil.rmtree(run)
        start(store, single, 1).wait()
        job = start(store, run, 2)
        while not (run / WEIGHTS).exists():
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGINT)
        job.wait()
        stopped = list(RunFolder.open(run).events())[-1]["reason"] == "stopped"
        start(store, run, 1).wait()
        distance = relative_distance(single, run)
    print_report(
        {
            "kill -9 of a process": kills,
            "damaged": damaged,
            "trainings finished": finished,
            "bit-identical to the undisturbed one": equal,
            "Ctrl-C saved": stopped,
            "from 2 processes to 1, relative distance": f"{distance:.1e}",
        },
        options.json,
    )
    raise SystemExit(bool(damaged or equal < finished or not stopped or distance > 1e-6))


if __name__ == "__main__":
    main()
