"""What `trajflow export` asks for, made, compared and only then kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajflow.cli.console import log
from trajflow.errors import ConfigError, DataError

SUFFIXES = (".onnx", ".pt2")


@dataclass(frozen=True)
class Wanted:
    """How a run is exported.

    Attributes:
        precision: What large products are computed in.
        check: Whether forecasts, and scores on tracks, are compared.
        steps: Network evaluations per draw.
        surprise: Whether what says how strange a past is goes along.
    """

    precision: str
    check: bool
    steps: int
    surprise: bool


def export_run(
    run: Path, data: Path | None, out: Path, how: Wanted, overwrite: bool
) -> dict[str, Any]:
    """Export a run, and say what was found.

    Raises:
        ConfigError: What is asked for is not to be had.
        DataError: It cannot be written there.
        RunError: The export does not do what the run does.
    """
    from trajflow.cli.loading import load_predictor
    from trajflow.export.checking import check_forecasts, check_scores
    from trajflow.export.making import exported
    from trajflow.export.precision import precision_of
    from trajflow.export.programs import exported_program
    from trajflow.files import write_whole
    from trajflow.runtime.predictor import Predictor

    _check_target(out, overwrite)
    if data is not None and not how.check:
        raise ConfigError(f"{data} is only looked at with --check")
    wanted = precision_of(how.precision, out.suffix)
    predictor = load_predictor(run, "cpu", how.steps)
    if not how.surprise:
        predictor.surprise = None
    log.info("exporting; this takes some seconds")
    make = exported_program if out.suffix == ".pt2" else exported
    content = make(predictor, wanted)
    small = Predictor.of(content)
    told: dict[str, Any] = {"file": str(out), "bytes": len(content), "precision": wanted}
    told["surprise"] = small.surprise is not None
    if how.check:
        told["largest difference"] = check_forecasts(predictor, small)
    if how.check and data is not None:
        told |= check_scores(run, data, predictor, small)
    write_whole(out, content)
    return told


def _check_target(out: Path, overwrite: bool) -> None:
    if out.suffix not in SUFFIXES:
        raise DataError(f"exports are {' or '.join(SUFFIXES)}, got {out.name!r}")
    if not out.parent.is_dir():
        raise DataError(f"no folder {out.parent} for {out.name}; make it first")
    if out.is_dir() or (out.exists() and not overwrite):
        raise DataError(f"{out} exists already; choose another path or use --overwrite")
