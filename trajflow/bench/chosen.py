"""What a chosen set costs beside plain draws, and where the time goes."""

from collections.abc import Sequence
from typing import Any

from trajflow.bench.asked import Asked
from trajflow.bench.floor import floor_of
from trajflow.bench.latency import Rows, Tell
from trajflow.bench.scenes import Scene, scene
from trajflow.bench.subjects import Engine, Subject
from trajflow.bench.timing import Case, take_turns
from trajflow.predictor import Predictor
from trajflow.selection import available

LEARNED = "learned"


def chosen_sets(subjects: Sequence[Subject], asked: Asked, tell: Tell) -> Rows:
    """One row for each rule and number of agents; `over_plain` is paired, turn by turn.

    A rule's floor is what the matrix products of drawing alone take, before anything is chosen.
    """
    subject = next((one for one in subjects if not one.exported), None)
    if subject is None:
        return []
    engine = subject.engines((1,))[0]
    cases = [case for count in asked.agents for case in _cases(engine, count, asked)]
    times = take_turns(cases, asked.seconds, tell)
    rows: Rows = []
    plain = times[0]
    for case, each in zip(cases, times, strict=True):
        plain = each if case.facts["rule"] == "plain" else plain
        rows.append(case.facts | each.to_dict() | {"over_plain": each.over(plain)})
    return rows


def _cases(engine: Engine, agents: int, asked: Asked) -> list[Case]:
    predictor = engine.predictor
    assert isinstance(predictor, Predictor)
    at = scene(agents, asked.neighbours, predictor.history, predictor.dims)
    engine.prepare()
    few = max(asked.samples, asked.draws // 4)
    some = [
        _case(engine, at, "plain", asked.samples),
        _case(engine, at, "drawing alone", asked.draws),
    ]
    for draws in sorted({asked.draws, few}, reverse=True):
        for rule in available():
            some.append(_case(engine, at, rule, asked.samples, draws=draws, select=rule))
    if asked.samples in predictor.sets:
        some.append(_case(engine, at, LEARNED, asked.samples, select=LEARNED))
    return some


def _case(engine: Engine, at: Scene, name: str, samples: int, **how: Any) -> Case:
    def run() -> object:
        return engine.forecast(at, samples, **how)

    assert isinstance(engine.predictor, Predictor)
    floor = floor_of(engine.predictor.model, run)
    facts = {"agents": len(at.past), "rule": name, "draws": how.get("draws", samples)}
    return Case(facts | {"floor_ms": 1e3 * floor.least}, run, engine.prepare)
