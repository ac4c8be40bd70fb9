"""How a store of tracks is shown: what is in it, recording by recording."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.console import say, say_json, span
from trajflow.cli.tables import pairs, table

if TYPE_CHECKING:
    from trajflow.datasets.store import Store

MANY = 20


def show_store(path: Path, as_json: bool = False) -> "Store":
    """Print what the store at a path holds, in a few lines; returns the store."""
    from trajflow.datasets.store import open_store

    store = open_store(path)
    if as_json:
        say_json(facts(store))
    else:
        say(pairs(_lines(store)))
    return store


def show_scenes(store: "Store", every: bool) -> None:
    """Print the rows of each recording, of the first ones where there are many."""
    rows = list(store.scene_rows.items())
    shown = rows if every else rows[:MANY]
    say()
    say(table(["scene", "rows"], shown))
    if len(shown) < len(rows):
        say(f"... and {len(rows) - len(shown)} more; --all shows them")


def facts(store: "Store") -> dict[str, Any]:
    """All that is known of a store without reading its rows."""
    header = store.header.model_dump(mode="json", include={"source", "licence", "history"})
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint(),
        **store.summary(),
        **header,
        "inputs": store.header.inputs,
        "folds": store.folds,
        "scene_rows": store.scene_rows,
        "report": store.header.report,
    }


def _lines(store: "Store") -> dict[str, object]:
    known = store.summary()
    bounds = [f"{axis} {low:.6g} .. {high:.6g}" for axis, (low, high) in known["bounds"].items()]
    folds = sorted(store.folds) if store.folds else []
    return {
        "store": store.path,
        "rows": f"{store.rows}, in {known['trajectories']} tracks of {known['scenes']} recordings",
        "agents": _counts(known["agents"]),
        "splits": _counts(known["splits"]),
        "folds": f"{len(folds)}: {', '.join(folds[:MANY])}" if folds else "each recording is one",
        "step": f"{store.dt:g} s",
        "extent": f"{', '.join(bounds)} ({store.unit})",
        "duration": span(known["duration"]),
        "source": store.header.source or None,
        "licence": store.header.licence or None,
        "made by": store.header.history or None,
        "fingerprint": store.fingerprint()[:16],
    }


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in numbers.items())
