"""The course of a training as curves and numbers."""

from collections.abc import Sequence

import numpy as np

from trajflow.batch import Floats
from trajflow.tui.jobs.history import History
from trajflow.tui.widgets.curves import Curve
from trajflow.tui.widgets.facts import Line
from trajflow.tui.widgets.words import count, number, share, span

SCORES = {"energy_score": "energy", "min_ade": "minADE", "min_fde": "minFDE"}
SMOOTH = 0.04
"""Share of the steps that the smooth loss looks back on."""


def loss_curves(history: History) -> list[Curve]:
    """The loss as it was said, and what it is on average."""
    epoch = _epochs([point.step for point in history.points], history)
    loss = np.array([point.loss for point in history.points])
    smooth = _smooth(loss, max(1, round(SMOOTH * len(loss))))
    return [Curve("loss", epoch, loss, faint=True), Curve("mean", epoch, smooth)]


def score_curves(history: History) -> list[Curve]:
    """The scores on the validation part."""
    epoch = _epochs([one.step for one in history.judged], history)
    scores = {key: [one.metrics.get(key, np.nan) for one in history.judged] for key in SCORES}
    return [Curve(name, epoch, np.array(scores[key])) for key, name in SCORES.items()]


def schedule_curves(history: History) -> list[Curve]:
    """The weight lambda, and the learning rate as a share of its highest."""
    epoch = _epochs([point.step for point in history.points], history)
    weight = np.array([point.weight for point in history.points])
    rate = np.array([point.rate for point in history.points])
    highest = np.nanmax(rate, initial=0.0) if len(rate) else 0.0
    relative = rate / highest if highest > 0 else rate
    return [Curve("lambda", epoch, weight), Curve("rate / peak", epoch, relative)]


def facts_of(history: History) -> list[Line]:
    """What is known of a training, in numbers."""
    last = history.points[-1] if history.points else None
    return [
        [
            ("energy score", number(history.best("energy_score"))),
            ("minADE", number(history.best("min_ade"))),
        ],
        [
            ("inside 90 %", share(history.best("coverage_90"))),
            ("minFDE", number(history.best("min_fde"))),
        ],
        [
            ("lambda", number(last.weight) if last else "-"),
            ("rate", number(last.rate) if last else "-"),
        ],
        [("weights", count(history.parameters)), ("on", history.device or "-")],
        [("best at epoch", number(history.best_epoch)), ("took", span(history.seconds))],
    ]


def validations(history: History) -> list[Line]:
    """The scores of each validation, newest first; a star marks the best so far."""
    head = f"{'epoch':>6}{'energy':>8}{'minADE':>8}{'minFDE':>8}{'90 %':>6}"
    rows: list[Line] = [[("", f"{head}")]] if history.judged else []
    for one in reversed(history.judged):
        scores = [one.metrics.get(name, np.nan) for name in SCORES]
        told = "".join(f"{number(score):>8}" for score in scores)
        inside = f"{share(one.metrics.get('coverage_90', np.nan)):>6}"
        rows.append([("", f"{one.epoch:6.1f}{told}{inside}{' *' if one.best else ''}")])
    return rows


def _epochs(steps: Sequence[int], history: History) -> Floats:
    return np.array(steps, float) / (history.steps_per_epoch or 1)


def _smooth(values: Floats, width: int) -> Floats:
    """Mean of each value and those before it, `width` in all."""
    known = np.nan_to_num(values)
    total = np.concatenate([[0.0], np.cumsum(known)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(0, end - width)
    return np.asarray((total[end] - total[begin]) / (end - begin))
