"""What `trajflow evaluate --ood` asks for: a run under every shift, kept in its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.console import Progress
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.ood.question import Question

PICTURE, REPORT = "ood.png", "ood.json"


@dataclass(frozen=True)
class Asked:
    """What stands on the command line.

    Attributes:
        part: Part whose windows are ordinary.
        samples: Futures of each target.
        steps: Network evaluations per draw.
        seed: What all chance follows from.
        shifts: Names of shifts, joined by commas; None: all.
        windows: How many ordinary targets; None: as many as is usual.
        against: Other tracks, a shift of their own.
        out: Folder that gets report and picture too.
    """

    part: str = "test"
    samples: int = 20
    steps: int = 1
    seed: int = 0
    shifts: str | None = None
    windows: int | None = None
    against: Path | None = None
    out: Path | None = None

    def question(self) -> "Question":
        """What is asked of the run."""
        from trajflow.ood.question import WINDOWS, Question

        names = tuple(name.strip() for name in (self.shifts or "").split(",") if name.strip())
        return Question(
            part=self.part,
            windows=self.windows or WINDOWS,
            samples=self.samples,
            steps=self.steps,
            seed=self.seed,
            names=names,
        )


def of_run(paths: Sequence[Path], asked: Asked, device: str) -> dict[str, Any]:
    """The report of a run out of its distribution, also kept in its folder beside a picture.

    Raises:
        ConfigError: It is not asked for as RUN DATA, or there is no such shift.
        RunError: The run has no surprise, or does not fit the tracks.
    """
    from trajflow.datasets.store import open_store
    from trajflow.inference.predict import load_predictor
    from trajflow.inference.tables import check_fit
    from trajflow.ood.asking import report_on, written
    from trajflow.ood.picture import draw
    from trajflow.ood.reports import report_name
    from trajflow.ood.suite import Stage
    from trajflow.plotting import save
    from trajflow.runs import RunFolder

    if len(paths) != 2:
        raise ConfigError("--ood needs RUN DATA: a run that was trained, and its tracks")
    run, place = paths
    folder, store = RunFolder.open(run), open_store(place)
    other = None if asked.against is None else open_store(asked.against)
    predictor = load_predictor(run, device, asked.steps)
    check_fit(predictor, store, place)
    with Progress("sets of windows") as progress:

        def tell(stage: Stage) -> None:
            progress.total = stage.total
            progress.update(stage.done, stage.note)

        report = report_on(
            str(run), predictor, store, folder.config, asked.question(), against=other, tell=tell
        )
    name, figure = report_name(report["protocol"]), draw(report)
    folder.write(name, written(report))
    save(figure, folder.path / name.replace(".json", ".png"))
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / REPORT).write_bytes(written(report))
        save(figure, asked.out / PICTURE)
    return report
