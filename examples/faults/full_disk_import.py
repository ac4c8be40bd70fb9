"""Import tracks onto a full disk: no partial store is left, and existing stores stay unchanged.

    python examples/faults/full_disk_import.py [--json]

On a file system of 8 MiB, with less and less space left, a table is imported to a new path and over
an existing store, data are generated, and a damaged store is repaired. Each command must either
succeed or end with exit code 2 and one error line, leave nothing next to its output, and leave the
disk byte for byte as it was if it failed. Then the same on a read-only disk.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import run_command
from report import option_parser, print_report
from small_disk import file_digests, fill, require_mount, small_disk

FREE_BYTES = (0, 4096, 100_000, 400_000, 800_000, 1_200_000, 2_000_000, 6_000_000)
"""Space left on the disk; the import of the table takes about a million bytes."""
READ_ONLY = -1


@dataclass(frozen=True)
class Trial:
    """One command on a full disk."""

    command: str
    free: int
    code: int
    message: str
    problems: list[str]


def write_table(path: Path, agents: int = 60, steps: int = 200) -> Path:
    """Write a table of walkers, whose store takes about half a megabyte."""
    rows = ["agent,time,x,y"]
    for agent in range(agents):
        for step in range(steps):
            x, y = 0.4 * step + agent * 0.77, (agent * 31 + step * step) % 97 * 0.011 + agent
            rows.append(f"{agent},{0.4 * step:.1f},{x:.6f},{y:.6f}")
    path.write_text("\n".join(rows) + "\n")
    return path


def commands(disk: Path, table: Path, damaged: Path) -> dict[str, list[str]]:
    """Commands that write `new.zarr` or replace `old.zarr`."""
    importing = ["data", "import", "table", str(table), "-o"]
    return {
        "import": [*importing, str(disk / "new.zarr")],
        "import over": [*importing, str(disk / "old.zarr"), "--overwrite"],
        "make": ["data", "make", "fork", "-o", str(disk / "new.zarr"), "--set", "train=3000"],
        "repair": ["data", "check", str(damaged), "--repair", str(disk / "new.zarr")],
    }


def try_all(disk: Path, table: Path, damaged: Path, original: Path, free: int) -> Iterator[Trial]:
    """Run every command; afterwards the disk is as before."""
    for name, arguments in commands(disk, table, damaged).items():
        before = file_digests(disk)
        result = run_command(arguments)
        problems = []
        if result.code == 0:
            target = disk / ("old.zarr" if name == "import over" else "new.zarr")
            check = run_command(["data", "check", target])
            problems += [] if check.code == 0 else [f"incomplete store: {check.stdout}"]
        else:
            problems += [] if result.refused else [f"stderr {result.stderr[-500:]}"]
            problems += [] if file_digests(disk) == before else ["the disk has changed"]
        names = {path.name for path in disk.iterdir()} - {"old.zarr", "new.zarr", "ballast"}
        problems += [f"left {name}" for name in sorted(names)]
        yield Trial(name, free, result.code, "".join(result.errors[:1]), problems)
        if file_digests(disk) != before:
            shutil.rmtree(disk / "new.zarr", ignore_errors=True)
            shutil.rmtree(disk / "old.zarr")
            shutil.copytree(original, disk / "old.zarr")


def main() -> None:
    """Run the commands with less and less space; exit code 1 if any had a problem."""
    options = option_parser(__doc__).parse_args()
    require_mount()
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder, small_disk() as disk:
        place = Path(folder)
        table, small = write_table(place / "t.csv"), write_table(place / "s.csv", 3)
        damaged, original = place / "damaged.zarr", place / "old.zarr"
        run_command(["data", "import", "table", table, "-o", damaged])
        (damaged / "seal" / "zarr.json").unlink()
        run_command(["data", "import", "table", small, "-o", original])
        shutil.copytree(original, disk / "old.zarr")
        for free in FREE_BYTES:
            fill(disk, free)
            trials += try_all(disk, table, damaged, original, free)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        trials += try_all(disk, table, damaged, original, READ_ONLY)
    failed = sum(bool(trial.problems) for trial in trials)
    results: dict[str, object] = {
        "commands": len(trials),
        "refused": sum(trial.code == 2 for trial in trials),
        "done": sum(trial.code == 0 for trial in trials),
        "failed": failed,
    }
    if options.json:
        results["trials"] = [asdict(trial) for trial in trials]
    else:
        for trial in trials:
            free = "read-only" if trial.free == READ_ONLY else f"{trial.free} bytes left"
            outcome = "; ".join(trial.problems) or trial.message[:90]
            print(f"{trial.command:12} {free:18} {trial.code}  {outcome}")
    print_report(results, options.json)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
