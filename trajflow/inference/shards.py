"""Forecasts of a store in shards: computed by several processes, kept until all are there.

A shard is some recordings, or a share of the moments of one long recording; see
`trajflow.inference.tracks.shards_of`. Finished shards are kept until all are there, so a command
that was stopped goes on where it was.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import DataError, TrajflowError
from trajflow.inference.tracks import Futures, Shard
from trajflow.io import storing
from trajflow.ood.detector import OODScores

ATTEMPTS = 3
"""How often the processes are started again after one was killed."""
OOD_ARRAYS = tuple(field.name for field in fields(OODScores) if field.name != "reasons")


class ShardFolder:
    """Finished shards beside a file of forecasts.

    Example:
        >>> folder = ShardFolder(Path("futures.zarr"), {"seed": 0})
        >>> folder.path.name
        'futures.zarr.shards'
    """

    def __init__(self, out: Path, question: Mapping[str, Any]) -> None:
        """Name the folder.

        Args:
            out: Where the forecasts go.
            question: Run, tracks and options; shards that were made with others are not used.
        """
        text = json.dumps(question, sort_keys=True, default=str)
        self.path = out.with_name(f"{out.name}.shards")
        self._digest = sha256(text.encode()).hexdigest()[:16]

    def file(self, shard: Shard) -> Path:
        """Where the forecasts of a shard are once they are finished."""
        return self.path / f"{self._digest}-{shard.number:06d}.npys"

    def write(self, shard: Shard, futures: Iterator[Futures]) -> None:
        """Write the forecasts of a shard; its file appears whole or not at all."""
        with storing(self.path):
            self.path.mkdir(exist_ok=True)
            partial = self.path / f"{self.file(shard).name}.partial-{os.getpid()}"
            try:
                with partial.open("wb") as file:
                    for some in futures:
                        for array in _packed(some):
                            np.save(file, array, allow_pickle=False)
                partial.replace(self.file(shard))
            finally:
                partial.unlink(missing_ok=True)

    def read(self, shard: Shard) -> Iterator[Futures]:
        """The forecasts of a finished shard.

        Raises:
            DataError: It is missing or damaged.
        """
        path = self.file(shard)
        try:
            with path.open("rb") as file:
                while file.tell() < path.stat().st_size:
                    yield _unpacked(file)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(
                f"shard {path} cannot be read ({error}); delete it and run the command again"
            ) from None

    def remove(self) -> None:
        """Delete these shards, and the folder if nothing else is in it."""
        for file in self.path.glob(f"{self._digest}-*"):
            file.unlink()
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


def compute(
    work: Callable[[Shard], None],
    shards: Sequence[Shard],
    jobs: int,
    progress: Callable[[int], None] = lambda finished: None,
) -> None:
    """Do the work of shards in several processes; what a killed one did is done again.

    Args:
        work: What is done for a shard; can be pickled.
        shards: The shards.
        jobs: How many processes.
        progress: Called with the number of finished shards.

    Raises:
        TrajflowError: A shard cannot be computed, or processes were killed again and again.
    """
    left = {shard.number: shard for shard in shards}
    for _ in range(ATTEMPTS):
        pool = ProcessPoolExecutor(min(jobs, len(left) or 1), get_context("spawn"), _one_thread)
        try:
            running: dict[Future[None], int] = {
                pool.submit(work, shard): number for number, shard in left.items()
            }
            while running:
                for one in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(one)
                    one.result()
                    del left[number]
                    progress(len(shards) - len(left))
            return
        except BrokenProcessPool:
            continue
        finally:
            pool.shutdown(cancel_futures=True)
    raise TrajflowError(
        f"processes were killed {ATTEMPTS} times, {len(left)} shards are left: memory may be too "
        "small; run the command again with fewer --jobs, finished shards are kept"
    )


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def _packed(some: Futures) -> Iterator[NDArray[Any]]:
    facts = {"dt": some.dt, "origin": some.origin, "time_unit": some.time_unit}
    facts |= {"weights": some.weights is not None, "ood": some.ood is not None}
    names = {"scene": some.scene, "agent": some.agent}
    if some.ood is not None:
        names["reasons"] = list(some.ood.reasons)
    yield np.frombuffer(json.dumps(facts | names).encode(), np.uint8)
    clock = np.zeros(len(some.agent)) if some.clock is None else some.clock
    yield from (some.step, some.samples, clock)
    if some.weights is not None:
        yield some.weights
    if some.ood is not None:
        yield np.stack([getattr(some.ood, name) for name in OOD_ARRAYS])


def _unpacked(file: BinaryIO) -> Futures:
    facts = json.loads(np.load(file, allow_pickle=False).tobytes())
    step, samples, clock = (np.load(file, allow_pickle=False) for _ in range(3))
    weights = np.load(file, allow_pickle=False) if facts["weights"] else None
    ood = None
    if facts["ood"]:
        scores = dict(zip(OOD_ARRAYS, np.load(file, allow_pickle=False), strict=True))
        ood = OODScores(**scores, reasons=tuple(facts["reasons"]))
    names = facts["scene"], facts["agent"]
    return Futures(
        *names,
        step,
        samples,
        facts["dt"],
        weights=weights,
        ood=ood,
        clock=clock,
        origin=facts["origin"],
        time_unit=facts["time_unit"],
    )
