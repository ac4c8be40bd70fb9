"""How a forecaster is judged: one protocol for networks and baselines, with honest intervals."""

from trajflow.evaluation.evaluate import EvaluationOptions as EvaluationOptions
from trajflow.evaluation.evaluate import evaluate_baseline as evaluate_baseline
from trajflow.evaluation.evaluate import evaluate_folds as evaluate_folds
from trajflow.evaluation.evaluate import evaluate_run as evaluate_run
from trajflow.evaluation.evaluate import judge as judge
from trajflow.evaluation.report import GroupScore as GroupScore
from trajflow.evaluation.report import Report as Report
from trajflow.evaluation.scores import Judging as Judging
