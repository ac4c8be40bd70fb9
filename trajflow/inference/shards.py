"""Finished shards of the forecasts of a store, kept until all are there.

A shard is some recordings, or a share of the moments of one long recording; see
`trajflow.inference.tracks.shards_of`. A command that was stopped goes on from those it has.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import DataError
from trajflow.inference.tracks import Futures, Shard
from trajflow.io import storing
from trajflow.ood.detector import OODScores

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
            # Another machine may compute the same shard, in a process of the same number.
            partial = self.path / f"{self.file(shard).name}.partial-{secrets.token_hex(4)}"
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
