"""Runs on the Hugging Face Hub: `trajflow push RUN org/name` and `Predictor.from_pretrained`.

Endpoint, token and cache are those of huggingface_hub (HF_ENDPOINT, HF_TOKEN, HF_HOME). Only
safetensors, TOML and JSON are downloaded, so that no code of others can run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trajflow.errors import DataError, MissingExtra, RunError, TrajflowError
from trajflow.evaluation.report import best_validation, reports_in, threshold_lines
from trajflow.manifest import FILE as MANIFEST
from trajflow.manifest import Manifest, keep
from trajflow.runs import CONFIG, RECORD, RESUME, WEIGHTS, RunFolder
from trajflow.text import safe, with_unit

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
KINDS = ("*.safetensors", "*.toml", "*.json")
CARD = "README.md"
# What resumes a training, and reports, which name folders of this machine.
OWN = (RESUME, "evaluation-", "ood-")
SCORES = {
    "energy_score": "energy score",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "miss_rate": "miss rate",
    "coverage_90": "coverage@90",
}


def push_run(run: str | Path, name: str, *, private: bool = False) -> str:
    """Upload a run to the Hub, with a model card, into a repository that is made if needed.

    Weights, settings, calibration, OOD detector and learned samples are uploaded; what resumes the
    training, events and reports stay here.

    Args:
        run: The run folder.
        name: The repository, "org/name".
        private: Whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        RunError: There is no run, it has no weights, or a file of it is damaged.
        MissingExtra: huggingface_hub is not installed.
        DataError: The name is invalid, or the Hub refuses the upload.

    Examples:
        >>> from trajflow.hub import push_run
        >>> push_run("runs/demo", "me/street")  # doctest: +SKIP
        'https://huggingface.co/me/street/commit/5f3e...'
    """
    folder = RunFolder.open(run)
    if not NAME.fullmatch(name):
        raise DataError(f"a repository of the Hub is ORG/NAME, got {safe(name)!r}")
    if not (folder.path / WEIGHTS).is_file():
        raise RunError(f"{run} has no {WEIGHTS}; push a run that has validated once")
    hub = _package()
    with tempfile.TemporaryDirectory(prefix="trajflow-") as parent:
        copy = Path(parent) / "run"
        copy.mkdir()
        for file in _pushed(folder):
            keep(copy / file, folder.read(file, "restore it from a copy"))
        (copy / CARD).write_text(model_card(folder, name), encoding="utf-8")
        with _reaching(name):
            api = hub.HfApi(library_name="trajflow")
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=name,
                folder_path=copy,
                allow_patterns=[*KINDS, CARD],
                commit_message=f"trajflow push {folder.path.resolve().name}",
            )
    return str(done.commit_url)


def pull_run(name: str, revision: str | None = None) -> Path:
    """Download a run from the Hub into the cache of huggingface_hub.

    Args:
        name: The repository, "org/name".
        revision: A branch, tag or commit; None: the main branch.

    Returns:
        The run folder.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        DataError: There is no such repository or revision, or the Hub cannot be reached.
        RunError: The repository is not a run.
    """
    hub = _package()
    with _reaching(name):
        place = hub.snapshot_download(
            name, revision=revision, allow_patterns=list(KINDS), library_name="trajflow"
        )
    folder = Path(place)
    missing = [file for file in (CONFIG, RECORD, WEIGHTS) if not (folder / file).is_file()]
    if missing:
        raise RunError(f"{name} on the Hub is not a run of trajflow: it has no {missing[0]}")
    return folder


def pretrained(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a run: a local path as it is, or the copy of a repository of the Hub.

    Raises:
        RunError: It is neither a path nor a name of a repository, or a path has no revision.
    """
    text = str(name)
    if Path(name).exists():
        if revision is not None:
            raise RunError(f"{text} is a local path, which has no revision; leave revision out")
        return Path(name)
    if isinstance(name, Path) or not NAME.fullmatch(text):
        raise RunError(f"nothing at {text}; give a run folder, or ORG/NAME of the Hub")
    return pull_run(text, revision)


def model_card(folder: RunFolder, name: str) -> str:
    """The README of a repository: data, scores, and how to use and train the model."""
    record, config = folder.read_record(), folder.config
    train = record.get("parts", {}).get("train", {})
    data = {
        "past": f"{config.data.history} steps of {record.get('dt', 0):g} s",
        "future": f"{config.data.horizon} steps",
        "unit": record.get("unit", ""),
        "coordinates": record.get("dims", ""),
        "trained on": f"{train.get('windows', 0)} windows of {train.get('people', 0)} agents",
        "tracks": str(record.get("store", ""))[:12],
        "preset": f"{config.flow.preset}, encoder {config.model.encoder}",
    }
    lines = [
        "---",
        "library_name: trajflow",
        "tags: [trajectory-forecasting, trajflow]",
        "---",
        f"# {name}",
        "",
        "Forecasts motion with trajflow: many plausible futures of moving agents in one network "
        "evaluation.",
        "",
        *_rows(data),
        "",
        "## Scores",
        "",
        *_score_lines(folder),
        "",
        "## Use",
        "",
        "```python",
        "from trajflow import Predictor",
        "",
        f'predictor = Predictor.from_pretrained("{name}")  # pip install "trajflow[hub]"',
        f"forecast = predictor.predict(past, samples=20)  # past: [agents, {config.data.history}, "
        f"{record.get('dims', 2)}]",
        "```",
        "",
        f"Trained by `trajflow train DATA --config {CONFIG}` of trajflow "
        f"{record.get('trajflow', '')}, with the settings of `{CONFIG}`.",
        "",
    ]
    return "\n".join(lines)


def _score_lines(folder: RunFolder) -> Iterator[str]:
    reports = reports_in(folder.path)
    if not reports:
        best = best_validation(folder).get("metrics", {})
        yield "On the validation split, whose scores chose the weights:"
        yield ""
        yield from _rows({words: f"{best[k]:.4g}" for k, words in SCORES.items() if k in best})
        return
    report = max(reports, key=lambda one: int(one["windows"]))
    where, ends = report["protocol"], report.get("intervals", {})
    fold = f", fold {where['fold']}" if where.get("fold") else ""
    yield (
        f"Split {where['split']}{fold}: {report['windows']} windows of {report['people']} agents, "
        f"{report['samples']} samples, network evaluations per sample: {report['steps']}; brackets "
        "are 95 % intervals over agents."
    )
    yield ""
    rows = {}
    for key, words in SCORES.items():
        value, (low, high) = report["mean"].get(key), ends.get(key) or (None, None)
        if value is not None:
            between = "" if None in (low, high) else f" [{low:.4g}, {high:.4g}]"
            unit = "" if key in ("miss_rate", "coverage_90") else where["unit"]
            rows[words] = with_unit(float(f"{value:.4g}"), unit) + between
    yield from _rows(rows)
    for line in threshold_lines(report):
        yield ""
        yield f"{line[0].upper()}{line[1:]}."


def _rows(values: Mapping[str, object]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for name, value in values.items():
        yield f"| {name} | {safe(value)} |"


def _pushed(folder: RunFolder) -> list[str]:
    """Names of the files that are uploaded, those that are listed in the manifest."""
    names = set(Manifest.read(folder.path).files) | {CONFIG, RECORD, WEIGHTS}
    kinds = {kind.removeprefix("*") for kind in KINDS}
    return sorted(
        name
        for name in names
        if Path(name).suffix in kinds and name != MANIFEST and not name.startswith(OWN)
    )


def _package() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtra("the Hub needs huggingface_hub: pip install 'trajflow[hub]'") from None
    return huggingface_hub


@contextmanager
def _reaching(name: str) -> Iterator[None]:
    """Inside, what the Hub refuses becomes an error about this repository.

    Raises:
        DataError: There is no such repository or revision, no right, or no network.
    """
    try:
        yield
    except TrajflowError:
        raise
    except Exception as error:  # huggingface_hub and httpx share no class
        what = safe(" ".join(str(error).split()) or type(error).__name__, 300)
        raise DataError(
            f"{name} on the Hub: {what}; look at the name, the revision, HF_TOKEN and the network"
        ) from None
