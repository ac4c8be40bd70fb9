"""Import tracks onto a disk that fills up: nothing is half there, and what was there stays.

    python examples/faults/full_disk_import.py [--json]

On a file system of 8 MiB a table is imported with less and less room left, into a new place and
over an old store; generated data is written and a damaged store is repaired there too. Each must
end in exit code 2 and one line, or work; nothing new may lie beside the output; the old store must
be as it was, byte by byte. Then the disk is made read-only, and all is asked again.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import measured
from small_disk import NoSmallDisk, fill, may_mount, small_disk

LEAVE = (0, 4096, 100_000, 400_000, 800_000, 1_200_000, 2_000_000, 6_000_000)
"""Bytes left on the disk; the import of the table takes about a million."""


@dataclass(frozen=True)
class Tried:
    """One command on a full disk."""

    what: str
    left: int
    code: int
    said: str
    faults: list[str]


def write_table(path: Path, agents: int = 60, steps: int = 200) -> Path:
    """A table of walkers; its store takes about half a megabyte."""
    rows = ["agent,time,x,y"]
    for agent in range(agents):
        for step in range(steps):
            x, y = 0.4 * step + agent * 0.77, (agent * 31 + step * step) % 97 * 0.011 + agent
            rows.append(f"{agent},{0.4 * step:.1f},{x:.6f},{y:.6f}")
    path.write_text("\n".join(rows) + "\n")
    return path


def digest(folder: Path) -> dict[str, str]:
    """What is in a folder, file by file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def commands(disk: Path, table: Path, hurt: Path) -> dict[str, list[str]]:
    """What is asked of the full disk: each writes a new store or replaces `old.zarr`."""
    importing = ["data", "import", "table", str(table), "-o"]
    return {
        "import": [*importing, str(disk / "new.zarr")],
        "import over": [*importing, str(disk / "old.zarr"), "--overwrite"],
        "make": ["data", "make", "fork", "-o", str(disk / "new.zarr"), "--set", "train=3000"],
        "repair": ["data", "check", str(hurt), "--repair", str(disk / "new.zarr")],
    }


def try_all(disk: Path, table: Path, hurt: Path, left: int) -> Iterator[Tried]:
    """Every command, each on the disk as it was before."""
    for what, words in commands(disk, table, hurt).items():
        before = digest(disk)
        found = measured(words)
        lines = found.said.strip().splitlines()
        refused = [line for line in lines if line.startswith("error: ")]
        after = digest(disk)
        faults = []
        if found.code == 0:
            target = disk / ("old.zarr" if what == "import over" else "new.zarr")
            whole = measured(["data", "check", target])
            faults += [] if whole.code == 0 else [f"not whole: {whole.out}"]
        else:
            faults += [] if found.code == 2 and len(refused) == 1 else [f"said {found.said[-500:]}"]
            faults += [] if after == before else ["the disk is not as it was"]
        names = {path.name for path in disk.iterdir()} - {"old.zarr", "new.zarr", "ballast"}
        faults += [f"left {name}" for name in sorted(names)]
        yield Tried(what, left, found.code, refused[0] if refused else "", faults)
        _restore(disk, before)


def _restore(disk: Path, before: dict[str, str]) -> None:
    if digest(disk) != before:
        shutil.rmtree(disk / "new.zarr", ignore_errors=True)
        if any(name.startswith("old.zarr") for name in before):
            shutil.rmtree(disk / "old.zarr")
            shutil.copytree(disk.parent / f"{disk.name}-old.zarr", disk / "old.zarr")


def main() -> None:
    """Fill the disk more and more; exit code 1 if anything was lost or unclear."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    try:
        may_mount()
    except NoSmallDisk as error:
        sys.exit(f"error: {error}; run this where disks can be mounted")
    tried: list[Tried] = []
    with tempfile.TemporaryDirectory() as place, small_disk() as disk:
        table, small = write_table(Path(place, "t.csv")), write_table(Path(place, "s.csv"), 3)
        hurt, kept = Path(place, "hurt.zarr"), disk.parent / f"{disk.name}-old.zarr"
        measured(["data", "import", "table", str(table), "-o", str(hurt)])
        (hurt / "seal" / "zarr.json").unlink()
        measured(["data", "import", "table", str(small), "-o", str(kept)])
        shutil.copytree(kept, disk / "old.zarr")
        for left in LEAVE:
            fill(disk, left)
            tried += try_all(disk, table, hurt, left)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        tried += try_all(disk, table, hurt, -1)
        shutil.rmtree(kept)
    refused = sum(one.code == 2 for one in tried)
    told = {
        "commands": len(tried),
        "refused": refused,
        "done": sum(one.code == 0 for one in tried),
        "failed": sum(bool(one.faults) for one in tried),
    }
    if asked.json:
        print(json.dumps({**told, "tries": [asdict(one) for one in tried]}, indent=2))
    else:
        for one in tried:
            left = "read-only" if one.left < 0 else f"{one.left} bytes left"
            print(f"{one.what:12} {left:18} {one.code}  {'; '.join(one.faults) or one.said[:90]}")
        print(", ".join(f"{name} {count}" for name, count in told.items()))
    sys.exit(1 if told["failed"] else 0)


if __name__ == "__main__":
    main()
