"""Scores of runs and baselines with intervals over people, comparison, and OOD evaluation."""

from trajflow.evaluation.evaluate import evaluate_baseline as evaluate_baseline
from trajflow.evaluation.evaluate import evaluate_folds as evaluate_folds
from trajflow.evaluation.evaluate import evaluate_forecaster as evaluate_forecaster
from trajflow.evaluation.evaluate import evaluate_run as evaluate_run
from trajflow.evaluation.report import GroupScore as GroupScore
from trajflow.evaluation.report import Report as Report
from trajflow.evaluation.scores import EvaluationOptions as EvaluationOptions
