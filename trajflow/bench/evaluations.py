"""One network evaluation against many of the same net: time, and energy score where data are."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from trajflow import metrics
from trajflow.bench.asked import Asked
from trajflow.bench.latency import Rows, Tell
from trajflow.bench.scenes import scene
from trajflow.bench.subjects import Subject
from trajflow.bench.timing import Case, take_turns
from trajflow.datasets.data import TrackData
from trajflow.datasets.store import open_store
from trajflow.predictor import Predictor
from trajflow.runs import RunFolder

STEPS = (1, 10, 100)
BATCH = 256


def evaluations(subjects: Sequence[Subject], asked: Asked, tell: Tell) -> Rows:
    """One row for each run and number of evaluations, of one agent and of the most asked for."""
    torch_ones = [subject for subject in subjects if not subject.exported]
    cases = [
        _case(subject, steps, count, asked)
        for subject in torch_ones
        for count in sorted({min(asked.agents), max(asked.agents)})
        for steps in STEPS
    ]
    times = take_turns(cases, asked.seconds, tell)
    rows: Rows = []
    for k, (case, each) in enumerate(zip(cases, times, strict=True)):
        one_step = times[k - k % len(STEPS)]
        rows.append(case.facts | each.to_dict() | {"over_one": each.over(one_step)})
    for subject in torch_ones:
        scores = _scores(subject, asked)
        for row in rows:
            if row["model"] == subject.name and scores:
                row["energy_score"] = scores[row["evaluations"]]
    return rows


def _case(subject: Subject, steps: int, agents: int, asked: Asked) -> Case:
    engine = subject.engines((min(asked.threads),))[0]
    known = engine.predictor
    assert isinstance(known, Predictor)
    predictor = Predictor(known.model, known.facts, subject.device, steps)
    at = scene(agents, asked.neighbours, known.history, known.dims)
    preset = "average velocity" if known.model.architecture.average else "flow"
    facts = {"model": subject.name, "kind": preset, "agents": agents, "evaluations": steps}
    return Case(
        facts, lambda: predictor.predict(at.past, at.neighbours, asked.samples, 1), engine.prepare
    )


def _scores(subject: Subject, asked: Asked) -> dict[int, float]:
    """Mean energy score on the validation part, by number of evaluations."""
    if asked.data is None or subject.path is None:
        return {}
    known = subject.load(1)
    assert isinstance(known, Predictor)
    settings = RunFolder.open(subject.path).config.data
    data = TrackData(open_store(asked.data), **settings.model_dump(), order=0)
    batches = list(islice(data.validation(BATCH, asked.windows), asked.windows))
    found = {}
    for steps in STEPS:
        predictor = Predictor(known.model, known.facts, subject.device, steps)
        scores = [
            metrics.energy_score(
                predictor.forecast(one, asked.samples, seed)[:, one.target], one.future[one.target]
            )
            for seed, one in enumerate(batches)
        ]
        found[steps] = float(np.concatenate(scores).mean())
    return found
