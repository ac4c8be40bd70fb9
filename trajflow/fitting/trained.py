"""What follows a training: its calibration and its OOD detector."""

from __future__ import annotations

from trajflow.batch import OnProgress, silent
from trajflow.calibration import FILE as CALIBRATION
from trajflow.files import Manifest
from trajflow.fitting.calibration import calibrate_trained
from trajflow.fitting.ood import fit_ood_trained
from trajflow.ood.storage import FILE as OOD
from trajflow.training import Trainer
from trajflow.training.reproducible import reproducible


def fit_trained(trainer: Trainer, on_progress: OnProgress = silent) -> None:
    """Calibrate what a training has kept and fit its OOD detector, where there are people enough.

    A run that was trained to its end before keeps what it has.
    """
    kept = Manifest.read(trainer.folder.path).files if trainer.finished else {}
    with reproducible(trainer.settings.threads, trainer.device):
        if CALIBRATION not in kept:
            calibrate_trained(trainer, on_progress)
        if OOD not in kept:
            fit_ood_trained(trainer, on_progress)
