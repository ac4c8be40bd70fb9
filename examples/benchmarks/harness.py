"""The command line of both benchmarks, and the processes that train and evaluate trials.

A results folder has plan.json, a run folder for each training (runs/), the reports of baselines
(baselines/), logs/ and the table. Finished trials are not repeated.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plan import Benchmark, Trial, make_plan, read_plan
from session import Session
from table import make_table, write_table
from table_text import summary

from trajflow import baselines
from trajflow.datasets import open_store
from trajflow.errors import RunError, TrajflowError
from trajflow.models.tensors import device_of
from trajflow.text import plain

STAGES = ("all", "train", "evaluate", "refresh", "table")
FAILED, INTERRUPTED = 1, 130
POLL_SECONDS = 0.2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_trials(session: Session, stage: str) -> tuple[dict[str, str], bool]:
    """Run each trial in a process of its own, several at once; failures do not stop the others.

    Returns:
        The reasons of failures by trial, and whether the work was interrupted; trainings save
        their state then.
    """
    waiting = [trial for trial in session.plan.trials if session.has_work(trial, stage)]
    waiting.sort(key=lambda trial: 2 * bool(trial.members) + trial.baseline)
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: dict[str, str] = {}
    interrupted = False
    total, start = len(waiting), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while running or waiting:
            unfinished = {*running, *(trial.name for trial in waiting)}
            ready = [trial for trial in waiting if unfinished.isdisjoint(trial.needs)]
            for trial in ready[: session.jobs - len(running)]:
                waiting.remove(trial)
                running[trial.name] = _start(session, trial, stage)
                _log(f"{trial.name} started")
            time.sleep(POLL_SECONDS)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if code := running.pop(name).returncode:
                    failed[name] = f"{_last_line(session.log(name))} (exit code {code})"
                    _log(f"failed: {name}: {failed[name]}; see {session.log(name)}")
                done = total - len(waiting) - len(running)
                left = (time.monotonic() - start) / done * (total - done) / 60
                _log(f"{done}/{total} trials, {name} finished; about {left:.0f} min left")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return failed, interrupted


def _start(session: Session, trial: Trial, stage: str) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name(session.benchmark.script)
    command = [sys.executable, script, session.data, "-o", session.results, "--trial", trial.name]
    command += ["--stage", stage, "--device", session.device, "--jobs", session.jobs]
    # On a CPU, results depend on the number of threads.
    threads = 1 if session.device == "cpu" else max(1, (os.cpu_count() or 1) // session.jobs)
    log = session.log(trial.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
            start_new_session=True,  # so that Ctrl-C reaches only the parent
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def _work(session: Session, name: str, stage: str) -> int:
    """Run a trial in this process; the exit code, 130 if it was stopped and can be resumed."""
    parent, trial, stopped = os.getppid(), session.plan.trial(name), list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    if stage != "evaluate":
        session.train(trial, lambda: not stopped and os.getppid() == parent)
    if stopped:
        return INTERRUPTED
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if stage != "train":
        session.evaluate(trial)
    return 0


def _log(text: str) -> None:
    print(plain(text), file=sys.stderr, flush=True)


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _steps(text: str) -> list[int]:
    return [_positive(word) for word in _names(text)]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _settings(text: str) -> Path | None:
    return None if text == "none" else Path(text)


def command_line(benchmark: Benchmark, text: str = "") -> argparse.ArgumentParser:
    """The options of the script of a benchmark; `text` is its description."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    default = Path(__file__).with_name(benchmark.script).with_suffix(".toml")
    add("data", type=Path, help="store of the tracks")
    add("-o", "--out", type=Path, default=Path("results"), help="results folder")
    add("--folds", type=_names, default=[], help="folds, like eth,hotel; all")
    add("--seeds", type=_positive, default=benchmark.seeds, help="trainings of a preset and fold")
    add("--presets", type=_names, default=["mmf"], help="presets to train, like mmf,flow")
    add(
        "--baselines",
        type=_names,
        default=baselines.available(),
        help="baselines, like cv,analog; all",
    )
    add("--steps", type=_steps, default=[1], help="network evaluations per sample, like 1,2,4")
    add(
        "--select",
        type=_names,
        default=[],
        help="also evaluate selection rules, like learned,kmeans",
    )
    add("--draws", type=_positive, default=1000, help="samples to select from; 1000")
    add("--ensemble", action="store_true", help="also evaluate all seeds as an ensemble")
    memory = "also add a memory of earlier tracks to each training (1000 updates more)"
    add("--memory", action="store_true", help=memory)
    paths = "also evaluate with earlier paths of the recordings"
    add("--earlier-paths", action="store_true", help=paths)
    few = "also evaluate the moments with so many agents or more alone"
    add("--min-agents", type=_positive, default=1, help=few)
    add("--clock", default="", help="also evaluate with real time steps, like biwi_eth=0.6667")
    add("--config", type=_settings, default=default, help=f"settings file, or none; {default.name}")
    add("--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="one setting")
    add("--jobs", "-j", type=_positive, default=1, help="trials at once")
    stages = "part of the work; refresh repeats the evaluations of an earlier version"
    add("--stage", choices=STAGES, default="all", help=stages)
    add("--device", default="auto", help="cpu, cuda or auto")
    add("--trial", help=argparse.SUPPRESS)
    return parser


def main(benchmark: Benchmark, text: str, words: Sequence[str] | None = None) -> None:
    """Run the command line of a benchmark and exit.

    Args:
        benchmark: The benchmark.
        text: Its description.
        words: Arguments; None: those of this process.
    """
    options = command_line(benchmark, text).parse_args(words)
    try:
        code = _run(benchmark, options)
    except TrajflowError as error:
        _log(f"error: {error}")
        code = error.exit_code
    sys.exit(code)


def _run(benchmark: Benchmark, options: argparse.Namespace) -> int:
    failed: dict[str, str] = {}
    code = 0
    if options.stage != "table":
        session, stage = _session(benchmark, options)
        if options.trial:
            return _work(session, options.trial, stage)
        failed, interrupted = run_trials(session, stage)
        code = FAILED if failed else INTERRUPTED if interrupted else 0
    plan = read_plan(options.out)
    all_trials = Session(benchmark, plan, options.data, options.out)
    missing = [trial.name for trial in plan.trials if all_trials.has_work(trial, "all")]
    table = make_table(benchmark, plan, options.out, missing, failed)
    paths = write_table(table, options.out)
    print(plain(summary(table)))
    _log(f"wrote {', '.join(map(str, paths))}")
    return code


def _session(benchmark: Benchmark, options: argparse.Namespace) -> tuple[Session, str]:
    """The session for the options, and its stage. Processes of trials read the stored plan.

    Raises:
        TrajflowError: The options are invalid, or do not match the stored results.
    """
    store = open_store(options.data)
    stage = "evaluate" if options.stage == "refresh" else options.stage
    if options.trial or options.stage == "refresh":
        plan = read_plan(options.out)
        if (plan.benchmark, plan.fingerprint) != (benchmark.name, store.fingerprint()):
            raise RunError(
                f"{options.out} has results of {plan.benchmark} on {plan.data} "
                f"({plan.fingerprint[:8]}), not of {benchmark.name} on {store.path} "
                f"({store.fingerprint()[:8]}); give the store that its runs were trained on"
            )
    else:
        plan = make_plan(benchmark, options, store)
        plan.save(options.out)
    if options.folds and not options.trial:
        selected = tuple(trial for trial in plan.trials if trial.fold in options.folds)
        plan = replace(plan, trials=selected)
    device = str(device_of(options.device))
    return Session(benchmark, plan, options.data, options.out, device, options.jobs), stage
