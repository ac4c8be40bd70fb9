"""Fit what a trained run carries beside its weights: calibration, OOD score, learned samples."""

from trajflow.fitting.calibration import calibrate_run as calibrate_run
from trajflow.fitting.ood import fit_ood as fit_ood
from trajflow.fitting.samples import fit_learned_samples as fit_learned_samples
