"""Flip, cut or delete at random in a run folder and its exports: somebody names the file.

Each fault hits one file: the settings, the record, the events, the weights, the checkpoint or the
manifest of a finished run, or a model that was exported from it. Who reads that file must refuse it
by name, and for what belongs to the run so must the check of the whole folder.
"""

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from report import arguments, tell
from tiny_run import make_store, run, train

from trajflow.doctor import check_run
from trajflow.errors import TrajflowError
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import RunFolder
from trajflow.training.checkpoint import Checkpoint

Readers = dict[str, Callable[[Path], object]]
RUN: Readers = {
    "config.toml": lambda run: RunFolder.open(run).config,
    "run.json": lambda run: RunFolder.open(run).read_record(),
    "events.jsonl": lambda run: list(RunFolder(run).events()),
    "weights.safetensors": TorchPredictor.load,
    "resume.safetensors": lambda run: Checkpoint.read(RunFolder(run)),
    "manifest.json": TorchPredictor.load,
}
EXPORTS: Readers = {
    "model.onnx": lambda folder: OnnxPredictor.load(folder / "model.onnx"),
}
WAYS = ("flip", "cut", "delete")


def damage(path: Path, how: str, chance: random.Random) -> None:
    """Flip a bit of a file, cut it short or delete it."""
    content = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
        return
    if how == "cut":
        del content[chance.randrange(len(content)) :]
    else:
        position = chance.randrange(8 * len(content))
        content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)


def named(folder: Path, name: str) -> bool:
    """Whether the reader of a file names it, and the check of its folder if it is one of a run."""
    try:
        (RUN | EXPORTS)[name](folder)
    except TrajflowError as error:
        said = [one.message for one in check_run(folder) if one.level == "error"]
        return name in str(error) and (name in EXPORTS or any(name in each for each in said))
    return False


def broken(whole: Path, readers: Readers, count: int, seed: int) -> dict[str, int]:
    """Damage copies of a folder, one file each, and count."""
    chance, done = random.Random(seed), dict.fromkeys(WAYS, 0)
    silent = 0
    for number in range(count):
        place, name = whole.with_name(f"copy{number}"), chance.choice(sorted(readers))
        shutil.copytree(whole, place)
        how = chance.choice(WAYS)
        damage(place / name, how, chance)
        done[how] += 1
        if not named(place, name):
            silent += 1
            print(f"silent: {how} in {name}, fault {number} of seed {seed}")
        shutil.rmtree(place)
    return {"faults": count, **done, "silent or not named": silent}


def main() -> None:
    """Damage as often as asked, a run and then its exports."""
    asked = arguments(200, __doc__ or "")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        train(make_store(Path(place) / "fork.zarr"), whole, 2, False)
        if any(one.level != "ok" for one in check_run(whole)):
            raise SystemExit("the run is not well before it is damaged")
        told = {"run": broken(whole, RUN, asked.count, asked.seed)}
        for name in EXPORTS:
            run(["export", str(whole), "-o", str(whole / name)])
        for name, read in EXPORTS.items():
            read(whole)
            told[name] = broken(whole, {name: read}, asked.count, asked.seed)
    tell({f"{what} {n}": v for what, one in told.items() for n, v in one.items()}, asked.json)
    raise SystemExit(any(one["silent or not named"] for one in told.values()))


if __name__ == "__main__":
    main()
