"""Many plausible futures of moving agents in one network evaluation.

Public names are imported on first use, so `import trajflow` costs next to nothing.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trajflow.config import Config as Config
    from trajflow.errors import TrajflowError as TrajflowError
    from trajflow.evaluation import evaluate_baseline as evaluate_baseline
    from trajflow.evaluation import evaluate_run as evaluate_run
    from trajflow.fitting import calibrate_run as calibrate_run
    from trajflow.fitting import fit_learned_samples as fit_learned_samples
    from trajflow.fitting import fit_ood as fit_ood
    from trajflow.forecast import Forecast as Forecast
    from trajflow.inference.base import Predictor as Predictor
    from trajflow.inference.ensemble import Ensemble as Ensemble
    from trajflow.inference.online import OnlineForecast as OnlineForecast
    from trajflow.inference.online import OnlinePredictor as OnlinePredictor
    from trajflow.place import Place as Place
    from trajflow.sklearn import TrajectoryForecaster as TrajectoryForecaster

    __version__: str

_HOMES = {
    "Config": "trajflow.config",
    "Ensemble": "trajflow.inference.ensemble",
    "Forecast": "trajflow.forecast",
    "OnlineForecast": "trajflow.inference.online",
    "OnlinePredictor": "trajflow.inference.online",
    "Place": "trajflow.place",
    "Predictor": "trajflow.inference.base",
    "TrajectoryForecaster": "trajflow.sklearn",
    "TrajflowError": "trajflow.errors",
    "calibrate_run": "trajflow.fitting",
    "evaluate_baseline": "trajflow.evaluation",
    "evaluate_run": "trajflow.evaluation",
    "fit_learned_samples": "trajflow.fitting",
    "fit_ood": "trajflow.fitting",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("trajflow")
    if name == "Mixture":
        warnings.warn(
            "trajflow.Mixture is now trajflow.Ensemble; the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        name = "Ensemble"
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"trajflow has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
