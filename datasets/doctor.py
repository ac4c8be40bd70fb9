"""Examine a store: what is probably wrong with the tracks, and whether its files are whole."""

from os import PathLike

from trajflow.datasets import data_diagnoses, motion_diagnoses
from trajflow.datasets.checkup import Checkup
from trajflow.datasets.findings import Finding, worst_first
from trajflow.datasets.store import Store, open_store
from trajflow.errors import DataError

MAX_ROWS = 2_000_000


def doctor(store: Store, history: int = 8, horizon: int = 12) -> list[Finding]:
    """Examine the tracks of a store.

    Args:
        store: What to examine; read by groups of whole scenes.
        history: Past steps of the windows to be counted, T.
        horizon: Future steps of the windows to be counted, F.

    Returns:
        Findings, the worst first.
    """
    checkup = Checkup(store, history, horizon)
    for scenes in store.parts(MAX_ROWS):
        checkup.add(store.tracks(scenes))
    return worst_first(
        [
            motion_diagnoses.units(checkup),
            motion_diagnoses.clocks(checkup),
            data_diagnoses.gaps(checkup),
            motion_diagnoses.jumps(checkup),
            data_diagnoses.reused_labels(checkup),
            motion_diagnoses.standing(checkup),
            motion_diagnoses.filled(checkup),
            *data_diagnoses.leaks(checkup),
            data_diagnoses.windows(checkup, history + horizon),
            data_diagnoses.apart(store),
        ]
    )


def check(path: str | PathLike[str]) -> list[Finding]:
    """Read every file of a store: attributes, chunks, tables and times.

    Returns:
        One "ok" finding, or an "error" with the first file that is damaged.
    """
    try:
        store = open_store(path)
        store.verify()
        for scenes in store.parts(MAX_ROWS):
            store.tracks(scenes)
        for name in store.tables:
            store.table(name)
    except DataError as error:
        return [Finding("error", "files", str(error))]
    told = f"{store.rows} rows of {store.trajectories} trajectories"
    return [Finding("ok", "files", f"every file is what was written: {told}")]
