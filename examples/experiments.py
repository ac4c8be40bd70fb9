"""Shared steps of the experiments in this folder: generate a store, train a run, write tables."""

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import torch

from trajflow.config import Config
from trajflow.datasets import synthetic
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.training.setup import new_trainer

SMALL_MODEL = (
    "model.width=64",
    "model.decoder_width=96",
    "model.decoder_depth=3",
    "train.threads=1",
)


def generate_store(kind: str, path: Path, **options: int) -> Store:
    """The store of generated tracks at a path, generated on first use."""
    if not path.exists():
        tracks = synthetic.make(kind, seed=0, **options)
        with StoreWriter(path, **tracks.facts) as writer:
            for block in tracks.blocks:
                writer.append(block)
    return open_store(path)


def load_data(store: Store, config: Config) -> TrackData:
    """The splits of a store under the settings of a run."""
    return TrackData(store, **config.data.model_dump(), order=config.train.seed)


def train_run(store: Store, run: Path, settings: Sequence[str]) -> Path:
    """Train a run from `SECTION.NAME=VALUE` settings, unless it is already finished; its folder."""
    if not (run / "done").exists():
        config = Config.load(None, list(settings))
        data = load_data(store, config)
        facts = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
        trainer = new_trainer(config, data, str(run), data.describe(), facts, torch.device("cpu"))
        for event in trainer.run():
            seconds = event.seconds
        print(f"{run.name}: {seconds:.0f} s, energy score {trainer.best:.4f}", flush=True)
        (run / "done").touch()
    return run


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers with four decimals."""
    lines = [list(header), ["---"] * len(header)]
    lines += [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_tables(rows: pd.DataFrame, markdown: str, note: str, path: Path) -> None:
    """Write all rows as CSV, and the Markdown table and a note below it as .md; print the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path.with_suffix(".csv"), index=False)
    path.with_suffix(".md").write_text(f"{markdown}\n\n{note}\n")
    print(markdown)


def machine() -> str:
    """The processor and the version of torch, for notes below tables."""
    processor = f"{platform.machine()} {platform.processor()}".strip()
    return f"{processor}, one thread, torch {torch.__version__}"
