"""A run is asked once: windows are cut, shifts looked at, and the report says on which terms."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.ood.grounds import Grounds
from trajflow.ood.marks import Judged
from trajflow.ood.people import RESAMPLES
from trajflow.ood.suite import Terms, examine
from trajflow.ood.verdict import Values

WINDOWS = 600
"""Ordinary targets; 142 people of one street are seen four times each by so many."""


@dataclass(frozen=True)
class Question:
    """What is asked of a run.

    Attributes:
        part: Part whose windows are ordinary.
        windows: How many of its targets, about, and of each pool of others.
        samples: Futures of each.
        steps: Network evaluations per draw.
        seed: What shifts, draws and resamples follow from.
        names: Shifts, or severities of them; none: all.
    """

    part: str = "test"
    windows: int = WINDOWS
    samples: int = 20
    steps: int = 1
    seed: int = 0
    names: tuple[str, ...] = ()

    def grounds(self, store: Store, config: Config, against: Store | None = None) -> Grounds:
        """The windows; the same each time, so that one of a report can be looked at again."""
        return Grounds.of(
            store,
            config,
            part=self.part,
            windows=self.windows,
            seed=self.seed,
            against=against,
        )


def report_on(
    name: str,
    judged: Judged,
    store: Store,
    config: Config,
    question: Question,
    *,
    against: Store | None = None,
    tell: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> Values:
    """The report of a run, in values that JSON can hold.

    Args:
        name: What the run is called.
        judged: Its predictor.
        store: The tracks, of which the run has not seen the part asked about.
        config: Its settings.
        question: What is asked.
        against: Other tracks, a shift of their own.
        tell: Hears how far it is: sets of windows looked at, of how many, and which now.

    Raises:
        ConfigError: There is no such shift.
        DataError: The part is empty.
        RunError: The run has no surprise, or the other tracks do not fit it.
    """
    grounds = question.grounds(store, config, against)
    terms = Terms(question.samples, question.seed, question.names)
    found = examine(judged, grounds, terms, against=against, tell=tell)
    if judged.calibration is None:
        found["notes"].append(
            "the run has no calibrated regions; `trajflow calibrate RUN DATA` fits them"
        )
    protocol = {
        "data": str(store.path),
        "fingerprint": store.fingerprint(),
        "hash": grounds.data.describe()["hash"],
        "split": question.part,
        "fold": config.data.fold,
        "history": config.data.history,
        "horizon": config.data.horizon,
        "stride": config.data.stride,
        "unit": store.unit,
        "dt": store.dt,
        "windows": question.windows,
        "samples": question.samples,
        "steps": question.steps,
        "seed": question.seed,
        "only": list(question.names),
        "against": None if against is None else str(against.path),
        "against_fingerprint": None if against is None else against.fingerprint(),
        "resamples": RESAMPLES,
    }
    return {"kind": "ood", "name": name, "protocol": protocol, **finite(found)}


def written(report: Values) -> bytes:
    """A report as JSON."""
    return json.dumps(report, allow_nan=False).encode()


def finite(value: Any) -> Any:
    """The same values, None for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
