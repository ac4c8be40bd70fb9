"""The process that does one trial: `python -m trajflow.benchmark.worker RESULTS TRIAL DATA ...`."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from trajflow.benchmark.plan import read_plan
from trajflow.benchmark.working import Where, Work
from trajflow.datasets.store import open_store
from trajflow.errors import RunError, TrajflowError

INTERRUPTED = 130


def run(results: Path, name: str, data: Path, stage: str, where: Where) -> int:
    """Do a stage of a trial; the exit code, 130 if it was interrupted and can go on later.

    Args:
        results: Folder of all results.
        name: The trial.
        data: The store.
        stage: "train", "evaluate" or "all".
        where: What it is computed on.

    Raises:
        TrajflowError: It cannot be done.
    """
    plan, store, parent = read_plan(results), open_store(data), os.getppid()
    if store.fingerprint() != plan.fingerprint:
        raise RunError(f"{data} does not hold the tracks of {results}; give those it was made with")
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked.append(number))

    def going() -> bool:
        return not asked and os.getppid() == parent

    work = Work(plan, plan.trial(name), store, results, where)
    if stage != "evaluate" and not work.train(going):
        return INTERRUPTED
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if asked:
        return INTERRUPTED
    if stage != "train":
        work.evaluate()
    return 0


def main(words: Sequence[str]) -> int:
    """The exit code of a trial; a known error is one line."""
    results, name, data, stage, device, jobs = words
    try:
        return run(Path(results), name, Path(data), stage, Where(device, int(jobs)))
    except TrajflowError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
