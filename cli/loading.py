"""Load the predictor of a run or of an exported model."""

from pathlib import Path
from typing import TYPE_CHECKING

from trajflow.errors import RunError

if TYPE_CHECKING:
    from trajflow.predictor import Predictor
    from trajflow.runtime import Predictor as Exported


def load_forecaster(run: Path, device: str, steps: int) -> "Predictor | Exported":
    """The predictor of a run, or of an exported model.

    Raises:
        RunError: There is none, or it was exported for another number of evaluations.
    """
    if run.suffix not in (".onnx", ".pt2"):
        return load_predictor(run, device, steps)
    from trajflow.runtime import Predictor

    predictor = Predictor.load(run)
    if predictor.steps != steps:
        raise RunError(
            f"{run} draws in {predictor.steps} evaluations, asked for {steps}; leave --steps at "
            f"{predictor.steps}, or export the run with --steps {steps}"
        )
    return predictor


def load_predictor(run: Path, device: str, steps: int) -> "Predictor":
    """The predictor of a run.

    Raises:
        RunError: There is none.
    """
    from trajflow.predictor import Predictor
    from trajflow.runs import RunFolder
    from trajflow.training.setup import device_of

    return Predictor.load(RunFolder.open(run).path, str(device_of(device)), steps)
