"""Evaluates a run out of distribution and writes report and picture to its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trajflow.datasets.store import open_store
from trajflow.inference.loading import load_predictor
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
        run: The run folder; report and picture are written to it.
        data: A store. The run must not have been trained on the split that is evaluated.
        terms: Options of the evaluation; None: 600 windows of the test split.
        against: Another store, evaluated as one more corruption.
        out: A folder that also gets `ood.json` and `ood.png`.
        device: Device to compute on.
        on_stage: Called before each corruption.

    Returns:
        The report, as values that JSON can hold.

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
        folder_out = Path(out)
        folder_out.mkdir(parents=True, exist_ok=True)
        (folder_out / REPORT).write_bytes(report_bytes(report))
        save(figure, folder_out / PICTURE)
    return report
