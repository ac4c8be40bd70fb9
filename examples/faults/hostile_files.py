"""Give hostile files to the command line: no code is run, little time and memory are taken.

    python examples/faults/hostile_files.py [--json] [--only WORD]

Each file is made here, read by `trajflow` in a process of its own, and must end in exit code 2 and
one line that says why (3, and a finding, from `data check`). What a reading costs is told beyond
that of a tame file by the same command: processor seconds, as the clock is no measure on a busy
machine, and the memory of all processes together. A file that would be made by foreign code, or
outside of the folder, is looked for after each.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from hostile_cases import Case, cases, tame
from measuring import Measured, measured

SECONDS, BYTES = 2.0, 512 * 2**20
MiB = 2**20


@dataclass(frozen=True)
class Verdict:
    """How the reading of one hostile file went."""

    kind: str
    name: str
    cpu: float
    wall: float
    extra_mib: float
    code: int
    said: str
    faults: list[str]


def judge(case: Case, found: Measured, usual: Measured, strange: list[str]) -> Verdict:
    """What was wrong with a reading, if anything."""
    cpu, extra = found.cpu - usual.cpu, max(found.memory - usual.memory, 0)
    lines = (found.said.strip() or found.out.strip()).splitlines()
    faults = [f"made {name}" for name in strange]
    checks = {
        f"exit code {found.code}": found.code == (3 if "check" in case.words else 2),
        f"{len(lines)} lines": len(lines) == 1 and lines[0].startswith("error"),
        "an escape": not any(ord(c) < 32 and c != "\n" for c in found.said + found.out),
        f"{cpu:.1f} s": cpu <= SECONDS and not found.late,
        f"{extra / MiB:.0f} MiB": extra <= BYTES,
    }
    faults += [what for what, holds in checks.items() if not holds]
    line = lines[-1] if lines else ""
    return Verdict(
        case.kind, case.name, round(cpu, 2), round(found.wall, 2), round(extra / MiB), found.code,
        line, faults,
    )  # fmt: skip


def main() -> None:
    """Run all cases and say which failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="cases whose kind and name hold these letters")
    asked = parser.parse_args()
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        folder, canary = Path(place, "in", "data"), Path(place, "canary")
        os.environ["TRAJFLOW_CANARY"] = str(canary)
        folder.mkdir(parents=True)
        usual = tame(folder)
        for case in cases(folder, canary, asked.only):
            before = set(folder.rglob("*")) if case.kind != "store" else set()
            found = measured(case.words, seconds=60, cwd=folder)
            after = set(folder.rglob("*")) if case.kind != "store" else set()
            strange = sorted(str(path) for path in after - before)
            strange += [str(path) for path in Path(place).iterdir() if path.name != "in"]
            strange += [str(path) for path in Path(place, "in").iterdir() if path.name != "data"]
            verdicts.append(judge(case, found, usual[case.kind], strange))
            if not asked.json:
                told = "; ".join(verdicts[-1].faults) or "ok"
                last = verdicts[-1]
                print(f"{last.cpu:6.2f} s {last.extra_mib:5.0f} MiB  {told:12} {case.name}")
                if last.faults:
                    print(found.said[-2000:])
    _summary(verdicts, asked.json)


def _summary(verdicts: list[Verdict], as_json: bool) -> None:
    worst = {
        "files": len(verdicts),
        "failed": sum(bool(v.faults) for v in verdicts),
        "most_cpu_seconds": max(v.cpu for v in verdicts),
        "most_extra_mib": max(v.extra_mib for v in verdicts),
    }
    if as_json:
        print(json.dumps({**worst, "cases": [asdict(v) for v in verdicts]}, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in worst.items()))
    sys.exit(1 if worst["failed"] else 0)


if __name__ == "__main__":
    main()
