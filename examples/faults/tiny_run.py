"""A store and a training of seconds, in this process or in one that may be killed."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from trajflow.cli import main

SIZES = ("model.width=16", "model.decoder_width=16", "model.decoder_depth=1")
TIMES = ("train.batch_size=20", "train.samples=5", "train.threads=1")


def make_store(path: Path) -> Path:
    """A small store of the fork."""
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9"]
    run(["data", "make", "fork", "-o", str(path), "--seed", "3", *sizes])
    return path


def train(store: Path, out: Path, epochs: int, resume: bool, *more: str) -> int:
    """Train into a folder with more settings, or go on; the exit code."""
    words = ["train", str(store), "--out", str(out), "-q"]
    if resume:
        return run([*words, "--resume"])
    settings = (*SIZES, *TIMES, f"train.epochs={epochs}", *more)
    return run([*words, *(w for s in settings for w in ("--set", s))])


def run(words: Sequence[str]) -> int:
    """Run a command in this process, its results unheard; the exit code."""
    out = sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as sys.stdout:
        try:
            main(list(words))
        except SystemExit as left:
            return int(left.code or 0)
        finally:
            sys.stdout = out
    return 0


def forked(work: Callable[[], int]) -> int:
    """Do some work in a copy of this process; its number."""
    child = os.fork()
    if child:
        return child
    try:
        os._exit(work())
    except BaseException:
        traceback.print_exc()
        os._exit(70)
