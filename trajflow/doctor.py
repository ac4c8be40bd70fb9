"""Checks a run folder, and the machine."""

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from trajflow.datasets.doctor import Finding, worst_first
from trajflow.errors import TrajflowError
from trajflow.manifest import Manifest
from trajflow.runs import RunFolder

# With fewer free bytes, a training may fill the disk.
MIN_FREE = 1 << 30


def is_run(path: Path) -> bool:
    """Whether a folder is a run, damaged or not."""
    return any((path / name).is_file() for name in ("config.toml", "run.json", "manifest.json"))


def check_run(path: Path) -> list[Finding]:
    """Compare every file of a run with its digest, and load settings, weights and checkpoint."""
    return worst_first([*_check_files(path), *_check_loading(path)])


def check_machine(place: Path) -> list[Finding]:
    """Check installation, device, threads and free disk space."""
    return worst_first([_install(), _device(), _threads(), _disk(place)])


def _check_files(path: Path) -> Iterator[Finding]:
    try:
        damages = RunFolder(path).damages()
        files = len(Manifest.read(path).files)
    except TrajflowError as error:
        yield Finding("error", "files", str(error))
        return
    for damage in damages:
        yield Finding("error", "files", damage)
    if not damages and files:
        yield Finding("ok", "files", f"all {files} listed files are intact")
    if not files:
        yield Finding("note", "files", "made by a version without a list of files")


def _check_loading(path: Path) -> Iterator[Finding]:
    from trajflow.inference.predictor import TorchPredictor
    from trajflow.training.checkpoint import Checkpoint, OtherVersion

    def settings() -> str:
        folder = RunFolder.open(path)
        counts = (folder.config.model.encoder, len(folder.read_record()), len([*folder.events()]))
        return "encoder {}, {} facts, {} events".format(*counts)

    def weights() -> str:
        predictor = TorchPredictor.load(path)
        extras = [("regions", predictor.calibration), ("OOD detector", predictor.detector)]
        more = [name for name, extra in extras if extra is not None] + [
            f"a set of {count}" for count in predictor.sets
        ]
        return f"of step {predictor.facts.get('step', '?')}, with {', '.join(more) or 'no more'}"

    def checkpoint() -> str:
        folder = RunFolder(path)
        if not Checkpoint.exists(folder):
            return "none; `trajflow train --resume` begins anew"
        return f"of step {Checkpoint.read(folder).progress.step}"

    for code, load in (("settings", settings), ("weights", weights), ("checkpoint", checkpoint)):
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield Finding("ok", code, load())
            for warning in caught:
                yield Finding("warning", code, str(warning.message))
        except OtherVersion as error:
            yield Finding("note", code, str(error))
        except TrajflowError as error:
            yield Finding("error", code, str(error))


def _install() -> Finding:
    from importlib.metadata import version

    from trajflow import __version__

    parts = [f"{name} {version(name)}" for name in ("torch", "numpy", "zarr", "safetensors")]
    text = f"trajflow {__version__} on Python {platform.python_version()}, {', '.join(parts)}"
    return Finding("ok", "install", text)


def _device() -> Finding:
    from trajflow.models.tensors import device_of

    device = device_of("auto")
    return Finding("ok", "device", f"{device}, {platform.processor() or platform.machine()}")


def _threads() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{cores} processors, load {busy:.1f}, OMP_NUM_THREADS={threads or 'unset'}"
    if threads.isdigit() and cores and int(threads) > cores:
        return Finding("warning", "threads", f"{text}: more threads than processors are slow")
    if cores and busy > cores:
        return Finding("note", "threads", f"{text}: other work shares them; timings mean little")
    return Finding("ok", "threads", text)


def _disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GiB free at {place}"
    return Finding("ok" if free >= MIN_FREE else "warning", "disk", text)
