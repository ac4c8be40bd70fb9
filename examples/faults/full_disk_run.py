"""Train, forecast and export on a full disk: existing files of the run stay as they were.

    python examples/faults/full_disk_run.py [--json]

Each command runs on a disk of 8 MiB without any space left, and the exports also on one that fills
up while they are written. Needs Linux and the right to mount a tmpfs (root or user namespaces).
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fixtures import TINY_SETTINGS, make_store, set_options
from measure import Result, run_command
from report import option_parser, print_report
from small_disk import file_digests, fill, require_mount, small_disk

PARTIAL = 20_000
"""Free bytes on the disk that fills up during an export; less than the export needs."""
EVENTS = "run/events.jsonl"
"""A refused training may have appended to it."""


def begin_training(store: Path, run: Path, settings: list[str]) -> None:
    """Train until there are weights, then stop: the unfinished run can be resumed."""
    command = [sys.executable, "-m", "trajflow", "train", store, "--out", run, *settings]
    training = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while training.poll() is None and not (run / "weights.safetensors").exists():
        time.sleep(0.05)
    training.send_signal(signal.SIGINT)
    training.wait()


def message(result: Result) -> str:
    """The error line of a refused command, or how else it ended."""
    if result.refused:
        return result.errors[0]
    return f"NOT REFUSED (exit code {result.code}): {result.stderr[-300:]}"


def main() -> None:
    """Run each command on a full disk."""
    options = option_parser(__doc__).parse_args()
    require_mount()
    messages = {}
    with tempfile.TemporaryDirectory() as place, small_disk() as disk:
        store, run = make_store(Path(place) / "fork.zarr"), disk / "run"
        settings = set_options((*TINY_SETTINGS, "train.epochs=4000"))
        begin_training(store, run, settings)
        old, new = disk / "old.onnx", disk / "new.onnx"
        old.write_bytes(b"an existing file")
        before = file_digests(disk)
        commands: dict[str, tuple[int, list[object]]] = {
            "checkpoint": (0, ["train", store, "--out", run, "--resume"]),
            "new run": (0, ["train", store, "--out", disk / "other", *settings]),
            "predict": (
                0,
                ["predict", run, store, "-o", disk / "futures.csv", "--samples", "200"],
            ),
            "export": (0, ["export", run, "-o", new]),
            "export, disk fills up": (PARTIAL, ["export", run, "-o", new]),
            "export over": (PARTIAL, ["export", run, "-o", old, "--overwrite"]),
        }
        for name, (free, arguments) in commands.items():
            ballast = fill(disk, free)
            messages[name] = message(run_command(arguments))
        ballast.unlink()
        after = file_digests(disk)
        findings = json.loads(run_command(["doctor", run, "--json"]).stdout)["findings"]
    levels = sorted({finding["level"] for finding in findings})
    created = sorted(after.keys() - before.keys())
    changed = [name for name in before if after.get(name) != before[name] and name != EVENTS]
    state = {"changed files": changed, "new files": created, "doctor": levels}
    print_report({**messages, **state}, options.json)
    refused = all(line.startswith("error: ") for line in messages.values())
    sys.exit(not refused or bool(changed or created) or levels != ["ok"])


if __name__ == "__main__":
    main()
