"""Where the tracks of a run are, and the settings that a training can be given."""

from importlib.util import find_spec
from itertools import count
from pathlib import Path

from trajflow.errors import RunError
from trajflow.tui.jobs.found import read_run
from trajflow.tui.jobs.inventory import Inventory
from trajflow.tui.jobs.processes import last_job

PRESETS = ("mmf", "mmf-paper", "meanflow", "consistency", "terminal", "flow")
UP = 2
"""Folders above a run below which its tracks are looked for."""


def data_of(run: Path) -> Path:
    """The store that a run learned from.

    Raises:
        RunError: It is not near.
    """
    known = read_run(run)
    job = last_job(run)
    if job and "train" in job.command:
        named = Path(job.command[job.command.index("train") + 1])
        if named.is_dir():
            return named
    for above in list(run.absolute().parents)[:UP]:
        found = Inventory(above, depth=UP).look().tracks_of(known)
        if found is not None and found.fingerprint == known.learned:
            return found.path
    raise RunError(
        f"the tracks that {run.name} learned from are not near it; resume it by "
        f"trajflow train DATA --out {run} --resume"
    )


def encoders() -> list[str]:
    """Names of the encoders of this package."""
    spec = find_spec("trajflow")
    places = spec.submodule_search_locations if spec else None
    files = [path for place in places or () for path in (Path(place) / "encoders").glob("*.py")]
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def free_run(store: Path, encoder: str, preset: str) -> Path:
    """A run folder beside a store that does not exist yet."""
    path = store.parent / "runs" / f"{store.stem}-{encoder}-{preset}"
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())
