"""From the bytes of an exported model to what it carries and what computes it."""

from __future__ import annotations

from dataclasses import dataclass

from trajflow.runtime.archive import is_archive, opened_archive, plain
from trajflow.runtime.artefact import DRAWN, SEEN, Artefact, opened
from trajflow.runtime.session import Engine, Session


@dataclass(frozen=True)
class Model:
    """An exported model that is ready to compute.

    Attributes:
        artefact: What it carries beside its graph.
        engine: What draws futures.
        sight: What surprise looks by, if it carries that.
    """

    artefact: Artefact
    engine: Engine
    sight: Engine | None = None

    @classmethod
    def of(cls, content: bytes, threads: int = 1, *, trial: bool = False) -> Model:
        """The model in the bytes of a file, once these are known to be whole.

        Args:
            content: An .onnx or a .pt2 file of `trajflow export`.
            threads: How many threads compute.
            trial: Whether an .onnx file may take little memory and time only.

        Raises:
            RunError: They are damaged, of another kind, or refer to other files.
            MissingExtra: What computes it is not installed.
        """
        if is_archive(content):
            return cls._of_archive(content, threads)
        artefact = opened(content)
        sight = Session(artefact.sight, threads, trial=trial) if artefact.sight else None
        return cls(artefact, Session(content, threads, trial=trial), sight)

    @classmethod
    def _of_archive(cls, content: bytes, threads: int) -> Model:
        artefact = opened_archive(content)
        from trajflow.programs import Program

        sight = Program(plain(artefact.sight), SEEN, threads) if artefact.sight else None
        return cls(artefact, Program(plain(content), DRAWN, threads), sight)
