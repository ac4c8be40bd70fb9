"""Cleans the rows of an import: each is moved to a whole step of dt, or gets a reason why not.

`decide_rules` decides what holds for all rows (step, unit, speed limit); a `Cleaner` applies these
rules to one part of the rows after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.motion import (
    JUMP_FACTOR,
    MIN_INTERVALS,
    MotionSurvey,
    at_places,
    clock_shift,
    exact_step,
    find_other_units,
    guess_unit,
    plausible_metres,
    steps_of,
)
from trajflow.datasets.projection import mean_longitude, near_longitude
from trajflow.datasets.report import PROBLEMS
from trajflow.datasets.schema import TOLERANCE
from trajflow.datasets.sorting import SortedRows, TrackRows
from trajflow.datasets.sources import ImportOptions, Source
from trajflow.errors import DataError
from trajflow.types import Bools, Floats, Ints

KEPT, BETWEEN = -1, -2
REASONS = tuple(PROBLEMS)
ON_GRID = 1e-3  # Share of dt by which a time on a whole step may miss it
SHIFT_ERRORS = 3.0  # A clock is shifted only if its offset exceeds this many standard errors
AGENT_SPEED_FACTOR = 10.0  # A jump also exceeds the agent's own typical speed this many times
MAX_LIMIT_FACTOR = 10.0  # The agent's own speed raises the limit by at most this factor
REACH_SHARE = 0.25  # Steps of a track with a jump are held to this share of the limit
OWN_CLOCK_SHARE = 0.05  # With a larger share of rows off the common clock, rows are interpolated
MAX_GAP_STEPS = 2.5  # Longest gap to interpolate across, in steps
# Seconds between two rows; outside, the report asks about a guessed unit
PLAUSIBLE_INTERVAL = (1e-3, 20.0)
MAX_GLITCH_ROWS = 3  # A track may return after at most this many rows elsewhere


@dataclass
class Rules:
    """What holds for all rows of an import, and why."""

    dt: float  # seconds per step of the store
    dt_from: str  # how dt was determined
    every: int  # steps of the files per step of the store; the rows between are dropped
    seconds: float  # seconds per unit of the files' clock
    # Typical time between two rows of an agent, in units of the files' clock
    row_interval: float | None = None
    unit: str = ""  # of the coordinates
    unit_from: str = ""
    # Units per second of a jump, and how it was determined
    speed_limit: float | None = None
    speed_limit_from: str = "none: hardly anything moves"
    # Speed that no step of a trajectory without jumps exceeds, [K], units per second
    limit: Floats = field(default_factory=lambda: np.empty(0))
    # Speed at which a trajectory with such a step is divided, [K], units per second
    reach: Floats = field(default_factory=lambda: np.empty(0))
    # Whether a trajectory has another unit than the rest, [K]
    other_unit: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    # Positions that stand for "not seen", [F, 2]
    fillers: Floats = field(default_factory=lambda: np.empty((0, 2)))
    tolerance: float = TOLERANCE  # share of dt by which a time may miss its whole step
    # Longest gap in seconds to interpolate across; None without resampling
    max_gap: float | None = None
    notes: list[str] = field(default_factory=list)  # sentences for the report


def decide_rules(
    survey: MotionSurvey, rows: SortedRows, source: Source, options: ImportOptions
) -> Rules:
    """Decide what neither the format (`source`) nor the user (`options`) fixes."""
    typical = survey.time_step.typical()
    grain = survey.time_step.grain()
    exact = exact_step(rows.times(), typical, grain) if typical and grain else None
    if exact and typical and abs(exact / typical - 1) < ON_GRID:
        exact = None  # rows are missing, the clock is not rounded
    typical = float(f"{exact:.9g}") if exact else typical
    if options.resample is not None and not source.frames:
        source = replace(source, dt=None)
    rules = _decide_step(typical, source, options.dt is not None, rows)
    rules.row_interval = typical
    if options.resample is not None:
        rules.dt, rules.every, rules.dt_from = options.resample, 1, "given; rows are resampled"
        longest = MAX_GAP_STEPS * max(rules.dt, (typical or 0) * rules.seconds)
        rules.max_gap = options.max_gap or longest
    elif exact:
        rules.tolerance = 0.5
        rules.notes.append(
            f"the clock is rounded to {grain:g}; the step is its span over the count of steps"
        )
    elif typical and not _has_off_grid_policy(options.on_problem):
        _decide_resampling(rules, survey, rows, typical)
    rules.fillers = survey.fillers
    if len(rules.fillers):
        points = ", ".join(f"({x:g}, {y:g})" for x, y in rules.fillers[:5].tolist())
        rules.notes.append(
            f"agents jump to exactly {points}, a filler for 'not seen'; these rows are quarantined"
        )
    _decide_unit(rules, survey, rows, source)
    speed = survey.speed / rules.seconds
    other = find_other_units(speed, survey.travels, rows.scene, rows.kind, survey.low, survey.high)
    rules.notes.extend(
        f"scene {rows.scenes[code]!r} moves {ratio:.3g} times as fast as the others: another unit?"
        for code, ratio in other.scenes.items()
    )
    rules.other_unit = other.tracks
    _decide_limits(rules, survey.fastest(), speed, options.speed_limit)
    return rules


def _has_off_grid_policy(on_problem: Mapping[str, str] | str | None) -> bool:
    if isinstance(on_problem, str):
        return on_problem == "refuse"
    return "off-grid" in (on_problem or {})


def _decide_resampling(
    rules: Rules, survey: MotionSurvey, rows: SortedRows, typical: float
) -> None:
    """Resample by interpolation if rows are irregular or each track has its own clock."""
    fine = rules.dt / rules.every / rules.seconds
    if survey.time_step.irregular() and fine >= typical / 2:
        low, high = np.quantile(survey.time_step.sample.values * rules.seconds, (0.05, 0.95))
        why = f"rows of an agent are {low:.3g} to {high:.3g} s apart"
    elif abs(typical / fine - 1) < 0.01 and rows.rows.sum() > MIN_INTERVALS:
        angle = 2 * np.pi * (survey.begin / fine % 1)
        wave = rows.rows * np.exp(1j * angle)
        count = int(rows.scene.max()) + 1
        scene = np.bincount(rows.scene, wave.real, count) + 1j * np.bincount(
            rows.scene, wave.imag, count
        )
        between = np.abs(np.angle(wave * scene[rows.scene].conj())) > 2 * np.pi * TOLERANCE
        if rows.rows[between].sum() < OWN_CLOCK_SHARE * rows.rows.sum():
            return
        why = "tracks have their own clocks, between the steps of others"
    else:
        return
    rules.max_gap = MAX_GAP_STEPS * max(rules.dt, typical * rules.seconds)
    rules.notes.append(
        f"{why}: positions at whole steps are interpolated on straight lines between rows up to "
        f"{rules.max_gap:.3g} s apart, so they depend a little on the next row; "
        "--on-problem off-grid=quarantine keeps rows near a whole step instead"
    )


def _decide_step(typical: float | None, source: Source, dt_given: bool, rows: SortedRows) -> Rules:
    how = "given" if dt_given else "fixed by the format"
    if source.frames and source.dt:
        frames = typical or 1.0
        return Rules(source.dt, f"{how}; {frames:g} frames per step", 1, source.dt / frames)
    if source.dt is None:
        if typical is None:
            agent = source.columns.get("agent", "agent")
            raise DataError(
                f"each of {len(rows.label)} agents in {len(rows.scenes)} scenes has one time only, "
                f"such as agent {rows.label[0]!r} of scene {rows.scenes[0]!r}: is {agent!r} the "
                "column of the agents? Name it with --columns agent=NAME, and --columns scene= if "
                "there is no column of scenes; if it is, give the step with --dt SECONDS"
            )
        rules = Rules(typical, "guessed: the typical step between rows of an agent", 1, 1.0)
        shortest, longest = PLAUSIBLE_INTERVAL
        if not source.seconds_known and not shortest <= typical < longest:
            rules.notes.append(
                f"times are taken as seconds, so a row comes every {typical:g} s: are they in "
                "another unit, such as milliseconds or days? Call the column of milliseconds "
                "time_ms, of seconds time_s"
            )
        return rules
    ratio = source.dt / typical if typical else 1.0
    every = round(ratio) if ratio > 1.5 and abs(ratio / round(ratio) - 1) < 0.01 else 1
    rules = Rules(source.dt, how, every, 1.0)
    if every > 1:
        rules.dt_from += f"; every {every}th row of {typical:g} s is kept"
    elif abs(ratio - 1) > 1e-3:
        rules.notes.append(
            f"rows are typically {typical:g} s apart but dt is {source.dt:g} s; "
            f"rows off that grid are quarantined: should dt be {typical:g}?"
        )
    return rules


def _decide_unit(rules: Rules, survey: MotionSurvey, rows: SortedRows, source: Source) -> None:
    usable = survey.travels & np.isfinite(survey.speed)
    speeds = {
        name: float(np.median(survey.speed[usable & (rows.kind == code)])) / rules.seconds
        for code, name in enumerate(rows.types)
        if (usable & (rows.kind == code)).any()
    }
    if source.unit is None and survey.crossings:
        rules.unit, rules.unit_from = "degree", "guessed: x continues across the date line"
        return
    if source.unit is None:
        extent = float(np.nanmax(survey.high - survey.low)) if len(rows.kind) else 0.0
        rules.unit = guess_unit(list(speeds), list(speeds.values()), extent)
        rules.unit_from = "guessed from the speeds" if rules.unit != "unknown" else "not given"
        return
    rules.unit, rules.unit_from = source.unit, "given or named by the format"
    for name, speed in speeds.items():
        if rules.unit == "m" and plausible_metres(name, speed) is False:
            rules.notes.append(
                f"{name}s typically move {speed:.3g} m/s: are these metres and seconds?"
            )


def _decide_limits(
    rules: Rules, fastest: float | None, speed: Floats, speed_limit: float | None
) -> None:
    if speed_limit is not None:
        rules.speed_limit = speed_limit if speed_limit < np.inf else None
        rules.speed_limit_from = "given"
        rules.limit = rules.reach = np.full(len(speed), speed_limit)
    elif fastest is None:
        rules.limit = rules.reach = np.full(len(speed), np.inf)
    else:
        limit = rules.speed_limit = fastest / rules.seconds
        rules.speed_limit_from = (
            f"guessed: {JUMP_FACTOR:g} times the 99th percentile of running speeds; "
            f"{AGENT_SPEED_FACTOR:g} times an agent's typical speed if that is more"
        )
        own_limit = np.nan_to_num(AGENT_SPEED_FACTOR * speed)
        rules.limit = np.clip(own_limit, limit, MAX_LIMIT_FACTOR * limit)
        rules.reach = np.clip(own_limit, REACH_SHARE * limit, MAX_LIMIT_FACTOR * limit)


@dataclass(frozen=True)
class Cleaned:
    """The decision about N rows."""

    # Index into REASONS, KEPT, or BETWEEN for rows dropped between steps, [N]
    reason: NDArray[np.int8]
    step: Ints  # whole steps of dt, [N]; valid for kept rows
    position: Floats  # coordinates, longitudes made continuous, [N, D]
    starts: Bools  # rows at which a new trajectory begins after a jump, [N]
    moved: int  # number of kept rows whose time was moved to its step


class Cleaner:
    """Applies the rules to one part after the other.

    A scene may span several parts; all of them use the clock and meridian of the first.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.clock: dict[int, float] = {}  # seconds by which each scene is shifted to whole steps
        self.meridian: dict[int, float] = {}  # mean longitude of each scene

    def __call__(self, part: TrackRows) -> Cleaned:
        """Decide about the rows of whole trajectories."""
        rules = self.rules
        time = part.time * rules.seconds
        position = self._positions(part)
        reason = np.full(len(time), KEPT, np.int8)
        reason[rules.other_unit[part.track]] = REASONS.index("mixed-units")
        reason[at_places(part.position, rules.fillers)] = REASONS.index("filler")
        _find_repeats(reason, part)
        if rules.max_gap is not None:
            starts = self._find_teleports(reason, part.track, time, position)
            return Cleaned(reason, np.zeros(len(time), np.int64), position, starts, 0)
        fine = rules.dt / rules.every
        exact = (time - self._shifts(part, time, reason == KEPT)) / fine
        step = np.rint(exact).astype(np.int64)
        _find_off_grid(reason, part.track, exact, step, rules.tolerance)
        reason[(reason == KEPT) & (step % rules.every != 0)] = BETWEEN
        step //= rules.every
        seconds = np.asarray(step * rules.dt, np.float64)
        starts = self._find_teleports(reason, part.track, seconds, position)
        moved = (reason == KEPT) & (np.abs(exact - np.rint(exact)) > ON_GRID)
        return Cleaned(reason, step, position, starts, int(moved.sum()))

    def _positions(self, part: TrackRows) -> Floats:
        if self.rules.unit != "degree":
            return part.position
        position = part.position.copy()
        for scene, rows in scenes_of(part.scene):
            x = part.position[rows, 0]
            meridian = self.meridian.setdefault(scene, mean_longitude(x))
            position[rows, 0] = near_longitude(x, part.track[rows], meridian)
        return position

    def _shifts(self, part: TrackRows, time: Floats, good: Bools) -> Floats:
        shift = np.zeros(len(time))
        fine = self.rules.dt / self.rules.every
        for scene, rows in scenes_of(part.scene):
            if scene not in self.clock:
                self.clock[scene] = _shift(time[rows][good[rows]], fine)
            shift[rows] = self.clock[scene]
        return shift

    def _find_teleports(
        self, reason: NDArray[np.int8], track: Ints, time: Floats, position: Floats
    ) -> Bools:
        good = np.flatnonzero(reason == KEPT)
        limit, reach = self.rules.limit[track[good]], self.rules.reach[track[good]]
        away, starts = find_jumps(track[good], time[good], position[good], limit, reach)
        reason[good[away]] = REASONS.index("teleport")
        result = np.zeros(len(reason), np.bool_)
        result[good[starts]] = True
        return result


def _find_repeats(reason: NDArray[np.int8], part: TrackRows) -> None:
    """Mark copies of a row as duplicates, and all rows of one time at different positions."""
    good = np.flatnonzero(reason == KEPT)
    track, time = part.track[good], part.time[good]
    again = np.zeros(len(good), np.bool_)
    again[1:] = (track[1:] == track[:-1]) & (time[1:] == time[:-1])
    if not again.any():
        return
    group = np.cumsum(~again) - 1
    several = np.flatnonzero(again | np.append(again[1:], False))
    position = part.position[good]
    first = np.flatnonzero(~again)
    differs = np.zeros(len(first), np.bool_)
    other = (position[several] != position[first[group[several]]]).any(1)
    differs[group[several][other]] = True
    reason[good[again]] = REASONS.index("duplicate")
    reason[good[differs[group]]] = REASONS.index("conflict")


def _find_off_grid(
    reason: NDArray[np.int8], track: Ints, exact: Floats, step: Ints, tolerance: float
) -> None:
    """Mark rows too far from a whole step, and all but the nearest of several rows in one step."""
    miss = np.abs(exact - step)
    reason[(reason == KEPT) & (miss > tolerance)] = REASONS.index("off-grid")
    good = np.flatnonzero(reason == KEPT)
    same = (np.diff(track[good]) == 0) & (np.diff(step[good]) == 0)
    if same.any():  # rows are sorted by time, so those of one step are neighbors
        order = good[np.lexsort((miss[good], step[good], track[good]))]
        again = (np.diff(track[order]) == 0) & (np.diff(step[order]) == 0)
        reason[order[1:][again]] = REASONS.index("off-grid")


def resample(part: TrackRows, starts: Bools, rules: Rules) -> tuple[TrackRows, Ints, Bools]:
    """Interpolate linearly at whole steps between rows of one track, split and piece.

    `starts` are the rows at which a new piece of a track begins, [N].

    Returns:
        The interpolated rows, each with the file and row before it; their steps, [N]; and the
        rows at which pieces begin, [N].
    """
    time = part.time * rules.seconds / rules.dt
    whole = np.abs(time - np.rint(time)) < ON_GRID
    time = np.where(whole, np.rint(time), time)
    new = np.append(True, np.diff(part.track) != 0) | starts
    after = np.minimum(np.arange(len(time)) + 1, len(time) - 1)
    joined = ~np.append(new[1:], True) & (part.split == part.split[after])
    joined &= (time[after] - time) * rules.dt <= (rules.max_gap or 0.0)
    first = np.ceil(time).astype(np.int64)
    count = np.where(joined, first[after] - first, whole)
    row = np.repeat(np.arange(len(time)), count)
    step = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    span = np.where(joined, time[after] - time, 1.0)
    share = ((step - time[row]) / span[row])[:, None]
    position = part.position[row] + share * (part.position[after] - part.position)[row]
    piece = np.diff(np.cumsum(new)[row], prepend=-1) != 0
    same = np.diff(part.track[row], prepend=-1) == 0
    return replace(part.take(row), position=position), step, piece & same


def _shift(time: Floats, fine: float) -> float:
    """Offset of the clock from whole steps; 0 if it is negligible or may be jitter."""
    shift, error = clock_shift(time, fine) if len(time) else (0.0, 0.0)
    return shift if abs(shift) > max(ON_GRID * fine, SHIFT_ERRORS * error) else 0.0


def scenes_of(scene: Ints) -> list[tuple[int, slice]]:
    """Code and slice of rows of each scene in sorted rows, [N]."""
    begins = np.flatnonzero(np.diff(scene, prepend=-1))
    ends = [*begins[1:].tolist(), len(scene)][: len(begins)]
    return [(int(scene[b]), slice(b, e)) for b, e in zip(begins.tolist(), ends, strict=True)]


def find_jumps(
    track: Ints, time: Floats, position: Floats, limit: Floats, reach: Floats
) -> tuple[Bools, Bools]:
    """Find the rows to quarantine, and those at which to split a trajectory that jumps.

    A track with a step faster than `limit` is divided into runs at each step faster than `reach`.
    Up to three rows between two runs are quarantined if the track returns from them, so that the
    row after them is within reach of the row before them. At any other such step the track is
    split, and the rest becomes a new trajectory. A piece of one row is quarantined.

    All arguments describe rows sorted by trajectory and time, [N]; positions are [N, D].

    Returns:
        Whether to quarantine each row, [N], and whether a new trajectory begins at it, [N].
    """
    away, starts = np.zeros(len(track), np.bool_), np.zeros(len(track), np.bool_)
    steps = steps_of(track, time, position)
    speed = steps.speed
    far = steps.row[speed > limit[steps.row]]
    if not len(far):
        return away, starts
    fast = steps.row[speed > reach[steps.row]]
    begins = np.flatnonzero(np.concatenate(([True], np.diff(track) != 0)))
    ends = np.append(begins[1:], len(track))
    for number in np.unique(np.searchsorted(begins, far, side="right") - 1):
        rows = slice(int(begins[number]), int(ends[number]))
        first, last = np.searchsorted(fast, (rows.start, rows.stop))
        runs = [0, *(fast[first:last] - rows.start).tolist()]
        within_reach = partial(_within, time[rows], position[rows], float(reach[rows.start]))
        _divide(away[rows], starts[rows], runs, within_reach)
    return away, starts


def _within(time: Floats, position: Floats, limit: float, before: int, after: int) -> bool:
    distance = np.linalg.norm(position[after] - position[before])
    return bool(distance <= limit * (time[after] - time[before]))


def _divide(
    away: Bools, starts: Bools, runs: list[int], within_reach: Callable[[int, int], bool]
) -> None:
    """Mark the rows of one track in place; `runs` are the first rows of its runs."""
    ends = [*runs[1:], len(away)]
    last, index = ends[0] - 1, 1
    while index < len(runs):
        back = _run_after_glitch(within_reach, last, runs, index)
        if back is None:
            starts[runs[index]] = True
            back = index
        else:
            away[last + 1 : runs[back]] = True
        last, index = ends[back] - 1, back + 1
    if starts.any():  # a piece of one row is no track
        piece = np.cumsum(starts)
        counts = np.bincount(piece[~away], minlength=int(piece[-1]) + 1)
        away |= counts[piece] == 1


def _run_after_glitch(
    within_reach: Callable[[int, int], bool], last: int, runs: list[int], index: int
) -> int | None:
    """The run, after at most three rows elsewhere, within reach of the last good row."""
    for back in range(index + 1, min(index + 1 + MAX_GLITCH_ROWS, len(runs))):
        if runs[back] - last - 1 <= MAX_GLITCH_ROWS and within_reach(last, runs[back]):
            return back
    return None
