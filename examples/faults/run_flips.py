"""Flip, cut or delete at random in a run folder, and see that somebody names the file.

Each fault hits one file of a finished run: the settings, the record, the events, the weights, the
checkpoint or the manifest. Who reads that file must refuse it by name, and so must the check of the
whole folder.
"""

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from report import arguments, tell
from tiny_run import make_store, train

from trajflow.cli.checking_runs import check_run
from trajflow.errors import TrajflowError
from trajflow.predictor import Predictor
from trajflow.runs import RunFolder
from trajflow.training.checkpoint import Checkpoint

READ: dict[str, Callable[[Path], object]] = {
    "config.toml": lambda run: RunFolder.open(run).config,
    "run.json": lambda run: RunFolder.open(run).read_record(),
    "events.jsonl": lambda run: list(RunFolder(run).events()),
    "weights.safetensors": Predictor.load,
    "resume.safetensors": lambda run: Checkpoint.read(RunFolder(run)),
    "manifest.json": Predictor.load,
}


def damage(path: Path, chance: random.Random) -> str:
    """Damage a file; what was done."""
    how = chance.choice(("flip", "cut", "delete"))
    content = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
        return how
    if how == "cut":
        del content[chance.randrange(len(content)) :]
    else:
        position = chance.randrange(8 * len(content))
        content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)
    return how


def named(run: Path, name: str) -> bool:
    """Whether the reader of a file and the check of its folder both name it."""
    try:
        READ[name](run)
    except TrajflowError as error:
        said = [one.message for one in check_run(run) if one.level == "error"]
        return name in str(error) and any(name in message for message in said)
    return False


def main() -> None:
    """Damage as often as asked."""
    asked = arguments(200, __doc__ or "")
    torch.set_num_threads(1)
    chance = random.Random(asked.seed)
    done = {"flip": 0, "cut": 0, "delete": 0}
    silent = 0
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        train(make_store(Path(place) / "fork.zarr"), whole, 2, False)
        if any(one.level != "ok" for one in check_run(whole)):
            raise SystemExit("the run is not well before it is damaged")
        for number in range(asked.count):
            run, name = Path(place) / f"run{number}", chance.choice(sorted(READ))
            shutil.copytree(whole, run)
            how = damage(run / name, chance)
            done[how] += 1
            if not named(run, name):
                silent += 1
                print(f"silent: {how} in {name}, fault {number} of seed {asked.seed}")
            shutil.rmtree(run)
    tell({"faults": asked.count, **done, "silent or not named": silent}, asked.json)
    raise SystemExit(bool(silent))


if __name__ == "__main__":
    main()
