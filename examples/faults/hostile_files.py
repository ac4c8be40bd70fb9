"""Read hostile files from the command line: no code may run, and time and memory are bounded.

    python examples/faults/hostile_files.py [--json] [--only TEXT]

Each file is generated here and read by a `trajflow` command in a process of its own. The command
must end with exit code 2 and one error line (`data check`: exit code 3 and a finding). CPU time and
memory of all its processes are counted relative to the same command with a valid file. After each
command the script looks for files that foreign code, or a path outside the folder, would create.
"""

import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import hostile_models
import hostile_runs
import hostile_stores
import hostile_tables
from fixtures import Payload
from measure import Result, run_command
from report import option_parser, print_report

MIB = 2**20
MAX_CPU_SECONDS, MAX_MEMORY = 2.0, 512 * MIB
"""Limits beyond the cost of a valid file."""
Content = Callable[[Path], bytes]
SETTING_FILES: dict[str, Content] = {
    "settings a hundred thousand deep": lambda c: b"a = " + b"[" * 10**5,
    "settings with a number of 10^6 digits": lambda c: b"[train]\nseed = " + b"9" * 10**6,
    "settings of 64 MiB": lambda c: b"# " + b"x" * 2**26,
    "settings with a million names": lambda c: b"".join(b"a%d=1\n" % i for i in range(10**6)),
    "settings that are a pickle": lambda c: pickle.dumps(Payload(c)),
    "settings in UTF-16": lambda c: "[train]\nseed = 1\n".encode("utf-16"),
    "settings with a NUL": lambda c: b"[train]\nseed = \0\n",
    "settings of another shape": lambda c: b"train = 3\n[[model]]\n",
    "settings that are not finite": lambda c: b"[train]\nlr = inf\nscale_jitter = nan\n",
}
"""Files for `--config` by name: bytes, from the path of a file that only foreign code creates."""
SETTING_OPTIONS = {
    "a setting ten thousand deep": ".".join(["a"] * 10_000) + "=1",
    "a setting of a list 10^5 deep": "model.encoder_options=" + "[" * 10**5,
    "a setting that ends the line": "train.seed=1\nmodel.width=2",
    "a setting that is not finite": "train.lr=nan",
    "a width of 10^18": "model.width=1" + "0" * 18,
}
"""Values of `--set`."""


@dataclass(frozen=True)
class Case:
    """A hostile file and the command that reads it."""

    kind: str
    name: str
    arguments: list[str]


@dataclass(frozen=True)
class Outcome:
    """How a command read a hostile file; CPU seconds and MiB beyond those of a valid file."""

    kind: str
    name: str
    cpu: float
    mib: float
    code: int
    message: str
    problems: list[str]


def make_store(name: str, folder: Path, canary: Path) -> list[str]:
    """Write a hostile store; the command that reads it."""
    store = folder / "data.zarr"
    hostile_stores.make(name, store, canary)
    return [*(["data", "check"] if "table" in name else ["doctor"]), str(store)]


def make_table(name: str, folder: Path, canary: Path) -> list[str]:
    """Write a hostile table; the command that imports it."""
    source, file, write = hostile_tables.MAKERS[name]
    path = folder / ("hall/video0/" if source == "sdd" else "") / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return import_command(source, path, folder)


def make_settings(name: str, folder: Path, canary: Path) -> list[str]:
    """Write hostile settings and a valid store; the command that trains with them."""
    store, config = folder / "data.zarr", folder / "settings.toml"
    hostile_stores.tame(store)
    command = ["train", str(store), "--out", str(folder / "run")]
    if name in SETTING_OPTIONS:
        return [*command, "--set", SETTING_OPTIONS[name]]
    config.write_bytes(SETTING_FILES[name](canary))
    return [*command, "--config", str(config)]


def make_model(name: str, folder: Path, canary: Path) -> list[str]:
    """Write a hostile exported model; the command that forecasts with it."""
    hostile_models.MAKERS[name](folder / "model.onnx", canary)
    return predict_command(folder / "model.onnx", folder)


def make_run(name: str, folder: Path, canary: Path) -> list[str]:
    """Write a hostile run folder; the command that forecasts with it."""
    hostile_runs.tame(folder / "run")
    hostile_runs.MAKERS[name](folder / "run", canary)
    return predict_command(folder / "run", folder)


def import_command(source: str, path: Path, folder: Path) -> list[str]:
    """The command that imports a table."""
    dt = [] if source in ("sdd", "trajnet") else ["--dt", "0.4"]
    return ["data", "import", source, str(path), "-o", str(folder / "out.zarr"), *dt]


def predict_command(model: Path, folder: Path) -> list[str]:
    """The command that forecasts a valid store, written here, with a model."""
    hostile_stores.tame(folder / "data.zarr")
    return ["predict", str(model), str(folder / "data.zarr"), "-o", str(folder / "out.csv")]


KINDS: dict[str, tuple[Iterable[str], Callable[[str, Path, Path], list[str]]]] = {
    "store": (hostile_stores.MAKERS, make_store),
    "table": (hostile_tables.MAKERS, make_table),
    "settings": ([*SETTING_FILES, *SETTING_OPTIONS], make_settings),
    # "hours for other crowds" ends after `trajflow.inference.onnx.session.CALL_SECONDS`, a minute.
    "model": ([n for n in hostile_models.MAKERS if n != "hours for other crowds"], make_model),
    "run": (hostile_runs.MAKERS, make_run),
}


def make_cases(folder: Path, canary: Path, only: str) -> Iterator[Case]:
    """Write one hostile file after another, each into the emptied folder."""
    for kind, (names, make) in KINDS.items():
        for name in names:
            if only in f"{kind} {name}":
                shutil.rmtree(folder)
                folder.mkdir()
                yield Case(kind, name, make(name, folder, canary))


def valid_costs(folder: Path) -> dict[str, Result]:
    """Results of each kind of command with valid files."""
    store, table = folder / "data.zarr", folder / "t.csv"
    model, run = folder / "model.onnx", folder / "run"
    hostile_stores.tame(store)
    rows = [f"1,{0.4 * step},{0.1 * step},0\n" for step in range(30)]
    table.write_bytes(hostile_tables.HEAD + "".join(rows).encode())
    hostile_models.tame(model)
    hostile_runs.tame(run)
    wrong = ["train", str(store), "--out", str(folder / "new"), "--set", "train.seed=x"]
    return {
        "store": run_command(["doctor", store]),
        "table": run_command(import_command("table", table, folder)),
        "settings": run_command(wrong),
        "model": run_command(predict_command(model, folder / "model")),
        "run": run_command(predict_command(run, folder / "ran")),
    }


def judge(case: Case, result: Result, valid: Result, created: list[str]) -> Outcome:
    """Compare the result of a command with what must happen."""
    cpu, memory = result.cpu - valid.cpu, max(result.memory - valid.memory, 0)
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    output = result.stderr + result.stdout
    checks = {
        f"exit code {result.code}": result.code == (3 if "check" in case.arguments else 2),
        f"{len(lines)} lines": len(lines) == 1 and lines[0].startswith("error"),
        "control characters": not any(ord(c) < 32 and c != "\n" for c in output),
        f"{cpu:.1f} s": cpu <= MAX_CPU_SECONDS and not result.timed_out,
        f"{memory / MIB:.0f} MiB": memory <= MAX_MEMORY,
    }
    problems = [f"created {name}" for name in created]
    problems += [problem for problem, passed in checks.items() if not passed]
    message, mib = "".join(lines[-1:]), round(memory / MIB)
    return Outcome(case.kind, case.name, round(cpu, 2), mib, result.code, message, problems)


def unexpected_files(place: Path, folder: Path, before: set[Path]) -> list[str]:
    """Files that a command created in the folder or beside it."""
    created = {*folder.rglob("*")} - before if before else set()
    created |= {path for path in place.iterdir() if path.name != "in"}
    created |= {path for path in folder.parent.iterdir() if path != folder}
    return sorted(map(str, created))


def main() -> None:
    """Run all cases; exit code 1 if one has a problem."""
    parser = option_parser(__doc__)
    parser.add_argument("--only", default="", help="cases whose kind and name contain this text")
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        place = Path(temporary)
        folder, canary = place / "in" / "data", place / "canary"
        os.environ["TRAJFLOW_CANARY"] = str(canary)
        folder.mkdir(parents=True)
        valid = valid_costs(folder)
        for case in make_cases(folder, canary, options.only):
            # Stores may have very many files, and the commands write nothing into them.
            before = set(folder.rglob("*")) if case.kind != "store" else set()
            result = run_command(case.arguments, timeout=60, cwd=folder)
            created = unexpected_files(place, folder, before)
            outcome = judge(case, result, valid[case.kind], created)
            outcomes.append(outcome)
            if not options.json:
                problems = "; ".join(outcome.problems) or "ok"
                print(f"{outcome.cpu:6.2f} s {outcome.mib:5.0f} MiB  {problems:12} {case.name}")
                if outcome.problems:
                    print(result.stderr[-2000:])
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    results: dict[str, object] = {
        "files": len(outcomes),
        "failed": failed,
        "most CPU seconds": max(outcome.cpu for outcome in outcomes),
        "most MiB": max(outcome.mib for outcome in outcomes),
    }
    if options.json:
        results["cases"] = [asdict(outcome) for outcome in outcomes]
    print_report(results, options.json)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
