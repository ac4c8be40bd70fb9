"""Measurements of speed, asked for in words, and told as tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.options import split
from trajflow.cli.progress import Progress
from trajflow.cli.streams import log, say, say_json
from trajflow.cli.tables import table
from trajflow.errors import ConfigError, DataError, TrajflowError

if TYPE_CHECKING:
    from trajflow.bench.asked import Asked
    from trajflow.bench.subjects import Subject

HEADS = {
    "model": "model",
    "backend": "backend",
    "precision": "precision",
    "threads": "threads",
    "kind": "kind",
    "rule": "rule",
    "preset": "preset",
    "r_below_t": "r < t",
    "lambda": "lambda",
    "agents": "agents",
    "samples": "samples",
    "draws": "draws",
    "evaluations": "evaluations",
    "hogs": "hogs",
    "least_ms": "least ms",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_ms": "cpu ms",
    "steps_per_s": "steps/s",
    "forecasts_per_s": "agents/s",
    "floor_ms": "floor ms",
    "over_floor": "x floor",
    "over_first": "x first",
    "over_quiet": "x quiet",
    "over_plain": "x plain",
    "over_flow": "x flow",
    "over_one": "x one",
    "energy_score": "energy score",
    "import_ms": "import ms",
    "load_ms": "load ms",
    "first_ms": "first call ms",
    "import_mb": "import MB",
    "memory_mb": "memory MB",
}


@dataclass(frozen=True)
class Terms:
    """What the command line says of a measurement."""

    models: Sequence[Path]
    show: str
    agents: str
    neighbours: int
    samples: int
    draws: int
    threads: str

    def asked(self, seconds: float, hog: int = 0, data: Path | None = None) -> "Asked":
        """The terms of the measurement.

        Raises:
            ConfigError: Something in a list is no number.
        """
        from trajflow.bench.asked import Asked

        return Asked(
            agents=_numbers(self.agents, "--agents"),
            neighbours=self.neighbours,
            samples=self.samples,
            threads=_numbers(self.threads, "--threads"),
            draws=max(self.draws, self.samples),
            seconds=seconds,
            hog=hog,
            data=data,
        )

    def subjects(self, device: str) -> "list[Subject]":
        """What is timed."""
        from trajflow.bench.subjects import Subject
        from trajflow.training.setup import device_of

        where = str(device_of(device))
        return [Subject(path, where) for path in self.models] or [Subject(None, where)]


def measured(
    terms: Terms, seconds: float, hog: int, data: Path | None, device: str
) -> dict[str, Any]:
    """The report of all sections that are asked for."""
    from trajflow.bench.measuring import check_sections, measure

    sections, asked = split([terms.show]), terms.asked(seconds, hog, data)
    check_sections(sections)
    subjects = terms.subjects(device)
    with Progress("measured", 100 * len(sections)) as progress:

        def tell(name: str, share: float) -> None:
            progress.update(100 * sections.index(name) + int(100 * share), name)

        return measure(subjects, sections, asked, tell)


def show_report(report: dict[str, Any], as_json: bool, out: Path | None) -> None:
    """Print a report, and keep it if asked."""
    _keep(report, out)
    if as_json:
        say_json(report)
        return
    from trajflow.bench.measuring import SECTIONS

    say(_place(report["machine"]))
    for name, rows in report["sections"].items():
        say(f"\n{name}: {SECTIONS[name]}")
        say(table(*_columns(rows)) if rows else "nothing to measure: give a run")


def told(
    terms: Terms, budget: str, seconds: float, device: str, as_json: bool, out: Path | None
) -> None:
    """Find what fits into a time, print it, and keep it if asked.

    Raises:
        TrajflowError: Nothing fits.
    """
    from trajflow.bench.budget import milliseconds, within
    from trajflow.bench.measuring import settings_kept

    limit, asked = milliseconds(budget), terms.asked(seconds)
    with Progress("measured", 100) as progress, settings_kept():
        choice, rows = within(
            terms.subjects(device),
            limit,
            max(asked.agents),
            asked,
            lambda share: progress.update(int(100 * share)),
        )
    report = {"budget_ms": limit, "fits": choice.fits, "chosen": choice.row, "tried": rows}
    report |= {"code": list(choice.lines)}
    _keep(report, out)
    if as_json:
        say_json(report)
    else:
        say(table(*_columns(rows)))
        say()
        say("\n".join(choice.lines))
    if not choice.fits:
        raise TrajflowError(
            f"nothing fits into {budget}: the quickest needs {choice.row['p99_ms']:.3g} ms "
            "(99 of 100 calls); give it more time or fewer agents, or export the run and pass "
            "the model here too"
        )


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[object]]]:
    keys = [key for key in HEADS if any(key in row for row in rows)]
    return [HEADS[key] for key in keys], [[row.get(key) for key in keys] for row in rows]


def _place(machine: Mapping[str, Any]) -> str:
    where = machine.get("gpu", machine["cpu"])
    return f"{where}, {machine['cores']} cores, torch {machine['torch']}"


def _keep(report: Mapping[str, Any], out: Path | None) -> None:
    if out is None:
        return
    try:
        partial = out.with_name(out.name + ".partial")
        partial.write_text(json.dumps(report, indent=2), encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}; choose another path") from None
    log.info("wrote %s", out)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ConfigError(f"{option} takes numbers from 1 on, as 1,64; got {text!r}")
    return found
