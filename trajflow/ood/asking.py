"""A run is asked once: windows are cut, shifts looked at, and the report says on which terms."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.ood.grounds import Grounds
from trajflow.ood.marks import Judged
from trajflow.ood.people import RESAMPLES
from trajflow.ood.question import Question
from trajflow.ood.suite import Stage, Terms, examine
from trajflow.ood.verdict import Values


def grounds_of(
    question: Question, store: Store, config: Config, against: Store | None = None
) -> Grounds:
    """The windows; the same each time, so that one of a report can be looked at again."""
    return Grounds.of(
        store,
        config,
        part=question.part,
        windows=question.windows,
        seed=question.seed,
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
    tell: Callable[[Stage], None] = lambda stage: None,
) -> Values:
    """The report of a run, in values that JSON can hold.

    Args:
        name: What the run is called.
        judged: Its predictor.
        store: The tracks, of which the run has not seen the part asked about.
        config: Its settings.
        question: What is asked.
        against: Other tracks, a shift of their own.
        tell: Hears how far it is.

    Raises:
        ConfigError: There is no such shift.
        DataError: The part is empty.
        RunError: The run has no surprise, or the other tracks do not fit it.
    """
    for found in reporting(name, judged, store, config, question, against):
        if isinstance(found, Stage):
            tell(found)
        else:
            report = found
    return report


def reporting(
    name: str,
    judged: Judged,
    store: Store,
    config: Config,
    question: Question,
    against: Store | None = None,
) -> Iterator[Stage | Values]:
    """As `report_on`, stage by stage, and the report at the end."""
    grounds = grounds_of(question, store, config, against)
    terms = Terms(question.samples, question.seed, question.names)
    found: Values = {}
    for stage in examine(judged, grounds, terms, against):
        if isinstance(stage, Stage):
            yield stage
        else:
            found = stage
    if judged.calibration is None:
        found["notes"].append(
            "the run has no calibrated regions; `trajflow fit RUN DATA calibration` fits them"
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
    yield {"kind": "ood", "name": name, "protocol": protocol, **finite(found)}


def written(report: Values) -> bytes:
    """A report as JSON."""
    return json.dumps(report, allow_nan=False).encode()


def finite(value: Any) -> Any:
    """The same values to six digits, None for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
