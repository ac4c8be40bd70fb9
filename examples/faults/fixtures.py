"""Small inputs of the fault scripts: a predictor, a store, a training of seconds, a pickle."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from trajflow.cli import main
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

TINY_SETTINGS = (
    "model.width=16",
    "model.decoder_width=16",
    "model.decoder_depth=1",
    "train.batch_size=20",
    "train.samples=5",
    "train.threads=1",
)
"""Settings of a network that trains in seconds."""


class Payload:
    """An object whose pickle creates a file when loaded: a sign that foreign code was run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        """The call that unpickling makes."""
        return os.system, (f"touch '{self.canary}'",)


def small_predictor() -> TorchPredictor:
    """A predictor of 8 + 12 steps with a small random network."""
    torch.manual_seed(0)
    architecture = Architecture(8, 12, width=16, decoder_width=24, decoder_depth=1)
    model = TrajectoryModel(architecture)
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


def random_pasts(agents: int, seed: int) -> np.ndarray:
    """Random walks of the agents of one scene, [A, T, D]."""
    return np.random.default_rng(seed).normal(size=(agents, 8, 2)).cumsum(1)


def set_options(settings: Sequence[str]) -> list[str]:
    """The settings as `--set` options."""
    return [word for setting in settings for word in ("--set", setting)]


def make_store(path: Path) -> Path:
    """Generate a small store of the fork data."""
    sizes = set_options(("train=40", "val=12", "test=9"))
    run_here(["data", "make", "fork", "-o", str(path), "--seed", "3", *sizes])
    return path


def train(store: Path, out: Path, epochs: int, resume: bool) -> int:
    """Train a tiny network into a run folder, or resume its training; the exit code."""
    arguments = ["train", str(store), "--out", str(out), "-q"]
    if resume:
        return run_here([*arguments, "--resume"])
    return run_here([*arguments, *set_options((*TINY_SETTINGS, f"train.epochs={epochs}"))])


def run_here(arguments: Sequence[str]) -> int:
    """Run a trajflow command in this process without its output; the exit code."""
    stdout = sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as sys.stdout:
        try:
            main(list(arguments))
        except SystemExit as error:
            return int(error.code or 0)
        finally:
            sys.stdout = stdout
    return 0


def fork(work: Callable[[], int]) -> int:
    """Call a function in a forked process, whose exit code is what it returns; the process id."""
    child = os.fork()
    if child:
        return child
    try:
        os._exit(work())
    except BaseException:
        traceback.print_exc()
        os._exit(70)
