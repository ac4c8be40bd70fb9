"""A run as one ONNX file that needs no torch, with the proof that it does the same.

`export_run` is what `trajflow export` calls.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajflow.errors import ConfigError, DataError
from trajflow.io import write_whole
from trajflow.remote import refuse_url

log = logging.getLogger("trajflow")


@dataclass(frozen=True)
class ExportOptions:
    """How a run is exported.

    Attributes:
        precision: What large products are computed in: "fp32" or "int8".
        check: Whether forecasts, and scores where there are tracks, are compared with the run's.
        steps: Network evaluations per draw.
        ood: Whether the OOD detector of the run goes along.
    """

    precision: str = "fp32"
    check: bool = False
    steps: int = 1
    ood: bool = True


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    options: ExportOptions | None = None,
    data: str | Path | None = None,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a run as an .onnx file.

    Args:
        run: The run folder.
        out: The file; None: `model.onnx` in the run folder, where `Predictor.load` looks for it,
            or `model-int8.onnx` for that precision.
        options: How it is exported.
        data: A store whose validation split is forecast by both, where `check` is set.
        overwrite: Whether a file that is there is replaced.

    Returns:
        file, bytes, precision, ood and, where `check` is set, the largest difference of
        forecasts and the scores of both.

    Raises:
        ConfigError: The precision is not available, or `data` is given without `check`.
        DataError: The file cannot be written there.
        RunError: The export does not do what the run does; nothing is written.
    """
    from trajflow.export.onnx import precision_of, to_onnx
    from trajflow.export.verify import check_forecasts, check_scores
    from trajflow.inference.onnx.predictor import OnnxPredictor
    from trajflow.inference.predictor import TorchPredictor
    from trajflow.manifest import EXPORT, model_digests
    from trajflow.runs import RunFolder

    options = options or ExportOptions()
    precision = precision_of(options.precision)
    if out is None:
        refuse_url(run)
        name = EXPORT if precision == "fp32" else f"model-{precision}.onnx"
        out = RunFolder.open(run).path / name
    out = Path(out)
    _check_target(out, overwrite)
    if data is not None and not options.check:
        raise ConfigError(f"{data} is only looked at with --check")
    folder = RunFolder.open(run)
    files = model_digests(folder.path)
    predictor = TorchPredictor.load(folder.path, steps=options.steps)
    if not options.ood:
        predictor.detector = None
        files.pop("ood.safetensors", None)
    log.info("exporting")
    content = to_onnx(predictor, precision, files)
    exported = OnnxPredictor.of(content)
    report: dict[str, Any] = {"file": str(out), "bytes": len(content)}
    report |= {"precision": precision, "ood": exported.detector is not None}
    if options.check:
        report["largest difference"] = check_forecasts(predictor, exported)
    if options.check and data is not None:
        report |= check_scores(Path(run), Path(data), predictor, exported)
    write_whole(out, content)
    return report


def _check_target(out: Path, overwrite: bool) -> None:
    if out.suffix != ".onnx":
        raise DataError(f"an export is an .onnx file, got {out.name!r}")
    if not out.parent.is_dir():
        raise DataError(f"no folder {out.parent} for {out.name}; make it first")
    if out.is_dir() or (out.exists() and not overwrite):
        raise DataError(f"{out} exists already; choose another path or use --overwrite")
