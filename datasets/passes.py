"""The passes of an import over its rows: reading them once, then part by part from the disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trajflow.datasets.intake import Intake
from trajflow.datasets.parts import Part, load, plan
from trajflow.datasets.quarantine import Quarantine
from trajflow.datasets.reading import Reading
from trajflow.datasets.roster import Roster
from trajflow.datasets.spill import Span, Spill
from trajflow.datasets.survey import Survey


@dataclass(frozen=True)
class Progress:
    """How far an import is.

    Attributes:
        stage: What is being done.
        rows: Rows done in this stage.
        total: Rows to do, or None while that is not known.
    """

    stage: Literal["reading", "surveying", "writing"]
    rows: int
    total: int | None


@dataclass(frozen=True)
class Limits:
    """What bounds the memory of an import, in rows (some 50 bytes each, a dozen copies).

    Attributes:
        chunk: Rows read at once.
        run: Rows sorted at once while reading.
        part: Rows judged at once; only a single longer trajectory exceeds it.
    """

    chunk: int = 65_536
    run: int = 500_000
    part: int = 500_000


@dataclass(frozen=True)
class Passes:
    """The rows of one import, to be gone through as often as needed.

    Attributes:
        reading: The exhausted reading.
        roster: Every scene and trajectory.
        spill: The good rows.
        quarantine: The rows that are not.
        rows: Rows of the reading.
        parts: What is in memory at once.
        tell: Hears of progress.
    """

    reading: Reading
    roster: Roster
    spill: Spill
    quarantine: Quarantine
    rows: int
    parts: list[list[Span]]
    tell: Callable[[Progress], None]

    @classmethod
    def begin(
        cls, folder: Path, reading: Reading, limits: Limits, tell: Callable[[Progress], None]
    ) -> "Passes":
        """Read everything once.

        Raises:
            DataError: The files cannot be read as what they are said to be.
        """
        spill = Spill(folder, reading.dims, limits.run)
        intake = Intake(Roster(), spill, Quarantine(folder / "apart", reading.dims))
        intake.take(reading, lambda rows: tell(Progress("reading", rows, None)))
        parts = plan(intake.roster, limits.part)
        return cls(reading, intake.roster, spill, intake.quarantine, intake.rows, parts, tell)

    def load(self, stage: Literal["surveying", "writing"]) -> Iterator[Part]:
        """The parts, one after the other."""
        done, total = 0, int(self.roster.rows.sum())
        for spans in self.parts:
            part = load(self.spill, spans, self.roster)
            yield part
            done += len(part.row)
            self.tell(Progress(stage, done, total))

    def survey(self) -> Survey:
        """Look at all parts."""
        survey = Survey(len(self.roster.label), self.reading.dims, self.reading.unit)
        for part in self.load("surveying"):
            survey.add(part)
        return survey
