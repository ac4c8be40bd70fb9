"""How long forecasts take, by agents, samples, backend, precision and threads."""

from collections.abc import Callable, Sequence
from typing import Any

from trajflow.bench.asked import Asked
from trajflow.bench.floor import Floor, floor_of
from trajflow.bench.hogs import Hogs, hogs
from trajflow.bench.scenes import Scene, scene
from trajflow.bench.subjects import LARGEST_ERROR, Engine, Subject, check
from trajflow.bench.timing import Case, Times, take_turns
from trajflow.predictor import Predictor

Tell = Callable[[float], object]
Rows = list[dict[str, Any]]


def latency(
    subjects: Sequence[Subject], asked: Asked, tell: Tell, hopeless: float = float("inf")
) -> Rows:
    """One row for each engine and number of agents: times, and times over the floor.

    With hogs every case is timed twice in each round, while they pause and while they run. A case
    of which a call takes longer than `hopeless` seconds is timed once.
    """
    pairs = [
        (engine, scene(count, asked.neighbours, one.history, one.dims))
        for count in asked.agents
        for subject in subjects
        for engine in subject.engines(asked.threads)
        for one in [engine.predictor]
    ]
    floors = {
        (subject.name, len(at.past)): _floor(subject, at, asked.samples)
        for subject in subjects
        for at in {len(at.past): at for engine, at in pairs if engine.subject == subject}.values()
    }
    with hogs(asked.hog) as some:
        cases = [case for pair in pairs for case in _cases(*pair, asked, some)]
        times = take_turns(cases, asked.seconds, tell, hopeless=hopeless)
    rows = [case.facts | each.to_dict() for case, each in zip(cases, times, strict=True)]
    for row in rows:
        row["forecasts_per_s"] = 1e3 * row["agents"] / row["p50_ms"]
    for row, each in zip(rows, times, strict=True):
        _compare(row, each, rows, times, floors)
    return rows


def _cases(engine: Engine, at: Scene, asked: Asked, some: Hogs) -> list[Case]:
    facts = engine.facts | {"agents": len(at.past), "samples": asked.samples}
    if engine.kernel == "medium" and check(engine, at) > LARGEST_ERROR:
        return []

    def run() -> object:
        return engine.forecast(at, asked.samples)

    def pause() -> None:
        some.pause()
        engine.prepare()

    def go_on() -> None:
        some.go_on()
        engine.prepare()

    quiet = Case(facts | {"hogs": 0}, run, pause)
    return [quiet, Case(facts | {"hogs": asked.hog}, run, go_on)] if asked.hog else [quiet]


def _floor(subject: Subject, at: Scene, samples: int) -> Floor | None:
    engine = subject.engines((1,))[0]
    if not isinstance(engine.predictor, Predictor):
        return None
    engine.prepare()
    return floor_of(engine.predictor.model, lambda: engine.forecast(at, samples))


def _compare(
    row: dict[str, Any],
    times: Times,
    rows: Rows,
    others: Sequence[Times],
    floors: dict[tuple[str, int], Floor | None],
) -> None:
    """Adds how many times the floor, the first backend and the quiet case it takes."""
    known = [floor for (_, agents), floor in floors.items() if agents == row["agents"] and floor]
    floor = floors[(row["model"], row["agents"])] or (known[0] if known else None)
    if floor:
        row |= floor.to_dict() | {"over_floor": row["p50_ms"] / (1e3 * floor.least)}
    same = ("agents", "samples")
    for other, theirs in zip(rows, others, strict=True):
        if all(other[k] == row[k] for k in same) and other["hogs"] == 0:
            row["over_first"] = times.over(theirs)
            break
    for other, theirs in zip(rows, others, strict=True):
        twins = ("model", "backend", "precision", "threads", *same)
        if row["hogs"] and other["hogs"] == 0 and all(other[k] == row[k] for k in twins):
            row["over_quiet"] = times.over(theirs)
