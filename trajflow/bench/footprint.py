"""What it costs before the first forecast: imports, loading, the first call, memory."""

import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from trajflow.bench.asked import Asked
from trajflow.bench.latency import Rows, Tell
from trajflow.bench.subjects import Subject

ROUNDS = 3
PROGRAM = """
import json, time
def most():
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return float("nan")
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
began, empty = time.perf_counter(), most()
{imports}
imported, after = time.perf_counter(), most()
predictor = {load}
loaded = time.perf_counter()
import numpy as np
past = np.cumsum(np.full((1, predictor.history, predictor.dims), 0.4), axis=1)
predictor.predict(past, samples={samples}, seed=1)
called = time.perf_counter()
print(json.dumps(dict(import_ms=1e3 * (imported - began), load_ms=1e3 * (loaded - imported),
    first_ms=1e3 * (called - loaded), import_mb=after - empty, memory_mb=most())))
"""


def footprint(subjects: Sequence[Subject], asked: Asked, tell: Tell) -> Rows:
    """One row for each model: medians over fresh processes."""
    rows: Rows = []
    for k, subject in enumerate(subjects):
        told = []
        for n in range(ROUNDS):
            told.append(_fresh(subject, asked.samples))
            tell((k * ROUNDS + n + 1) / (ROUNDS * len(subjects)))
        facts = {"model": subject.name, "backend": subject.backend}
        rows.append(facts | {key: median(one[key] for one in told) for key in told[0]})
    return rows


def _fresh(subject: Subject, samples: int) -> dict[str, Any]:
    imports, load = _lines(subject)
    program = PROGRAM.format(imports=imports, load=load, samples=samples)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the fresh process failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _lines(subject: Subject) -> tuple[str, str]:
    """The line that imports and the expression that loads."""
    if subject.path is None:
        return "from trajflow.bench.network import new_predictor", "new_predictor()"
    path = repr(str(subject.path))
    if subject.exported:
        return "from trajflow.runtime import Predictor", f"Predictor.load({path})"
    return "from trajflow.predictor import Predictor", f"Predictor.load({path})"
