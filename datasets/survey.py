"""Counts what each split of a store holds, and keeps the counts on disk for the next start.

Windows, people and hashes follow from the tracks and the settings alone. They are kept beside a
large local store in the hidden folder `.NAME.surveys`, in a file named by the fingerprint of the
tracks and all settings they depend on. The folder may be deleted at any time.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.datasets.store import Group, Store
from trajflow.errors import TrajflowError
from trajflow.io import MAX_BYTES, read_whole, write_whole
from trajflow.remote import is_remote
from trajflow.types import Ints

FORMAT = 2
"""Another number makes older files useless: raise it where windows or splits are made otherwise."""
LEAST_ROWS = 100_000
"""Stores with fewer rows are surveyed faster than a file is read."""
MOST_FILES = 16
DIGEST = 32


@dataclass(frozen=True)
class Shape:
    """How windows are cut."""

    history: int  # past steps, T
    horizon: int  # future steps, F
    stride: int = 1  # steps between two starts
    neighbors: int | None = None  # most neighbors kept in a window; None for all
    reach: int = 1  # times T and F that batches bring around the present, in some splits


@dataclass(frozen=True)
class Layout:
    """The groups of a store, and facts about each recording that is divided in time."""

    groups: list[Group]  # what is in memory at the same time
    cuts: dict[int, tuple[int, ...]]  # `Split.cuts` of the recordings that are cut, by their index
    # First and last step of train, val and test in them, [3, 2], by their index
    bounds: dict[int, Ints]


@dataclass(frozen=True)
class Census:
    """What one split of one group holds, without its positions."""

    rows: int  # observations
    agent_counts: Ints  # agents of each window, [W]
    target_counts: Ints  # targets of each window, [W]
    scenes: Ints  # indexes of the recordings with windows, any shape
    agents: Ints  # numbers of the target agents, any shape

    @classmethod
    def empty(cls) -> "Census":
        """A census of nothing."""
        return cls(0, *(np.zeros(0, np.int64) for _ in range(4)))


@dataclass(frozen=True)
class Survey:
    """What each split holds in each group."""

    layout: Layout  # the groups
    parts: dict[str, list[Census]]  # A census for each group, by the name of the split
    learned: Ints | None  # numbers of the agents that are learned from, any shape; None: all
    # A sha256 of all roles, the people learned from, and which windows show others than their split
    hash: str

    def agents(self, split: str) -> Ints:
        """Numbers of the target agents of a split, each once, sorted, any shape."""
        return np.unique(np.concatenate([census.agents for census in self.parts[split]]))

    def summary(self, split: str) -> dict[str, int]:
        """Counts of a split: "windows" are targets, "moments" the windows they share."""
        census = self.parts[split]
        return {
            "rows": sum(c.rows for c in census),
            "recordings": len(set().union(*(c.scenes.tolist() for c in census))),
            "moments": sum(len(c.target_counts) for c in census),
            "windows": sum(int(c.target_counts.sum()) for c in census),
            "people": len(self.agents(split)),
        }


def survey_file(store: Store, settings: Mapping[str, Any]) -> Path | None:
    """The file of the survey of a store with some settings; None for a small or remote store."""
    if store.rows < LEAST_ROWS or is_remote(store.path):
        return None
    key = {"format": FORMAT, "store": store.fingerprint(), **settings}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return store.path.with_name(f".{store.path.name}.surveys") / f"{name[:32]}.npz"


def read_survey(file: Path | None, store: Store) -> Survey | None:
    """The survey in a file; None if there is none or it is damaged."""
    if file is None:
        return None
    try:
        content = read_whole(file, MAX_BYTES)
    except (OSError, TrajflowError):
        return None
    if hashlib.sha256(content[DIGEST:] + file.name.encode()).digest() != content[:DIGEST]:
        return None
    with np.load(io.BytesIO(content[DIGEST:]), allow_pickle=False) as arrays:
        return _decode({name: arrays[name] for name in arrays.files}, store)


def write_survey(file: Path | None, survey: Survey, store: Store) -> None:
    """Keep a survey; where that is not possible the next start makes it again."""
    if file is None:
        return
    made = io.BytesIO()
    np.savez_compressed(made, allow_pickle=False, **_encode(survey, store))
    digest = hashlib.sha256(made.getvalue() + file.name.encode()).digest()
    with suppress(OSError, TrajflowError):
        file.parent.mkdir(exist_ok=True)
        write_whole(file, digest + made.getvalue())
        files = sorted(file.parent.glob("*.npz"), key=lambda one: one.stat().st_mtime)
        for old in files[:-MOST_FILES]:
            old.unlink(missing_ok=True)


_COLUMNS = ("agent_counts", "target_counts", "scenes", "agents")


def _encode(survey: Survey, store: Store) -> dict[str, Any]:
    layout, codes = survey.layout, {name: code for code, name in enumerate(store.scenes)}
    facts = {
        "hash": survey.hash,
        "groups": [(codes[g.scenes[0]], len(g.scenes), g.steps) for g in layout.groups],
        "cuts": list(layout.cuts.items()),
        "bounds": [(code, steps.tolist()) for code, steps in layout.bounds.items()],
        "rows": {split: [c.rows for c in census] for split, census in survey.parts.items()},
    }
    arrays: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    if survey.learned is not None:
        arrays["learned"] = survey.learned
    for split, parts in survey.parts.items():
        for group, census in enumerate(parts):
            for name in _COLUMNS:
                values = getattr(census, name)
                kind = np.min_scalar_type(values.max(initial=0))
                arrays[f"{split}.{group}.{name}"] = values.astype(kind)
    return arrays


def _decode(arrays: Mapping[str, Any], store: Store) -> Survey:
    facts = json.loads(arrays["facts"].tobytes())
    groups = [
        Group(store.scenes[first : first + count], None if steps is None else tuple(steps))
        for first, count, steps in facts["groups"]
    ]
    cuts = {code: tuple(steps) for code, steps in facts["cuts"]}
    bounds = {code: np.array(steps, np.int64) for code, steps in facts["bounds"]}
    parts = {
        split: [
            Census(count, *(arrays[f"{split}.{k}.{name}"].astype(np.int64) for name in _COLUMNS))
            for k, count in enumerate(counts)
        ]
        for split, counts in facts["rows"].items()
    }
    return Survey(Layout(groups, cuts, bounds), parts, arrays.get("learned"), facts["hash"])
