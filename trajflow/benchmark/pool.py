"""Trials as processes of their own, several at once; one that fails does not stop the others."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from trajflow.benchmark.plan import Plan, Trial
from trajflow.benchmark.standing import is_done, share_done

TICK = 0.2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Order:
    """How trials are run.

    Attributes:
        results: Folder of all results.
        data: The store.
        stage: "train", "evaluate" or "all".
        device: Where to compute.
        jobs: Trials at once.
    """

    results: Path
    data: Path
    stage: str = "all"
    device: str = "cpu"
    jobs: int = 1

    @property
    def threads(self) -> int:
        """Threads of a trial: 1 on a processor, as results depend on it; else its share."""
        return 1 if self.device == "cpu" else max(1, (os.cpu_count() or 1) // self.jobs)


@dataclass
class Standing:
    """How far all trials are.

    Attributes:
        total: Trials to be done.
        done: Names of those that are done.
        failed: Why others failed, by name.
        running: Names of those in work.
        share: Share of all the work that is done, about.
        left: Seconds that the rest will take, if it goes on so; None if that is not known yet.
        interrupted: Whether it was asked to stop.
    """

    total: int
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    share: float = 0.0
    left: float | None = None
    interrupted: bool = False


class Pool:
    """Runs the trials of a plan that are not done."""

    def __init__(self, plan: Plan, order: Order) -> None:
        self.plan, self.order = plan, order
        self._jobs: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def stop(self) -> None:
        """Ask every trial in work to save and end, and begin no other."""
        self._stopping = True
        for job in self._jobs.values():
            with suppress(ProcessLookupError):
                job.terminate()

    def run(self) -> Iterator[Standing]:
        """Do the work; tells how far it is now and then, and at its end."""
        plan, order = self.plan, self.order
        waiting = [t for t in plan.trials if not is_done(plan, t, order.results, order.stage)]
        waiting.sort(key=_lateness)
        standing = Standing(len(plan.trials))
        standing.done = [trial.name for trial in plan.trials if trial not in waiting]
        before, began = self._share(), time.monotonic()
        try:
            while self._jobs or (waiting and not self._stopping):
                while len(self._jobs) < order.jobs and not self._stopping:
                    trial = next((t for t in waiting if not self._waits(t, waiting)), None)
                    if trial is None:
                        break
                    waiting.remove(trial)
                    self._jobs[trial.name] = self._start(trial)
                time.sleep(TICK)
                self._collect(standing)
                standing.running, standing.share = list(self._jobs), self._share()
                pace = (standing.share - before) / (time.monotonic() - began)
                standing.left = (1 - standing.share) / pace if pace > 0 else None
                yield standing
        finally:
            standing.interrupted = self._stopping
            self.stop()
            for job in self._jobs.values():
                job.wait()
        yield standing

    def _waits(self, trial: Trial, waiting: Sequence[Trial]) -> bool:
        """Whether a trial needs others that are not done yet."""
        open_ones = {*self._jobs, *(one.name for one in waiting)}
        return not open_ones.isdisjoint(trial.members)

    def _start(self, trial: Trial) -> "subprocess.Popen[bytes]":
        order = self.order
        log = self._log(trial.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [order.results, trial.name, order.data, order.stage, order.device, order.jobs]
        threads = dict.fromkeys(THREADS, str(order.threads))
        with log.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "trajflow.benchmark.worker", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=os.environ | threads,
                start_new_session=True,  # an interrupt of the terminal reaches us alone
            )

    def _collect(self, standing: Standing) -> None:
        for name, job in list(self._jobs.items()):
            code = job.poll()
            if code is None:
                continue
            del self._jobs[name]
            if code == 0:
                standing.done.append(name)
            elif not self._stopping:
                standing.failed[name] = self._reason(name, code)

    def _reason(self, name: str, code: int) -> str:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")
        return f"{said} (exit code {code}, {self._log(name)})"

    def _log(self, name: str) -> Path:
        return self.order.results / "logs" / f"{name}.log"

    def _share(self) -> float:
        trials = self.plan.trials
        return sum(share_done(self.plan, t, self.order.results) for t in trials) / len(trials)


def _lateness(trial: Trial) -> int:
    """Trainings take longest and come first; what mixes them comes last."""
    return 2 * bool(trial.members) + trial.floor
