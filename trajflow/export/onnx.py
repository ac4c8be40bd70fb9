"""A run as one ONNX file: the model's own graph, and beside it what a forecast needs."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim

from trajflow.calibration import calibration_bytes
from trajflow.errors import ConfigError, MissingExtra, did_you_mean
from trajflow.export.verify import check_sizes, random_inputs
from trajflow.inference.onnx.artifact import FORMAT, Artifact, check_graph, sealed
from trajflow.inference.onnx.predictor import LearnedWeights
from trajflow.inference.onnx.session import GraphSession
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.sampler import Sampler

log = logging.getLogger("trajflow")
Precision = Literal["fp32", "int8"]
TOLERANCE: Mapping[str, float] = {"fp32": 1e-4, "int8": 0.25}
"""Share of the motion by which futures may differ between two machines, checked at every load."""
OUTPUTS = ("futures", "context")
AXES = {
    "past": (0, 1),
    "noise": (0, 1, 2),
    "dt_ratio": (0,),
    "memory": (0, 1),
    "types": (0, 1),
    "learned_noises": (0,),
}
"""The axes of each input whose sizes differ between calls."""
OPSET = 20
VALUES = "Converting a tensor to (a Python (boolean|float|number|list)|a NumPy array)"
"""How torch warns that what was recorded may depend on values."""
LARGE = 64
"""Least rows and columns of a matrix that int8 makes whole numbers."""
EXACT = ("/in_proj", "/out_proj")
"""Parts of the names of products that int8 leaves as they are, as it does small ones: noise and
positions pass through them."""
EXTRA = (
    "export needs onnx, onnxscript and onnxruntime; install them with: pip install "
    "'trajflow[export]'"
)


def to_onnx(
    predictor: TorchPredictor,
    precision: Precision = "fp32",
    files: Mapping[str, str] | None = None,
) -> bytes:
    """A predictor as an ONNX file.

    The graph is compared with the run at sizes it was not traced with before anything is returned.

    Args:
        predictor: On the processor.
        precision: What its large products are computed in.
        files: SHA-256 of the files that the predictor was loaded from, by name.

    Raises:
        MissingExtra: What writes or runs ONNX is not installed.
        RunError: The graph does not do what the run does.
    """
    graph = forecast_graph(predictor, precision)
    session = GraphSession(graph)
    artifact = artifact_of(predictor, session, precision, files)
    content = sealed(with_metadata(graph, artifact.metadata()))
    check_graph(content)
    return content


def forecast_graph(predictor: TorchPredictor, precision: Precision = "fp32") -> bytes:
    """The graph of a predictor.

    It gives `futures` and `context` of `past`, `noise` and, where the model has such inputs,
    `dt_ratio`, `memory`, `types` and `learned_noises`. For int8 the weights are whole numbers with
    a scale for each column, and what they multiply is scaled anew in every call.

    Raises:
        MissingExtra: What writes ONNX is not installed.
        RunError: The graph does not do what the run does.
    """
    if not all(find_spec(name) for name in ("onnx", "onnxscript")):
        raise MissingExtra(EXTRA)
    sets = predictor.sets if predictor.steps == 1 else None
    module = Sampler(predictor.model, predictor.temperature, predictor.steps, sets).eval()
    inputs = random_inputs(predictor, (3, 19, 2, 4), seed=0)
    examples = {name: torch.as_tensor(one) for name, one in inputs.items()}
    try:
        graph = _checked(_recorded(module, examples), predictor)
    except Exception as error:  # those of recording have no common base
        log.info("exporting by torch.export, which takes up to a minute")
        log.debug("recording failed: %r", error)
        graph = _checked(_compiled(module, examples), predictor)
    return graph if precision == "fp32" else _quantized(graph)


def precision_of(name: str) -> Precision:
    """The precision of a name.

    Raises:
        ConfigError: The name is unknown.
    """
    for precision in get_args(Precision):
        if name == precision:
            return cast(Precision, precision)
    raise ConfigError(did_you_mean("precision", name, list(get_args(Precision))))


def artifact_of(
    predictor: TorchPredictor,
    session: GraphSession,
    precision: Precision,
    files: Mapping[str, str] | None = None,
) -> Artifact:
    """What a graph must carry, the golden inputs and outputs of its session among it.

    Args:
        predictor: The run.
        session: What computes its graph.
        precision: Of its large products.
        files: SHA-256 of the files that the predictor was loaded from, by name.
    """
    golden = random_inputs(predictor, (2, 18, 3, 4), seed=1)
    futures, context = session.run(("futures", "context"), golden)
    arrays: dict[str, NDArray[Any]] = {f"golden/{name}": one for name, one in golden.items()}
    arrays |= {"golden/futures": futures, "golden/context": context}
    facts = facts_of(predictor, precision) | {"files": dict(files or {})}
    for count in facts["learned"]:
        state = predictor.sets[count].state_dict()
        for name in (
            f"{layer}.{kind}" for layer in LearnedWeights.LAYERS for kind in ("weight", "bias")
        ):
            arrays[f"set-{count}/{name}"] = state[name].cpu().numpy()
    if predictor.detector is not None:
        facts["ood"], numbers = predictor.detector.packed()
        arrays |= {f"ood/{name}": value for name, value in numbers.items()}
    return Artifact(facts, arrays)


def facts_of(predictor: TorchPredictor, precision: Precision) -> dict[str, Any]:
    """Everything a file says of itself."""
    model, dts = predictor.model, predictor.format.dt_range
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
        "displacement_scale": predictor.format.displacement_scale,
        "temperature": predictor.temperature,
        "least_dt_ratio": dts.least / dts.dt,
        "most_dt_ratio": dts.most / dts.dt,
        "evaluations": predictor.steps,
        "neighbors": None if social is None else social.limit,
        "memory": a.memory,
        "types": list(a.types),
        # Learned noises are those of one evaluation.
        "learned": sorted(predictor.sets) if predictor.steps == 1 else [],
        "calibration": None if calibration is None else json.loads(calibration_bytes(calibration)),
        "golden": TOLERANCE[precision],
        "ood": None,
    }


def weights_digest(predictor: TorchPredictor) -> str:
    """SHA-256 of a model's numbers by their names."""
    total = hashlib.sha256()
    for name, value in sorted(predictor.model.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def with_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """An ONNX graph that carries texts by key."""
    import onnx

    model = _onnx_model(graph)
    onnx.helper.set_model_props(model, dict(metadata))
    return bytes(model.SerializeToString())


def _recorded(module: nn.Module, examples: dict[str, torch.Tensor]) -> Any:
    """A module as ONNX by running it once, in about a second.

    Raises:
        Exception: It has an operator that cannot be written so, or depends on values in Python.
    """
    with (
        _quiet(),
        _closed_stdout(),
        torch.no_grad(),
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(record=True) as shown,
    ):
        warnings.filterwarnings("always", VALUES)
        file = Path(folder) / "recorded.onnx"
        torch.onnx.export(
            module,
            (),
            file,
            kwargs=examples,
            input_names=list(examples),
            output_names=list(OUTPUTS),
            dynamic_axes={name: list(AXES[name]) for name in examples},
            opset_version=OPSET,
            dynamo=False,
        )
        content = file.read_bytes()
    own = Path(torch.__file__).parent  # its modules compare sizes, which changes nothing
    if doubts := [one for one in shown if own not in Path(one.filename).parents]:
        raise ValueError(f"{doubts[0].filename}:{doubts[0].lineno}: {doubts[0].message}")
    return _onnx_model(content)


def _compiled(module: nn.Module, examples: dict[str, torch.Tensor]) -> Any:
    """A module as ONNX by `torch.export`, which takes longer and writes more operators."""
    shapes = {name: {axis: Dim.DYNAMIC for axis in AXES[name]} for name in examples}
    with _quiet(), torch.no_grad():
        program = torch.export.export(module, (), examples, dynamic_shapes=shapes)
        made = torch.onnx.export(program, output_names=list(OUTPUTS), dynamo=True, verbose=False)
    assert made is not None
    return made.model_proto


def _onnx_model(content: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(content)


def _checked(proto: Any, predictor: TorchPredictor) -> bytes:
    """A graph with its constants folded, after a comparison with the run at other sizes.

    At load, folding them would be work of unknown length.

    Raises:
        RunError: The graph does not do what the run does.
    """
    import onnxruntime as ort

    for node in proto.graph.node:  # they name files of this machine
        del node.metadata_props[:]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "basic.onnx")
        ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        graph = Path(options.optimized_model_filepath).read_bytes()
    check_sizes(predictor, GraphSession(graph))
    return graph


def _quantized(graph: bytes) -> bytes:
    """A graph whose products with constant matrices are of whole numbers."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = _onnx_model(graph).graph
    large = {one.name for one in model.initializer if min(one.dims, default=0) >= LARGE}
    kept = [
        one.name
        for one in model.node
        if not large & set(one.input) or any(word in one.name for word in EXACT)
    ]
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(graph)
        quantize_dynamic(
            whole,
            small,
            op_types_to_quantize=["MatMul"],
            # A Gemm becomes a MatMul with this name before.
            nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return small.read_bytes()


@contextmanager
def _closed_stdout() -> Iterator[None]:
    """Without what torch's C++ prints: where recording fails, the whole graph."""
    before = os.dup(1)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
