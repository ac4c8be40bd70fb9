"""Measures the latency of forecasts, and of their matrix products alone."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.errors import ConfigError
from trajflow.types import Floats

Rows = list[dict[str, Any]]
Progress = Callable[[float], object]

# Seconds of one turn; a fast case is called several times in a turn.
TURN = 0.02
MAX_CALLS = 20
FLOOR_REPEATS = 15
# Shares of the samples that are tried until a budget is met.
SAMPLE_SHARES = (1.0, 0.5, 0.25)
# A case is timed once if a call takes this many budgets.
GIVE_UP = 5
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Case:
    """Something to time: facts for the table, one call, and the untimed preparation of a turn."""

    facts: dict[str, Any]
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


@dataclass
class Times:
    """Seconds of the calls of a case in each turn, and CPU seconds per call of each turn."""

    turns: list[Floats] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def ratio(self, other: Times) -> float:
        """Ratio of the time to that of another case: median over the turns that both had."""
        shared = min(len(self.turns), len(other.turns))
        medians = [np.array([np.median(t) for t in x.turns[:shared]]) for x in (self, other)]
        return float(np.median(medians[0] / medians[1]))

    def to_dict(self) -> dict[str, float | int]:
        """Minimum, median, 99th percentile and CPU time in milliseconds; number of calls."""
        ms = 1e3 * np.concatenate(self.turns)
        return {
            "least_ms": float(ms.min()),
            "p50_ms": float(np.median(ms)),
            "p99_ms": float(np.quantile(ms, 0.99)),
            "cpu_ms": 1e3 * float(np.median(self.cpu)),
            "calls": len(ms),
        }


def time_in_turns(
    cases: Sequence[Case],
    seconds: float = 1.0,
    progress: Progress = lambda share: None,
    min_turns: int = 5,
    give_up: float = math.inf,
) -> list[Times]:
    """Time all cases in turns, so that other load on the machine slows all of them alike.

    Args:
        cases: Cases to time; every round gives each case one turn.
        seconds: Time for each case in total.
        progress: Called with the finished share, in [0, 1].
        min_turns: Least number of turns.
        give_up: A case with a call longer than this, in seconds, has one turn only.

    Examples:
        >>> from trajflow.latency import Case, time_in_turns
        >>> (times,) = time_in_turns([Case({}, lambda: sum(range(1000)))], seconds=0.01)
        >>> times.to_dict()["calls"] >= 5
        True
    """
    warm = []
    for case in cases:
        case.prepare()
        case.run()
        warm.append(float(_turn(case, 1)[0]))
    times = [Times() for _ in cases]
    start, limit, rounds = time.perf_counter(), seconds * len(cases), 0
    while rounds < min_turns or time.perf_counter() - start < limit:
        for case, measured, call in zip(cases, times, warm, strict=True):
            if measured.turns and call > give_up:
                continue
            count = int(np.clip(TURN / max(1e-9, call), 1, MAX_CALLS))
            before = time.process_time()
            measured.turns.append(_turn(case, count))
            measured.cpu.append((time.process_time() - before) / count)
        rounds += 1
        share = (time.perf_counter() - start) / limit if limit > 0 else 1.0
        progress(min(1.0, rounds / min_turns, share))
    return times


def _turn(case: Case, calls: int) -> Floats:
    case.prepare()
    seconds = np.empty(calls)
    for k in range(calls):
        start = time.perf_counter()
        case.run()
        seconds[k] = time.perf_counter() - start
    return seconds


def walkers(agents: int, steps: int, dims: int = 2, seed: int = 0) -> Floats:
    """Nearly straight walks in an area of 20 m, [A, T, D], metres, 0.4 s per step."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 20, (agents, 1, dims))
    velocity = rng.normal(0, 0.35, (agents, 1, dims))
    noise = rng.normal(0, 0.03, (agents, steps, dims)).cumsum(1)
    return np.asarray(start + velocity * np.arange(steps)[:, None] + noise)


@dataclass(frozen=True)
class Model:
    """A model to time: a run folder, an `.onnx` file, or an untrained network (None)."""

    path: Path | None = None
    device: str = "cpu"
    _loaded: dict[int, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def exported(self) -> bool:
        """Whether it is an ONNX file."""
        return self.path is not None and self.path.suffix == ".onnx"

    def load(self, threads: int) -> Any:
        """Load the predictor, once for each number of threads.

        Raises:
            RunError: There is no such model, or it is damaged.
        """
        key = threads if self.exported else 0
        if key not in self._loaded:
            if self.path is None:
                self._loaded[key] = untrained_predictor(self.device)
            else:
                from trajflow.inference.base import Predictor

                backend = "auto" if self.exported else "torch"
                self._loaded[key] = Predictor.load(
                    self.path, self.device, threads=threads, backend=backend
                )
        return self._loaded[key]

    def facts(self, threads: int) -> dict[str, Any]:
        """Name, backend, precision and threads, as JSON values."""
        backend = "onnx" if self.exported else f"torch {self.device}"
        precision = self.load(threads).facts.get("precision", "fp32") if self.exported else "fp32"
        name = self.path.name if self.path else "untrained, default size"
        return {"model": name, "backend": backend, "precision": precision, "threads": threads}


def untrained_predictor(device: str = "cpu") -> Any:
    """A predictor of the default network with random weights, as slow as a trained one."""
    import torch

    from trajflow.config import Config
    from trajflow.inference.predictor import TorchPredictor
    from trajflow.models.trajectory_model import TrajectoryModel
    from trajflow.training.setup import architecture_of

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TrajectoryModel(architecture_of(Config(), 2))
        for weights in model.velocity_net.out_proj.parameters():
            torch.nn.init.normal_(weights, std=0.01)
    model.normalizer.displacement_scale.fill_(0.4)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m", "dims": 2}, device)


def measure_latency(
    models: Sequence[Model],
    agents: Sequence[int] = (1, 64),
    neighbors: int = 60,
    samples: int = 20,
    threads: Sequence[int] = (1,),
    seconds: float = 2.0,
    progress: Progress = lambda share: None,
    give_up: float = math.inf,
) -> Rows:
    """Time `predict` for each model, number of agents and number of threads.

    Args:
        models: Models to time.
        agents: Numbers of agents A that one call forecasts.
        neighbors: Number of further agents that are not forecast.
        samples: Futures of each agent.
        threads: Numbers of threads.
        seconds: Time for each case, in turns with the others.
        progress: Called with the finished share.
        give_up: A case with a call longer than this, in seconds, is timed once.

    Returns:
        One row for each case. `floor_ms` is the time of the call's matrix products alone, in
        float32 (only if a torch model is timed, and not for int8); `x_floor` and `x_first` are
        ratios to it and to the first row with as many agents.
    """
    with _threads_restored(models):
        cases, floors = [], {}
        for count in agents:
            for model in models:
                for number in threads:
                    case = _case(model, count, neighbors, samples, number)
                    if not model.exported and count not in floors:
                        floors[count] = product_floor(case.run, model.device)
                    cases.append(case)
        times = time_in_turns(cases, seconds, progress, give_up=give_up)
    rows: Rows = []
    first: dict[int, Times] = {}
    for case, measured in zip(cases, times, strict=True):
        count = case.facts["agents"]
        row = case.facts | measured.to_dict()
        row["agents_per_s"] = 1e3 * count / row["p50_ms"]
        row["x_first"] = measured.ratio(first.setdefault(count, measured))
        if count in floors and row["precision"] == "fp32":
            row |= {"floor_ms": floors[count], "x_floor": row["p50_ms"] / floors[count]}
        rows.append(row)
    return rows


def _case(model: Model, agents: int, neighbors: int, samples: int, threads: int) -> Case:
    predictor = model.load(threads)
    tracks = walkers(agents + neighbors, predictor.history, predictor.dims)
    past, others = tracks[:agents], tracks[agents:]

    def prepare() -> None:
        if not model.exported:
            import torch

            torch.set_num_threads(threads)

    facts = model.facts(threads) | {"agents": agents, "samples": samples}
    return Case(facts, lambda: predictor.predict(past, others, samples=samples, seed=1), prepare)


@contextmanager
def _threads_restored(models: Sequence[Model]) -> Iterator[None]:
    """Restore torch's number of threads at the end."""
    if all(model.exported for model in models):
        yield
        return
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def product_floor(call: Callable[[], object], device: str = "cpu") -> float:
    """Milliseconds of the matrix products of a call, one by one, in float32."""
    shapes = products(call)
    return 1e3 * sum(count * _product_seconds(shape, device) for shape, count in shapes.items())


def products(call: Callable[[], object]) -> Counter[tuple[int, int, int, int]]:
    """Count the matrix products of a call by shape: number, rows, inner size, columns."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    shapes: Counter[tuple[int, int, int, int]] = Counter()

    class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> object:
            name, options = func.overloadpacket.__name__, kwargs or {}
            operands = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
            if name in operands:
                a, b = args[operands[name] : operands[name] + 2]
                count = a.shape[0] if a.dim() == 3 else 1
                shapes[(count, a.shape[-2], a.shape[-1], b.shape[-1])] += 1
            else:
                with self:
                    result = func.decompose(*args, **options)
                if result is not NotImplemented:
                    return result
            return func(*args, **options)

    call()  # the first call of a predictor also records its graph
    with Products(), torch.no_grad():  # type: ignore[no-untyped-call]
        call()
    return shapes


@lru_cache(maxsize=1024)
def _product_seconds(shape: tuple[int, int, int, int], device: str) -> float:
    """Seconds of one product of a shape, the minimum of several."""
    import torch

    count, rows, inner, columns = shape
    a = torch.ones(count, rows, inner, device=device)
    b = torch.ones(count, inner, columns, device=device)
    seconds = []
    for _ in range(FLOOR_REPEATS):
        start = time.perf_counter()
        torch.matmul(a, b)
        if a.is_cuda:
            torch.cuda.synchronize(a.device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def parse_milliseconds(text: str) -> float:
    """Parse a time such as "10ms", "0.5 s" or "800us" into milliseconds, the default unit.

    Raises:
        ConfigError: It is not a positive time.

    Examples:
        >>> from trajflow.latency import parse_milliseconds
        >>> parse_milliseconds("0.5 s")
        500.0
    """
    word = text.strip().lower()
    unit = next((name for name in UNITS if word.endswith(name)), "")
    try:
        value = float(word.removesuffix(unit)) * UNITS.get(unit, 1.0)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ConfigError(f"a budget is a time such as 10ms or 0.5s, got {text!r}")
    return value


def fit_budget(
    models: Sequence[Model], budget_ms: float, agents: int, samples: int = 20, **options: Any
) -> tuple[dict[str, Any] | None, Rows]:
    """Find the model, threads and samples whose 99th percentile of latency is within a budget.

    Returns:
        The best row, or None, and all rows that were timed. The most samples win, then full
        precision, then the lower latency.
    """
    rows: Rows = []
    threads = tuple(sorted({1, os.cpu_count() or 1}))
    for share in SAMPLE_SHARES:
        count = max(1, int(samples * share))
        rows += measure_latency(
            models,
            (agents,),
            samples=count,
            threads=threads,
            give_up=GIVE_UP * budget_ms / 1e3,
            **options,
        )
        best = choose_row(rows, budget_ms)
        if best is not None:
            return best, rows
    return None, rows


def choose_row(rows: Rows, budget_ms: float) -> dict[str, Any] | None:
    """The best row with its 99th percentile within the budget, or None."""
    fit = [row for row in rows if row["p99_ms"] <= budget_ms]
    return min(
        fit,
        key=lambda row: (-row["samples"], row["precision"] != "fp32", row["p99_ms"]),
        default=None,
    )
