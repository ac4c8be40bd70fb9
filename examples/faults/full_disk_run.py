"""Fill a disk of 8 MiB while a run is trained, asked and exported: what was there stays whole.

Each command meets a disk without any room, the exports also one that fills up as they are written.

Needs Linux and the right to mount a tmpfs, as root or in a namespace of one's own.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from report import arguments, tell
from small_disk import fill, may_mount, small_disk
from tiny_run import SIZES, TIMES

HALF = 20_000
"""Bytes left on the disk, less than an export has."""
EVENTS = "run/events.jsonl"
"""It grows by what a refused training said first."""
TRAJFLOW = [sys.executable, "-m", "trajflow"]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [*TRAJFLOW, *map(str, words)], capture_output=True, text=True, check=False
    )


def begin_training(store: Path, run: Path, settings: list[str]) -> None:
    """Train until there are weights, and stop: an unfinished run has a checkpoint to write."""
    words = [sys.executable, "-m", "trajflow", "train", store, "--out", run, *settings]
    quiet = subprocess.DEVNULL
    training = subprocess.Popen([str(word) for word in words], stdout=quiet, stderr=quiet)
    while training.poll() is None and not (run / "weights.safetensors").exists():
        time.sleep(0.05)
    training.send_signal(signal.SIGINT)
    training.wait()


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error, or what is wrong with how a command ended."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    clear = done.returncode == 2 and len(lines) == 1 and "Traceback" not in done.stderr
    return lines[0] if clear else f"NOT CLEAR ({done.returncode}): {done.stderr[-300:]}"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder but the lock, which holds nothing."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "lock")
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in files}


def main() -> None:
    """Fill the disk at each of the jobs."""
    asked = arguments(1, __doc__ or "")
    may_mount()
    rows = {}
    with tempfile.TemporaryDirectory() as place, small_disk() as disk:
        store, run = Path(place) / "fork.zarr", disk / "run"
        sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9"]
        command("data", "make", "fork", "-o", store, "--seed", "3", *sizes)
        settings = [w for s in (*SIZES, *TIMES, "train.epochs=4000") for w in ("--set", s)]
        begin_training(store, run, settings)
        (disk / "old.onnx").write_bytes(b"the model of yesterday")
        before = digests(disk)
        new, old = disk / "new.onnx", disk / "old.onnx"
        jobs = {
            "checkpoint": (0, "train", store, "--out", run, "--resume"),
            "new run": (0, "train", store, "--out", disk / "other", *settings),
            "predict": (0, "predict", run, store, "-o", disk / "futures.csv", "--samples", "200"),
            "export": (0, "export", run, "-o", new),
            "export halfway": (HALF, "export", run, "-o", new),
            "export over": (HALF, "export", run, "-o", old, "--overwrite"),
        }
        for name, (leave, *words) in jobs.items():
            ballast = fill(disk, leave)
            rows[name] = told(command(*words))
        ballast.unlink()
        after = digests(disk)
        well = command("doctor", run, "--json")
        levels = {one["level"] for one in json.loads(well.stdout)["findings"]}
    left = sorted(after.keys() - before.keys())
    changed = [name for name in before if after.get(name) != before[name] and name != EVENTS]
    found = {**rows, "changed": changed, "left behind": left, "doctor": sorted(levels)}
    tell(found, asked.json)
    clear = all(line.startswith("error: ") for line in rows.values())
    raise SystemExit(not clear or bool(changed or left) or levels != {"ok"})


if __name__ == "__main__":
    main()
