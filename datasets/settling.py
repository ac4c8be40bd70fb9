"""What holds for a whole import: step, unit, speed limit and odd trajectories, and why."""

from dataclasses import dataclass, field

import numpy as np

from trajflow.batch import Floats
from trajflow.datasets.quality import Rules
from trajflow.datasets.reading import Reading
from trajflow.datasets.roster import Roster
from trajflow.datasets.survey import FAST, Survey
from trajflow.datasets.units import Odd, guess_unit, odd_units, plausible_metres
from trajflow.errors import DataError

OWN = 10.0
"""A jump is also this many times faster than the agent's own usual speed, if that is fast."""
MOST = 10.0
"""The agent's own speed raises the limit at most this many times."""
CLOSE = 0.25
"""Once a track has a jump, its steps are held to this share of the limit."""


@dataclass
class Settled:
    """The facts of an import after the survey.

    Attributes:
        dt, every, seconds: As in Rules.
        dt_from: How dt was found.
        unit, unit_from: Unit of the coordinates and how it was found.
        row_interval: Usual time between two rows of an agent, in units of the files' clock.
        speed_limit, speed_limit_from: Units per second of a jump, and how the limit was found.
        rules: By what rows are judged.
        odd: Trajectories in another unit.
        notes: What the user should know.
    """

    dt: float
    dt_from: str
    every: int
    seconds: float
    unit: str = ""
    unit_from: str = ""
    row_interval: float | None = None
    speed_limit: float | None = None
    speed_limit_from: str = "none: hardly anything moves"
    odd: Odd = field(default_factory=lambda: Odd(np.zeros(0, np.bool_)))
    notes: list[str] = field(default_factory=list)
    rules: Rules = field(init=False)


def settle(
    survey: Survey, roster: Roster, reading: Reading, given_dt: bool, limit: float | None
) -> Settled:
    """Decide what the survey leaves open.

    Args:
        survey: Of all rows.
        roster: Of all trajectories.
        reading: What format and user fix.
        given_dt: Whether the user chose dt, for the report.
        limit: Highest speed that the user accepts, in units per second.

    Raises:
        DataError: dt is not given and cannot be guessed.
    """
    row_interval = survey.beat.usual()
    settled = _settle_dt(row_interval, reading, given_dt)
    settled.row_interval = row_interval
    _settle_unit(settled, survey, roster, reading)
    scene, kind = np.array(roster.scene, np.int64), np.array(roster.kind, np.int64)
    pace = survey.pace / settled.seconds
    settled.odd = odd_units(pace, survey.travels, scene, kind, survey.low, survey.high)
    for code, ratio in settled.odd.scenes.items():
        name = roster.scenes.names[code]
        settled.notes.append(
            f"scene {name!r} moves {ratio:.3g} times as fast as the others: another unit?"
        )
    limits, reach = _limits(settled, survey, pace, limit)
    settled.rules = Rules(
        dt=settled.dt,
        every=settled.every,
        seconds=settled.seconds,
        limit=limits,
        reach=reach,
        odd=settled.odd.tracks,
        longitudes=settled.unit == "degree",
    )
    return settled


def _settle_dt(usual: float | None, reading: Reading, given: bool) -> Settled:
    how = "given" if given else "fixed by the format"
    if reading.frames and reading.dt:
        frames = usual or 1.0
        return Settled(reading.dt, f"{how}; {frames:g} frames per step", 1, reading.dt / frames)
    if reading.dt is None:
        if usual is None:
            raise DataError("no agent has two rows, so the time step is unknown; give dt")
        return Settled(usual, "guessed: the usual step between rows of an agent", 1, 1.0)
    ratio = reading.dt / usual if usual else 1.0
    every = round(ratio) if ratio > 1.5 and abs(ratio / round(ratio) - 1) < 0.01 else 1
    settled = Settled(reading.dt, how, every, 1.0)
    if every > 1:
        settled.dt_from += f"; every {every}th row of {usual:g} s is kept"
    elif abs(ratio - 1) > 1e-3:
        settled.notes.append(
            f"rows are usually {usual:g} s apart but dt is {reading.dt:g} s; "
            f"rows off that grid are set apart: is dt={usual:g} meant?"
        )
    return settled


def _settle_unit(settled: Settled, survey: Survey, roster: Roster, reading: Reading) -> None:
    kind = np.array(roster.kind, np.int64)
    usual = survey.travels & np.isfinite(survey.pace)
    paces = {
        name: float(np.median(survey.pace[usual & (kind == code)])) / settled.seconds
        for code, name in enumerate(roster.types.names)
        if (usual & (kind == code)).any()
    }
    if reading.unit is None and survey.crossings:
        settled.unit, settled.unit_from = "degree", "guessed: x goes on across the date line"
        return
    if reading.unit is None:
        extent = float(np.nanmax(survey.high - survey.low)) if len(kind) else 0.0
        settled.unit = guess_unit(list(paces), list(paces.values()), extent)
        settled.unit_from = "guessed from the speeds" if settled.unit != "unknown" else "not given"
        return
    settled.unit, settled.unit_from = reading.unit, "given or told by the format"
    for name, pace in paces.items():
        if settled.unit == "m" and plausible_metres(name, pace) is False:
            settled.notes.append(f"{name}s usually move {pace:.3g} m/s: are these metres, seconds?")


def _limits(
    settled: Settled, survey: Survey, pace: Floats, given: float | None
) -> tuple[Floats, Floats]:
    """Limit and reach of each trajectory, both [K]."""
    if given is not None:
        settled.speed_limit = given if given < np.inf else None
        settled.speed_limit_from = "given"
        return np.full(len(pace), given), np.full(len(pace), given)
    fastest = survey.fastest()
    if fastest is None:
        return np.full(len(pace), np.inf), np.full(len(pace), np.inf)
    limit = settled.speed_limit = fastest / settled.seconds
    settled.speed_limit_from = (
        f"guessed: {FAST:g} times the 99th percentile of running speeds; "
        f"{OWN:g} times an agent's own usual speed if that is more"
    )
    own = np.nan_to_num(OWN * pace)
    return np.clip(own, limit, MOST * limit), np.clip(own, CLOSE * limit, MOST * limit)
