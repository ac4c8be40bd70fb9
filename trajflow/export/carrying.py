"""What an exported model carries beside its graph."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any, NamedTuple

from trajflow.calibration import stored
from trajflow.export.inputs import random_inputs
from trajflow.export.precision import Precision
from trajflow.export.sight import check_views, sight_noise
from trajflow.predictor import Predictor
from trajflow.runtime.artefact import FORMAT, Artefact
from trajflow.runtime.golden import judged
from trajflow.runtime.session import Engine
from trajflow.runtime.viewing import EngineViewer
from trajflow.surprise.packing import packed

ALLOWED = {"fp32": 1e-4, "int8": 0.25, "bf16": 0.25}
"""Share of the motion by which futures may differ between two machines, checked at every load."""


class Sight(NamedTuple):
    """The graph of what surprise looks at, and what computes it."""

    content: bytes
    engine: Engine


def artefact_of(
    predictor: Predictor, engine: Engine, precision: Precision, sight: Sight | None = None
) -> Artefact:
    """What a graph must carry, the golden inputs and outputs of its engine among it.

    Args:
        predictor: The run.
        engine: What computes its graph.
        precision: Of its large products.
        sight: What surprise looks at; None: the artefact knows nothing of surprise.

    Raises:
        RunError: That does not see what the run does.
    """
    golden = random_inputs(predictor, (2, 18, 3, 4), seed=1)
    (futures,) = engine("futures", **golden)
    arrays: dict[str, Any] = {f"golden/{name}": one for name, one in golden.items()}
    arrays["golden/futures"] = futures
    facts = facts_of(predictor, precision)
    for count, one in predictor.sets.items():
        state = one.state_dict().items()
        arrays |= {f"set-{count}/{name}": value.cpu().numpy() for name, value in state}
    if sight is None or predictor.surprise is None:
        return Artefact(facts | {"surprise": None}, arrays)
    facts["surprise"], numbers = packed(predictor.surprise)
    arrays |= {f"surprise/{name}": value for name, value in numbers.items()}
    arrays["surprise/noise"] = noise = sight_noise(predictor)
    viewer = EngineViewer(predictor.known, facts["neighbours"], sight.engine, noise)
    check_views(predictor, viewer)
    arrays |= judged(predictor.surprise, viewer, golden["past"], golden["noise"].shape[2])
    return Artefact(facts, arrays, sight.content)


def facts_of(predictor: Predictor, precision: Precision) -> dict[str, Any]:
    """Everything a file says of itself."""
    model, rates = predictor.model, predictor.known.rates
    a, social = model.architecture, model.social
    calibration = predictor.calibration
    return {
        "format": FORMAT,
        "trajflow": version("trajflow"),
        "weights": weights_digest(predictor),
        "precision": precision,
        "encoder": a.encoder,
        "joint": a.joint,
        "history": a.history,
        "horizon": a.horizon,
        "dims": a.dims,
        "dt": predictor.dt,
        "unit": predictor.unit,
        "table": predictor.facts.get("table"),
        "usual": predictor.known.usual,
        "temperature": predictor.temperature,
        "least_rate": rates.least / rates.dt,
        "most_rate": rates.most / rates.dt,
        "evaluations": predictor.steps,
        "neighbours": None if social is None else social.limit,
        "sets": sorted(predictor.sets),
        "calibration": None if calibration is None else json.loads(stored(calibration)),
        "golden": ALLOWED[precision],
    }


def weights_digest(predictor: Predictor) -> str:
    """SHA-256 of a model's numbers by their names."""
    total = hashlib.sha256()
    for name, value in sorted(predictor.model.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
