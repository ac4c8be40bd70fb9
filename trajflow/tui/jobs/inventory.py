"""Runs and stores below a folder, found by their names and read as plain JSON and TOML."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajflow.errors import DataError
from trajflow.tui.jobs.found import Run, Tracks, is_ours, read_run, read_tracks

DEPTH = 5
MOST = 20_000
"""Folders that are looked into at most."""
PASSED = {"node_modules", "__pycache__", "site-packages", "proc", "sys", "dev"}
Kind = type[Run] | type[Tracks]
SIGNS = ("zarr.json", "config.toml", "run.json", "events.jsonl")


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        runs: Runs, newest first.
        stores: Stores, newest first.
        complete: Whether every folder was looked into.
    """

    runs: tuple[Run, ...] = ()
    stores: tuple[Tracks, ...] = ()
    complete: bool = True

    def tracks_of(self, run: Run) -> Tracks | None:
        """The store that a run learned from, or one that it could read; None if there is none."""
        same = [one for one in self.stores if one.fingerprint and one.fingerprint == run.learned]
        like = [one for one in self.stores if (one.dt, one.dims) == (run.dt, run.dims)]
        return next(iter([*same, *like]), None)


@dataclass(frozen=True)
class Look:
    """What a look at a folder has found.

    Attributes:
        found: What lies there; what the demo has if nothing does.
        demo: Run folder of the demo, if it is shown.
        seconds: How long the look took.
        problem: Why there is not even a demo.
    """

    found: Found
    demo: Path | None = None
    seconds: float = 0.0
    problem: str = ""


class Inventory:
    """Looks below a folder again and again; what has not changed is not read again."""

    def __init__(self, folder: Path, depth: int = DEPTH) -> None:
        self.folder, self.depth = folder, depth
        self._known: dict[Path, tuple[tuple[float, ...], Run | Tracks]] = {}

    def look(self) -> Found:
        """What lies there now; folders that may not be read are passed over."""
        walk = _Walk(self.depth)
        things = [self._thing(path, kind) for path, kind in walk.below(self.folder)]
        things.sort(key=lambda one: (-one.changed, str(one.path)))
        kept = {one.path for one in things}
        self._known = {path: known for path, known in self._known.items() if path in kept}
        return Found(
            tuple(one for one in things if isinstance(one, Run)),
            tuple(one for one in things if isinstance(one, Tracks)),
            walk.left > 0,
        )

    def look_or_demo(self) -> Look:
        """What lies there now, or the demo if there is nothing."""
        began = time.perf_counter()
        found = self.look()
        seconds = time.perf_counter() - began
        if found.runs or found.stores:
            return Look(found, None, seconds)
        from trajflow.tui.jobs.demo import unpacked

        try:
            demo = unpacked()
        except DataError as error:
            return Look(found, None, seconds, str(error))
        return Look(Inventory(demo.folder).look(), demo.run, seconds)

    def _thing(self, path: Path, kind: Kind) -> Run | Tracks:
        signature = tuple(part for name in SIGNS for part in _times(path / name))
        known = self._known.get(path)
        if known and known[0] == signature and isinstance(known[1], kind):
            thing = known[1]
        else:
            thing = read_run(path) if kind is Run else read_tracks(path)
        self._known[path] = (signature, thing)
        return thing.aged() if isinstance(thing, Run) else thing


class _Walk:
    def __init__(self, depth: int) -> None:
        self.depth, self.left = depth, MOST
        self._seen: set[tuple[int, int]] = set()

    def below(self, folder: Path) -> Iterator[tuple[Path, Kind]]:
        """Runs and stores, breadth first, so that what is near is found first."""
        level = [folder]
        for _ in range(self.depth + 1):
            deeper: list[Path] = []
            for place in level:
                self.left -= 1
                if self.left <= 0:
                    return
                if self._again(place):
                    continue
                files, folders = _entries(place)
                kind = _kind(place, files, folders)
                if kind is not None:
                    yield place, kind
                elif "zarr.json" not in files:
                    deeper += [place / name for name in sorted(folders)]
            level = deeper

    def _again(self, place: Path) -> bool:
        """Whether a link has led here before."""
        try:
            found = place.stat()
        except OSError:
            return True
        known = (found.st_dev, found.st_ino)
        again = known in self._seen
        self._seen.add(known)
        return again


def kind_of(folder: Path) -> Kind | None:
    """Whether a folder is a run or a store; None if neither."""
    return _kind(folder, *_entries(folder))


def _kind(folder: Path, files: set[str], folders: set[str]) -> Kind | None:
    if {"config.toml", "run.json"} <= files:
        return Run
    ours = "zarr.json" in files and ("seal" in folders or is_ours(folder))
    return Tracks if ours else None


def _entries(folder: Path) -> tuple[set[str], set[str]]:
    files, folders = set[str](), set[str]()
    try:
        with os.scandir(folder) as found:
            for one in found:
                if not one.is_dir():
                    files.add(one.name)
                elif not one.name.startswith(".") and one.name not in PASSED:
                    folders.add(one.name)
    except OSError:
        pass
    return files, folders


def _times(path: Path) -> tuple[float, float]:
    try:
        found = path.stat()
    except OSError:
        return (0.0, 0.0)
    return (found.st_mtime, float(found.st_size))
