"""In what numbers an exported graph computes its large products."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, get_args

from trajflow.errors import ConfigError, MissingExtra, did_you_mean

Precision = Literal["fp32", "int8", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def precision_of(name: str, suffix: str = ".onnx") -> Precision:
    """The precision of a name.

    Args:
        name: What was asked for.
        suffix: Of the file: ".onnx", or ".pt2" for torch.

    Raises:
        ConfigError: There is none, or what computes such files does not compute in it.
    """
    for known in PRECISIONS:
        if name == known:
            break
    else:
        raise ConfigError(did_you_mean("precision", name, list(PRECISIONS)))
    if known == "bf16" and suffix == ".onnx":
        raise ConfigError(
            "ONNX Runtime has no bf16 products on a processor, it would compute them in fp32; "
            "take int8, or a .pt2 file for torch"
        )
    if known == "int8" and suffix == ".pt2":
        raise ConfigError("a .pt2 file is of fp32 or bf16; export int8 as .onnx")
    return known


def reduced(graph: bytes, precision: Precision) -> bytes:
    """A graph whose products with constant matrices are of a precision.

    For int8 the weights are whole numbers with a scale for each column, and what they are
    multiplied with is scaled anew in every call. Recurrent layers stay in single precision.

    Raises:
        ConfigError: The precision is not to be had.
        MissingExtra: What makes it is not installed.
    """
    if precision_of(precision) == "fp32":
        return graph
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtra(
            "int8 needs onnx and onnxruntime; install them with: pip install 'trajflow[export]'"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(graph)
        quantize_dynamic(
            whole,
            small,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return small.read_bytes()
