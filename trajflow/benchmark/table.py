"""The table of a benchmark: its rows, what is still missing, and files for people and programs."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trajflow import __version__
from trajflow.benchmark.commands import settings_of
from trajflow.benchmark.peers import Peer, peers
from trajflow.benchmark.plan import Plan
from trajflow.benchmark.recipes import Recipe, recipe
from trajflow.benchmark.rows import Row, rows_of
from trajflow.benchmark.standing import is_done
from trajflow.io import write_whole

NAME = "table"
PEOPLE = "people.json"
"""File of the energy scores of each person, for each row of the table."""


@dataclass(frozen=True)
class Table:
    """What a benchmark found so far.

    Attributes:
        plan: What was planned.
        rows: What is known, a row for each forecaster and protocol.
        missing: Names of the trials that are not done.
        failed: Why trials failed, by name.
    """

    plan: Plan
    rows: list[Row]
    missing: list[str]
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, results: Path, failed: Mapping[str, str] | None = None) -> "Table":
        """The table that the reports of a folder make."""
        missing = [t.name for t in plan.trials if not is_done(plan, t, results, "all")]
        return cls(plan, rows_of(plan, results), missing, failed or {})

    @property
    def recipe(self) -> Recipe:
        """The benchmark."""
        return recipe(self.plan.benchmark)

    @property
    def peers(self) -> list[Peer]:
        """Figures of others."""
        return peers(self.plan.benchmark)

    @property
    def folds(self) -> dict[str, dict[str, Any]]:
        """Windows and people of each fold, and the windows that the field counts."""
        found: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            for name, fold in row.folds.items():
                counted = {"windows": fold["windows"], "people": fold["people"]}
                found[name] = counted | {"field": self.recipe.windows.get(name)}
        return found

    @property
    def partial(self) -> bool:
        """Whether means of ours are not over all the folds that the means of others are over."""
        return set(self.folds) != set(self.recipe.windows)

    @property
    def settings(self) -> dict[str, str]:
        """Settings of all trained rows that are not the defaults, by name."""
        trained = [trial for trial in self.plan.trials if not trial.floor]
        return {name: json.dumps(v) for trial in trained[:1] for name, v in settings_of(trial)}

    def to_json(self) -> dict[str, Any]:
        """Everything, in values that JSON can hold."""
        return {
            "benchmark": self.plan.benchmark,
            "title": self.recipe.title,
            "trajflow": __version__,
            "data": self.plan.data,
            "fingerprint": self.plan.fingerprint,
            "folds": self.folds,
            "settings": self.settings,
            "rows": [_without_people(row) for row in self.rows],
            "missing": self.missing,
            "failed": dict(self.failed),
            "peers": [peer.model_dump() for peer in self.peers],
        }

    def write(self, results: Path) -> list[Path]:
        """Write table.json, .csv, .md, .png and .svg, and people.json to compare rows in pairs."""
        from trajflow.benchmark.markdown import markdown
        from trajflow.benchmark.picture import draw

        paths = [results / f"{NAME}.{kind}" for kind in ("json", "csv", "md", "png", "svg")]
        texts = (json.dumps(self.to_json(), indent=1), self.to_csv(), markdown(self))
        for path, text in zip(paths, texts, strict=False):
            write_whole(path, text.encode())
        people = json.dumps([row.people for row in self.rows], separators=(",", ":"))
        write_whole(results / PEOPLE, people.encode())
        if not self.rows:
            return paths[:3]
        figure = draw(self)
        for path in paths[3:]:
            figure.savefig(path, dpi=130)
        return paths

    def to_csv(self) -> str:
        """One line per row of ours and of others, one column per score."""
        lines = [dict(_ours(row)) for row in self.rows] + [dict(_theirs(p)) for p in self.peers]
        heads = list(dict.fromkeys(name for line in lines for name in line))
        text = io.StringIO()
        writer = csv.DictWriter(text, heads, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()


def _without_people(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.to_json().items() if name != "per_person"}


def _ours(row: Row) -> Iterator[tuple[str, object]]:
    yield from {"method": row.label, "kind": "floor" if row.floor else "ours"}.items()
    told = ("steps", "samples", "draws", "selection", "selected_on", "joint", "clocks")
    yield from ((name, row.protocol[name]) for name in told)
    yield "seeds", row.facts["seeds"]
    for name, fold in row.folds.items():
        yield f"{name}_min_ade", fold["mean"]["min_ade"]
        yield f"{name}_min_fde", fold["mean"]["min_fde"]
    for name, spread in row.scores.items():
        yield from ((f"{name}_{kind}", getattr(spread, kind)) for kind in ("mean", "least", "most"))
        yield from zip((f"{name}_low", f"{name}_high"), row.intervals.get(name, ()), strict=False)
    for name in ("milliseconds_per_agent", "training_seconds", "evaluation_seconds", "command"):
        yield name, row.facts[name]
    yield from (("hash", json.dumps(row.protocol["hash"])), ("data", row.protocol["fingerprint"]))
    yield from ((f"machine_{name}", value) for name, value in row.facts["machine"].items())


def _theirs(peer: Peer) -> Iterator[tuple[str, object]]:
    yield from (("method", peer.method), ("kind", peer.kind))
    for name in ("samples", "draws", "selection", "selected_on", "joint"):
        yield name, getattr(peer, name)
    for name, (ade, fde) in peer.folds.items():
        yield from ((f"{name}_min_ade", ade), (f"{name}_min_fde", fde))
    yield from ((f"{name}_mean", value) for name, value in peer.mean.items())
    yield from (("by", peer.by), ("source", peer.source), ("difference", peer.difference))
