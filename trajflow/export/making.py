"""An exported model made of a predictor, with the proof that it does the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from trajflow.batch import Bools
from trajflow.calibration import stored
from trajflow.errors import RunError
from trajflow.export.graph import ForecastGraph
from trajflow.export.precision import Precision, reduced
from trajflow.export.tracing import check_onnx, to_onnx, traced
from trajflow.predictor import Predictor
from trajflow.runtime.artefact import FORMAT, Artefact, sealed
from trajflow.runtime.golden import difference
from trajflow.runtime.session import Engine, Session

AGREED = 1e-5
"""Share of the motion by which futures of single precision may differ from the run's own."""
ALLOWED = {"fp32": 1e-4, "int8": 0.25, "bf16": 0.25}
"""The same between two machines, for what is checked whenever a model is loaded."""
OUTPUTS = ["futures", "context"]
OPEN = {"past": (0, 1), "noise": (0, 1, 2), "rate": (0,)}
Inputs = dict[str, NDArray[np.float32]]


def exported(predictor: Predictor, precision: Precision = "fp32") -> bytes:
    """A predictor as an ONNX file.

    It is checked at other sizes than it was traced with before anything is returned.

    Args:
        predictor: On the processor.
        precision: What its large products are computed in.

    Raises:
        MissingExtra: What writes ONNX, or runs it, is not installed.
        ConfigError: The precision is not to be had here.
        RunError: The graph does not do what the run does.
    """
    check_onnx()
    inputs = random_inputs(predictor, (3, 19, 2, 4), seed=0)
    program = trace(predictor, inputs)
    whole = to_onnx(program, _tensors(inputs), OUTPUTS)
    graph = reduced(whole, precision)
    engine = Session(graph)
    if precision == "fp32":
        check_sizes(predictor, engine)
    return sealed(graph, artefact_of(predictor, engine, precision))


def trace(predictor: Predictor, inputs: Inputs) -> ExportedProgram:
    """The program of a predictor's graph, with scenes, agents and samples left open."""
    graph = ForecastGraph(predictor.model, predictor.temperature, predictor.steps)
    return traced(graph, _tensors(inputs), OPEN)


def artefact_of(predictor: Predictor, engine: Engine, precision: Precision) -> Artefact:
    """What a graph must carry, the golden inputs and outputs of its engine among it."""
    golden = random_inputs(predictor, (2, 18, 3, 4), seed=1)
    (futures,) = engine("futures", **golden)
    arrays: dict[str, Any] = {f"golden/{name}": one for name, one in golden.items()}
    arrays["golden/futures"] = futures
    for count, one in predictor.sets.items():
        state = one.state_dict().items()
        arrays |= {f"set-{count}/{name}": value.cpu().numpy() for name, value in state}
    return Artefact(facts_of(predictor, precision), arrays)


def facts_of(predictor: Predictor, precision: Precision) -> dict[str, Any]:
    """Everything a file says of itself."""
    model, known = predictor.model, predictor.facts
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
        "temperature": predictor.temperature,
        "least_rate": known.get("least_rate", 1.0),
        "most_rate": known.get("most_rate", 1.0),
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


def check_sizes(predictor: Predictor, engine: Engine) -> None:
    """Let a graph forecast at sizes it was not traced with.

    Raises:
        RunError: It cannot, or what comes out is not what the run draws from the same noise.
    """
    sizes = ((1, 1, 1, 1), (1, 17, 1, 20), (2, 5, 5, 3), (5, 23, 4, 7))
    for number, size in enumerate(sizes):
        inputs = random_inputs(predictor, size, seed=2 + number)
        try:
            (found,) = engine("futures", **inputs)
        except Exception as error:  # what computes a graph has kinds of errors of its own
            raise RunError(f"the graph cannot be run for sizes {size}: {error}") from None
        apart = difference(found, own(predictor, inputs), inputs["past"])
        if not apart <= AGREED:
            raise RunError(
                f"the graph's futures are {apart:.2g} of the motion away from the run's own at "
                f"sizes {size}, {AGREED:g} allowed; this run cannot be exported"
            )


def own(predictor: Predictor, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Futures of the run itself from the inputs of a graph, [S, B, K, F, D]."""
    past, noise = inputs["past"], inputs["noise"]
    target = np.asarray(np.isfinite(past).all(-1).any(-1))
    target[:, noise.shape[2] :] = False
    asked = target[:, : noise.shape[2]]
    drawn = drawn_from(predictor, past, target, noise[:, asked], inputs.get("rate"))
    futures = np.zeros((*noise.shape[:3], *drawn.shape[2:]), np.float32)
    futures[:, asked] = drawn
    return futures


@torch.inference_mode()
def drawn_from(
    predictor: Predictor,
    past: NDArray[np.float32],
    target: Bools,
    noise: NDArray[np.float32],
    rate: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Futures of the run itself from given noise, [S, N, F, D].

    Args:
        predictor: The run.
        past: Positions about a point near each scene, [B, A, T, D]; NaN where unseen.
        target: The N agents that are forecast, [B, A].
        noise: Normal numbers, [S, N, ...].
        rate: Seconds per step over those that are usual, [B].
    """
    model, asked = predictor.model, torch.as_tensor(target)
    told = None if rate is None else torch.as_tensor(rate)
    wide = torch.as_tensor(noise) * predictor.temperature
    context, frame = model.context(torch.as_tensor(past), asked, told)
    if not model.architecture.joint:
        drawn = model.futures(context[asked], frame.take(asked), wide, predictor.steps)
    else:
        whole = wide.new_zeros(len(wide), *asked.shape, wide.shape[-1])
        whole[:, asked] = wide
        drawn = model.together(context, frame, asked, whole, predictor.steps)
    return np.asarray(drawn.numpy())


def random_inputs(predictor: Predictor, size: tuple[int, int, int, int], seed: int) -> Inputs:
    """Walks with missing steps and padded agents for a graph.

    Args:
        predictor: Whose sizes and lengths count.
        size: Scenes B, agents A, of which K are asked for, and samples S.
        seed: What they follow from.
    """
    scenes, agents, asked, samples = size
    a, unit = predictor.model.architecture, float(predictor.model.scaling.unit)
    chance = np.random.default_rng(seed)
    drift = chance.normal(size=(scenes, agents, 1, a.dims))
    steps = drift + 0.3 * chance.normal(size=(scenes, agents, a.history, a.dims))
    past = unit * (steps.cumsum(2) + 5 * chance.normal(size=(scenes, agents, 1, a.dims)))
    lost = chance.random(past.shape[:3]) < 0.15
    lost[chance.random((scenes, agents)) < 0.5] = False
    lost[:, asked:][chance.random((scenes, agents - asked)) < 0.15] = True
    lost[:, :asked, -1] = False
    past[lost] = np.nan
    noise = chance.normal(size=(samples, scenes, asked, a.horizon * a.dims))
    inputs = {"past": past.astype(np.float32), "noise": noise.astype(np.float32)}
    if a.rate:
        least, most = (one / predictor.dt for one in predictor.dts)
        inputs["rate"] = chance.uniform(least, most, scenes).astype(np.float32)
    return inputs


def _tensors(inputs: Inputs) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(one) for name, one in inputs.items()}
