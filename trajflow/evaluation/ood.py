"""Evaluate a run out of its distribution, and keep report and picture in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trajflow.datasets.store import open_store
from trajflow.inference.predict import load_predictor
from trajflow.inference.tables import check_fit
from trajflow.ood.evaluate import evaluate_ood, report_bytes
from trajflow.ood.plots import draw
from trajflow.ood.report import OODTerms, Stage, Values, report_name
from trajflow.plotting import save
from trajflow.runs import RunFolder

PICTURE, REPORT = "ood.png", "ood.json"


def evaluate_run_ood(
    run: str | Path,
    data: str | Path,
    terms: OODTerms | None = None,
    *,
    against: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    on_stage: Callable[[Stage], object] = lambda stage: None,
) -> Values:
    """Evaluate a run under every corruption.

    Args:
        run: The run folder; report and picture are kept in it.
        data: A store, of which the run has not seen the split that is evaluated.
        terms: What is evaluated; None: 600 windows of the test split.
        against: Another store, as one more corruption.
        out: A folder that gets `ood.json` and `ood.png` too.
        device: Where to compute.
        on_stage: Called before each set of windows.

    Returns:
        The report, in values that JSON can hold.

    Raises:
        ConfigError: There is no such corruption, or the run has no OOD detector.
        RunError: The run does not fit the tracks.
        DataError: The split is empty.
    """
    terms = terms or OODTerms()
    folder, store = RunFolder.open(run), open_store(data)
    other = None if against is None else open_store(against)
    predictor = load_predictor(folder.path, device, terms.steps)
    check_fit(predictor, store, data)
    report = evaluate_ood(str(run), predictor, store, folder.config, terms, other, on_stage)
    name, figure = report_name(report["protocol"]), draw(report)
    folder.write(name, report_bytes(report))
    save(figure, folder.path / name.replace(".json", ".png"))
    if out is not None:
        place = Path(out)
        place.mkdir(parents=True, exist_ok=True)
        (place / REPORT).write_bytes(report_bytes(report))
        save(figure, place / PICTURE)
    return report
