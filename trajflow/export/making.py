"""An exported model made of a predictor, with the proof that it does the same."""

from __future__ import annotations

from torch.export import ExportedProgram

from trajflow.errors import RunError
from trajflow.export.carrying import Sight, artefact_of
from trajflow.export.graph import ForecastGraph
from trajflow.export.inputs import AGREED, SIZES, own, random_inputs, tensors
from trajflow.export.precision import Precision, reduced
from trajflow.export.sight import sight_program
from trajflow.export.tracing import check_onnx, to_onnx, traced
from trajflow.model import TrajectoryModel
from trajflow.predictor import Predictor
from trajflow.runtime.artefact import DRAWN, SEEN, sealed
from trajflow.runtime.golden import difference
from trajflow.runtime.session import Engine, Session

OPEN = {"past": (0, 1), "noise": (0, 1, 2), "rate": (0,)}


def exported(predictor: Predictor, precision: Precision = "fp32") -> bytes:
    """A predictor as an ONNX file.

    It is checked at other sizes than it was traced with before anything is returned.

    Args:
        predictor: On the processor.
        precision: What its large products are computed in; those of surprise are always of fp32.

    Raises:
        MissingExtra: What writes ONNX, or runs it, is not installed.
        ConfigError: The precision is not to be had here.
        RunError: The graph does not do what the run does.
    """
    check_onnx()
    graph = reduced(to_onnx(trace(predictor, predictor.model), DRAWN), precision)
    engine = Session(graph)
    if precision == "fp32":
        check_sizes(predictor, engine)
    sight = None
    if predictor.surprise is not None:
        seen = to_onnx(sight_program(predictor), SEEN)
        sight = Sight(seen, Session(seen))
    return sealed(graph, artefact_of(predictor, engine, precision, sight))


def trace(predictor: Predictor, model: TrajectoryModel) -> ExportedProgram:
    """The program of a graph, with scenes, agents and samples left open.

    Args:
        predictor: What it forecasts as.
        model: Its model, or one like it of another precision.
    """
    graph = ForecastGraph(model, predictor.temperature, predictor.steps)
    return traced(graph, tensors(random_inputs(predictor, (3, 19, 2, 4), seed=0)), OPEN)


def check_sizes(predictor: Predictor, engine: Engine) -> None:
    """Let a graph forecast at sizes it was not traced with.

    Raises:
        RunError: It cannot, or what comes out is not what the run draws from the same noise.
    """
    for number, size in enumerate(SIZES):
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
