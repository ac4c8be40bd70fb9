"""Damage files of a run and its export at random: the reader must name the damaged file.

    python examples/faults/run_flips.py [--count 200] [--seed 0] [--json]

Each fault flips a bit, truncates or deletes one file: the settings, record, events, weights,
checkpoint or manifest of a finished run, or a model exported from it. Reading that file must fail
with an error that names it, and for files of the run `trajflow doctor` must name it too.
"""

import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from fixtures import make_store, run_here, train
from report import option_parser, print_report

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
EXPORT: Readers = {"model.onnx": lambda folder: OnnxPredictor.load(folder / "model.onnx")}
WAYS = ("flip", "cut", "delete")


def damage(path: Path, way: str, rng: random.Random) -> None:
    """Flip a bit of a file, truncate ("cut"), empty or delete it."""
    content = bytearray(path.read_bytes())
    if way == "delete":
        path.unlink()
        return
    if way == "flip":
        position = rng.randrange(8 * len(content))
        content[position // 8] ^= 1 << position % 8
    else:
        del content[0 if way == "empty" else rng.randrange(len(content)) :]
    path.write_bytes(content)


def is_named(folder: Path, name: str) -> bool:
    """Whether reading the damaged file fails with its name, and `doctor` reports it for a run."""
    try:
        (RUN | EXPORT)[name](folder)
    except TrajflowError as error:
        errors = [one.message for one in check_run(folder) if one.level == "error"]
        return name in str(error) and (name in EXPORT or any(name in text for text in errors))
    return False


def count_silent(original: Path, readers: Readers, count: int, seed: int) -> int:
    """Damage one file in each of `count` copies of a folder; how many damages were not named."""
    rng, silent = random.Random(seed), 0
    for number in range(count):
        copy, name = original.with_name(f"copy{number}"), rng.choice(sorted(readers))
        shutil.copytree(original, copy)
        way = rng.choice(WAYS)
        damage(copy / name, way, rng)
        if not is_named(copy, name):
            silent += 1
            print(f"not named: {way} in {name}, fault {number} of seed {seed}")
        shutil.rmtree(copy)
    return silent


def main() -> None:
    """Damage a run `--count` times, and then its export."""
    options = option_parser(__doc__, 200).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        train(make_store(Path(place) / "fork.zarr"), run, 2, False)
        if any(finding.level != "ok" for finding in check_run(run)):
            sys.exit("error: doctor reports a problem of the undamaged run")
        results: dict[str, object] = {"faults": options.count}
        results["run: not named"] = count_silent(run, RUN, options.count, options.seed)
        run_here(["export", str(run), "-o", str(run / "model.onnx")])
        results["export: not named"] = count_silent(run, EXPORT, options.count, options.seed)
    print_report(results, options.json)
    sys.exit(bool(results["run: not named"] or results["export: not named"]))


if __name__ == "__main__":
    main()
