"""Writes a self-contained HTML report of a run: scores, calibration, OOD table, example windows.

`page.py` makes the tables. The script in `page.html` draws charts and maps from the values that
`windows.py` collects.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.datasets.store import Store, open_store
from trajflow.errors import DataError, RunError
from trajflow.evaluation.comparison import evaluate_baselines
from trajflow.evaluation.evaluate import evaluate_run
from trajflow.evaluation.report import PREFIX, read_report
from trajflow.evaluation.scores import EvaluationOptions
from trajflow.html_report import page
from trajflow.html_report import windows as example_windows
from trajflow.inference.loading import load_predictor
from trajflow.inference.tables import check_fit
from trajflow.io import write_whole
from trajflow.ood.report import newest_report
from trajflow.runs import RunFolder, track_data
from trajflow.types import OnProgress, silent


def write_html_report(
    run: str | Path,
    data: str | Path | None = None,
    out: str | Path = "report.html",
    options: EvaluationOptions | None = None,
    *,
    windows: int = 2000,
    panels: int = 6,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> Path:
    """Evaluate a run and the baselines, and write the results as one HTML file.

    Args:
        run: A run folder.
        data: A store; None: the one that the run was last evaluated on.
        out: The file; it is replaced.
        options: How to evaluate; None: 20 draws on the test split.
        windows: Number of targets behind charts and maps, about; scores are of all targets.
        panels: Maps of each kind: largest error, typical error, highest OOD score.
        device: Device to compute on.
        on_progress: Called with a label, the number done and their total.

    Returns:
        `out`.

    Raises:
        RunError: There is no such run, it does not fit the tracks, or its tracks are not known.
        DataError: The split has no windows, or the file cannot be written there.

    Examples:
        >>> from trajflow.html_report import write_html_report
        >>> write_html_report("runs/demo", "tracks.zarr", "demo.html")  # doctest: +SKIP
        PosixPath('demo.html')
    """
    options, out = options or EvaluationOptions(), Path(out)
    if not out.parent.is_dir():
        raise DataError(f"no folder {out.parent} for {out.name}; make it first")
    if out.is_dir():
        raise DataError(f"{out} is a folder; name a file in it, as {out / 'report.html'}")
    folder = RunFolder.open(run)
    store = open_store(_data_of(folder) if data is None else data)
    predictor = load_predictor(folder.path, device, options.steps)
    check_fit(predictor, store, store.path)
    evaluations = _evaluations(folder, store, options, device, on_progress)
    tracks = track_data(store, folder.config)
    batches = tracks.validation(example_windows.BATCH, windows, options.split)
    targets = example_windows.ForecastTargets.of(
        predictor, batches, options.samples, options.seed, on_progress
    )
    own, name = str(folder.path), folder.path.resolve().name
    report = next(evaluation for evaluation in evaluations if evaluation["name"] == own)
    sections = [
        page.head(name, folder.config, store, report),
        page.scores(evaluations, own, name, store.unit),
        page.charts(
            len(targets.person), len(np.unique(targets.person)), predictor.detector is not None
        ),
        page.out_of_distribution(newest_report(folder.path, store.fingerprint()), own, store),
        page.maps(store.dims),
    ]
    values = {
        "unit": store.unit,
        "dt": store.dt,
        "reliability": example_windows.reliability(targets),
        "retention": example_windows.retention(targets),
        "windows": example_windows.by_kind(targets, store, panels),
    }
    write_whole(out, _filled(name, sections, values).encode())
    return out


def _data_of(folder: RunFolder) -> str:
    """The store that the run was last evaluated on.

    Raises:
        RunError: There is none.
    """
    files = sorted(folder.path.glob(f"{PREFIX}*.json"), key=lambda file: file.stat().st_mtime_ns)
    names = [str(read_report(file)["protocol"]["data"]) for file in files]
    there = [name for name in names if Path(name).is_dir()]
    if not there:
        raise RunError(
            f"{folder.path} does not say where its tracks are; name them: "
            f"trajflow report {folder.path} DATA.zarr"
        )
    return there[-1]


def _evaluations(
    folder: RunFolder,
    store: Store,
    options: EvaluationOptions,
    device: str,
    on_progress: OnProgress,
) -> list[dict[str, Any]]:
    """Reports of the run and of all baselines, lowest energy score first."""
    options = replace(options, fold=folder.config.data.fold)
    own = evaluate_run(folder.path, store.path, options, device=device, on_progress=on_progress)
    others = evaluate_baselines(folder.path, store.path, options, on_progress=on_progress)
    result = [own, *others.values()]
    return sorted(result, key=lambda report: float(report["mean"]["energy_score"]))


def _filled(name: str, sections: Sequence[str], values: dict[str, Any]) -> str:
    template = files("trajflow.html_report").joinpath("page.html").read_text(encoding="utf-8")
    # No "<" stands in the values, so that no name of an agent can end the script.
    encoded = json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    head, body, rest = template.split("@@")
    title = html.escape(f"{name}: trajflow report")
    script = rest.replace("%%", encoded, 1)
    return "".join([head, title, body, "\n".join(sections), script])
