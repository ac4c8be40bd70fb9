"""How a forecaster is judged: one protocol for networks and floors, with honest intervals."""

from trajflow.evaluation.judging import evaluate as evaluate
from trajflow.evaluation.judging import evaluate_folds as evaluate_folds
from trajflow.evaluation.judging import judge as judge
from trajflow.evaluation.protocol import Forecaster as Forecaster
from trajflow.evaluation.protocol import Judging as Judging
from trajflow.evaluation.report import Report as Report
from trajflow.evaluation.report import Score as Score
