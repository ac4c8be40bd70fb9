"""Examines a store: likely faults of the tracks, and damage to its files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

import numpy as np

from trajflow.datasets.cleaning import AGENT_SPEED_FACTOR, MAX_LIMIT_FACTOR
from trajflow.datasets.motion import extents, guess_unit, medians, plausible_metres
from trajflow.datasets.report import REPLACED
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.track_statistics import LONG_GAP_STEPS, MIN_CROWD, TrackStatistics
from trajflow.errors import DataError
from trajflow.text import safe
from trajflow.types import Bools

MAX_ROWS = 2_000_000
MAX_NAMES = 3  # Names in a message
MANY_GAPS, MOSTLY_GAPS, MANY_QUARANTINED = 0.05, 0.5, 0.01

# A scene this much faster or slower than the others may have another clock or scale
SPEED_RATIO = 1.8
STANDING_SHARE = 0.1  # A standing agent covers less than this share of a typical agent's distance
MIN_TRACKS = 5  # Tracks of a scene whose starts are compared
SAME_START_SHARE = 0.9
MANY_CONFLICTS = 0.05
ALMOST_ALL, MANY_ALTERNATING = 0.98, 0.6
MANY_FILLED, MOSTLY_FILLED, MANY_STANDING = 0.05, 0.3, 0.3

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: "error" (unusable), "warning" (probably wrong), "note" (worth knowing) or "ok".
        code: Short name of the check.
        message: The result, and what to do about a problem.
        details: The numbers behind the message, as plain values.
    """

    level: Level
    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Findings ordered by level; those of one level keep their order."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def doctor(store: Store, history: int = 8, horizon: int = 12) -> list[Finding]:
    """Examine the tracks of a store.

    Args:
        store: The store; it is read by groups of whole scenes.
        history: Past steps of the windows that are counted, T.
        horizon: Future steps of the windows that are counted, F.

    Returns:
        Findings, the worst first.
    """
    stats = TrackStatistics(store, history, horizon)
    for scenes in store.parts(MAX_ROWS):
        stats.add(store.tracks(scenes))
    return worst_first(
        [
            _units(stats),
            _clocks(stats),
            _starts(stats),
            _gaps(stats),
            _fillers(stats),
            _repeats(stats),
            _jumps(stats),
            _reused_labels(stats),
            _standing(stats),
            _filled(stats),
            *_leaks(stats),
            _windows(stats, history + horizon),
            _quarantine(store),
            *_questions(store),
        ]
    )


def check(path: str | PathLike[str]) -> list[Finding]:
    """Read every file of a store: attributes, chunks, tables and times.

    Returns:
        One "ok" finding, or an "error" with the first file that is damaged.
    """
    try:
        store = open_store(path)
        store.verify()
        for scenes in store.parts(MAX_ROWS):
            store.tracks(scenes)
        for name in store.tables:
            store.table(name)
    except DataError as error:
        return [Finding("error", "files", str(error))]
    text = f"{store.rows} rows of {store.trajectories} trajectories"
    return [Finding("ok", "files", f"every file is intact: {text}")]


def _name_agents(stats: TrackStatistics, chosen: Bools) -> str:
    numbers = np.flatnonzero(chosen)[: MAX_NAMES + 1]
    labels = stats.store.labels(numbers)
    scenes = [stats.store.scenes[stats.scene[number]] for number in numbers]
    return _first_few([f"{safe(a)} of {safe(s)}" for a, s in zip(labels, scenes, strict=True)])


def _first_few(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _units(stats: TrackStatistics) -> Finding:
    store, speeds = stats.store, stats.survey.speed
    typical = {
        name: float(np.median(speeds[chosen]))
        for code, name in enumerate(store.types)
        if (chosen := _travelling(stats) & (stats.kind == code)).any()
    }
    text = ", ".join(f"{safe(name)} {speed:.3g}" for name, speed in typical.items()) or "none moves"
    details = {"usual_speed": typical, "unit": store.unit}
    if store.unit == "unknown":
        extent = float(np.nanmax(stats.survey.high - stats.survey.low))
        guess = guess_unit(list(typical), list(typical.values()), extent)
        hint = f"; the speeds look like {guess}" if guess != "unknown" else ""
        message = f"the unit is unknown{hint} (typical speeds: {text}); import again with --unit"
        return Finding("warning", "unit", message, details)
    latitudes = store.header.bounds[1]
    if store.unit == "degree" and max(-latitudes[0], latitudes[1]) > 90:
        beyond = np.maximum(-stats.survey.low[:, 1], stats.survey.high[:, 1]) > 90
        names = _name_agents(stats, beyond)
        message = (
            f"y reaches from {latitudes[0]:g} to {latitudes[1]:g} and must be a latitude, from -90 "
            f"to 90; {beyond.sum()} of {len(beyond)} agents are beyond ({names})"
        )
        return Finding("error", "unit", message, details)
    odd = [n for n, v in typical.items() if store.unit == "m" and plausible_metres(n, v) is False]
    if odd:
        names = ", ".join(map(safe, odd))
        message = f"typical speeds in m/s are {text}, not plausible for {names}: unit or dt wrong?"
        return Finding("warning", "unit", message, details)
    return Finding("ok", "unit", f"typical speeds in {safe(store.unit)}/s: {text}", details)


def _clocks(stats: TrackStatistics) -> Finding:
    """Compare the speeds of scenes; an odd one may have another frame rate or scale."""
    scenes, chosen = stats.store.scenes, _travelling(stats)
    speeds = stats.survey.speed[chosen]
    typical = medians(speeds, stats.scene[chosen], len(scenes), least=10)
    if np.isfinite(typical).sum() < 3:
        return Finding("ok", "clock", "too few scenes to compare their speeds")
    ratio = typical / np.nanmedian(typical)
    differs = np.isfinite(ratio) & ~((ratio > 1 / SPEED_RATIO) & (ratio < SPEED_RATIO))
    odd = {scenes[code]: float(ratio[code]) for code in np.flatnonzero(differs)}
    if not odd:
        return Finding("ok", "clock", "agents of all scenes move at similar speeds")
    which = _first_few([f"{safe(name)} ({r:.3g} times)" for name, r in odd.items()])
    message = f"typical speeds differ from other scenes: {which}; check frame rate and scale"
    return Finding("note", "clock", message, {"ratio": odd})


def _jumps(stats: TrackStatistics) -> Finding:
    limit = stats.survey.fastest()
    if limit is None and _alternating(stats) >= MANY_ALTERNATING:
        return Finding("note", "jumps", "rows repeat in turn, so jumps cannot be detected")
    if limit is None:
        return Finding("note", "jumps", "hardly anything moves, so jumps cannot be detected")
    report = stats.store.header.report
    if report.get("speed_limit_from") == "given" and report.get("speed_limit") is None:
        return Finding("ok", "jumps", "the import ran without a speed limit")
    limit = max(limit, report.get("speed_limit") or 0.0)
    own_limit = np.nan_to_num(AGENT_SPEED_FACTOR * stats.survey.speed)
    over = stats.fastest > np.clip(own_limit, limit, MAX_LIMIT_FACTOR * limit)
    details = {"limit": limit, "fastest": float(stats.fastest.max())}
    fastest = f"the fastest step has {details['fastest']:.4g} {safe(stats.store.unit)}/s"
    if not over.any():
        return Finding("ok", "jumps", f"no jumps: {fastest}, jumps begin at {limit:.4g}", details)
    message = (
        f"{over.sum()} agents jump: {fastest}, others stay below {limit:.4g} "
        f"({_name_agents(stats, over)}); import again with --speed-limit"
    )
    return Finding("warning", "jumps", message, details)


def _standing(stats: TrackStatistics) -> Finding:
    judged = stats.rows >= 8
    extent = np.linalg.norm(stats.survey.high - stats.survey.low, axis=1)
    typical = np.zeros(len(extent))
    for code in range(len(stats.store.types)):
        chosen = stats.kind == code
        speeds = stats.survey.speed[chosen & _travelling(stats)]
        typical[chosen] = np.quantile(speeds, 0.75) if len(speeds) else 0.0
    still = judged & (extent <= STANDING_SHARE * typical * stats.rows * stats.store.dt)
    share = float(still.sum() / max(judged.sum(), 1))
    message = f"{share:.0%} of agents with eight rows or more hardly move"
    details = {"agents": int(judged.sum()), "standing": int(still.sum())}
    if share <= MANY_STANDING:
        return Finding("ok", "standing", message, details)
    message += "; they dominate mean errors over all agents"
    return Finding("note", "standing", message, details)


def _filled(stats: TrackStatistics) -> Finding:
    """Look for motion that was filled in: frozen positions, or many equal steps."""
    steps = max(stats.steps, 1)
    frozen = float(stats.frozen[stats.survey.travels].sum() / steps)
    linear = float(stats.linear.sum() / steps)
    details = {"frozen": frozen, "linear": linear}
    message = (
        f"{frozen:.1%} of steps freeze an agent that otherwise travels, {linear:.1%} lie in "
        "stretches of five or more equal steps"
    )
    most = max(frozen, linear)
    if most < MANY_FILLED:
        return Finding("ok", "filled", message, details)
    message += ": agents that pause, or positions that were filled in and look easy to forecast"
    return Finding("warning" if most > MOSTLY_FILLED else "note", "filled", message, details)


def _travelling(stats: TrackStatistics) -> Bools:
    return np.asarray(stats.survey.travels & np.isfinite(stats.survey.speed))


def _gaps(stats: TrackStatistics) -> Finding:
    steps, skipped = stats.steps, stats.gaps
    moved = stats.store.header.reported_count("moved")
    share = skipped / max(steps, 1)
    message = f"{skipped} of {steps} steps skip a moment ({share:.2%}); windows do not span gaps"
    if moved:
        message += f"; {moved} rows were moved in time to a whole step"
    read = stats.store.header.reported_count("rows_read") or stats.store.rows
    conflicts = stats.store.header.quarantined().get("conflict", 0)
    if share > MANY_GAPS and conflicts > MANY_CONFLICTS * read:
        message += f"; {conflicts} rows of an agent at one time are in quarantine: a coarse clock"
    elif share > MOSTLY_GAPS:
        message += f"; dt = {stats.store.dt:g} s is probably too small"
    elif share > MANY_GAPS and stats.single_gaps > ALMOST_ALL * skipped:
        message += "; nearly all skip one: is the clock coarse or dt too small? Import without --dt"
    level: Level = "warning" if share > MANY_GAPS else "note" if skipped or moved else "ok"
    return Finding(level, "time", message, {"steps": steps, "gaps": skipped, "moved": moved})


def _starts(stats: TrackStatistics) -> Finding:
    odd = []
    for code, name in enumerate(stats.store.scenes):
        tracks = stats.scene == code
        first = stats.first[tracks]
        at_once = (first == first.min()).mean() >= SAME_START_SHARE
        if tracks.sum() >= MIN_TRACKS and at_once and np.ptp(stats.last[tracks]) > 0:
            odd.append(safe(name))
    if not odd:
        return Finding("ok", "starts", "tracks start at different times")
    message = (
        f"all or nearly all tracks of {len(odd)} scenes start at the same time "
        f"({_first_few(odd)}): if each track counts time from its own start, its neighbors are "
        "wrong; import real times, or each track as a scene (--columns scene=NAME)"
    )
    return Finding("warning", "starts", message, {"scenes": len(odd)})


def _fillers(stats: TrackStatistics) -> Finding:
    crowded = stats.crowded + _standing_together(stats)
    if crowded and not stats.at_fillers:
        places = [f"({x:g}, {y:g})" for x, y in crowded]
        message = (
            f"{crowded.total()} rows are at {_first_few(places)}, exactly where {MIN_CROWD} agents "
            "or more are: a filler for 'not seen'? Exclude these rows: --where \"not (x = "
            f'{next(iter(crowded))[0]:g} and y = {next(iter(crowded))[1]:g})"'
        )
        return Finding("warning", "fillers", message, {"rows": crowded.total()})
    if not stats.at_fillers:
        return Finding("ok", "fillers", "no position looks like a filler for 'not seen'")
    places = [f"({x:g}, {y:g})" for x, y in stats.survey.fillers.tolist()]
    message = (
        f"{stats.at_fillers} rows are at {_first_few(places)}, to which agents jump exactly: "
        "a filler for 'not seen'? Import again, which quarantines them"
    )
    return Finding("warning", "fillers", message, {"rows": stats.at_fillers})


def _standing_together(stats: TrackStatistics) -> Counter[tuple[float, float]]:
    """Rows of three or more agents that never leave the same exact position, by position."""
    still = (stats.survey.low[:, :2] == stats.survey.high[:, :2]).all(1) & (stats.rows > 1)
    agents, rows = Counter[tuple[float, float]](), Counter[tuple[float, float]]()
    for (x, y), count in zip(stats.survey.low[still, :2].tolist(), stats.rows[still], strict=True):
        if not stats.crowded[x, y]:
            agents[x, y] += 1
            rows[x, y] += int(count)
    return Counter({place: rows[place] for place, count in agents.items() if count >= MIN_CROWD})


def _repeats(stats: TrackStatistics) -> Finding:
    share = _alternating(stats)
    if share < MANY_ALTERNATING:
        return Finding("ok", "rate", "rows do not repeat positions in turn")
    message = (
        f"every second row repeats the position before ({share:.0%} of steps stand and move in "
        f"turn): rows are written at twice the real rate; import again with --dt "
        f"{2 * stats.store.dt:g}"
    )
    return Finding("warning", "rate", message, {"share": share})


def _alternating(stats: TrackStatistics) -> float:
    return stats.alternating / max(stats.steps, 1)


def _reused_labels(stats: TrackStatistics) -> Finding:
    survey = stats.survey
    diagonal = extents(stats.scene, survey.low, survey.high, len(stats.store.scenes))
    far = stats.leap > diagonal[stats.scene] / 2
    if not far.any():
        return Finding("ok", "labels", "no label comes back far away after a long gap")
    message = (
        f"{far.sum()} labels come back after {LONG_GAP_STEPS} or more steps and more than half the "
        f"scene away ({_name_agents(stats, far)}): perhaps other agents under an old label"
    )
    return Finding("note", "labels", message, {"agents": int(far.sum())})


def _leaks(stats: TrackStatistics) -> list[Finding]:
    result = []
    agents = int((stats.splits > 1).sum())
    scenes = sum(len(parts) > 1 for parts in stats.scene_splits.values())
    if agents or scenes:
        message = (
            f"{scenes} scenes and {agents} agents are in several stored splits; no window crosses "
            "splits, but they contain the same places and people"
        )
        result.append(Finding("note", "parts", message, {"scenes": scenes, "agents": agents}))
    if stats.copies:
        first, second = stats.store.labels(stats.copies[0])
        message = (
            f"{len(stats.copies)} trajectories are copies of another one, for example "
            f"{safe(first)} and {safe(second)}; copies can leak from one split into another"
        )
        result.append(Finding("warning", "copies", message, {"copies": len(stats.copies)}))
    return result or [Finding("ok", "parts", "no agent, scene or path is in two stored splits")]


def _windows(stats: TrackStatistics, length: int) -> Finding:
    counts = dict(stats.windows)
    text = ", ".join(f"{safe(name)} {count}" for name, count in counts.items())
    message = f"windows of {length} steps by stored split: {text}"
    if not any(counts.values()):
        longest = int(stats.rows.max())
        message += f"; the longest track has {longest} rows: use a shorter history or horizon"
        return Finding("error", "windows", message, counts)
    empty = [safe(name) for name, count in counts.items() if not count]
    if empty:
        message += f"; none in {', '.join(empty)}"
    return Finding("warning" if empty else "ok", "windows", message, counts)


def _quarantine(store: Store) -> Finding:
    counts = store.header.quarantined()
    total, read = sum(counts.values()), store.header.reported_count("rows_read") or store.rows
    if not total:
        return Finding("ok", "quarantine", "the import quarantined no row")
    text = ", ".join(f"{safe(name)} {count}" for name, count in counts.items())
    message = f"the import quarantined {total} of {read} rows: {text}"
    level: Level = "warning" if total > MANY_QUARANTINED * read else "note"
    return Finding(level, "quarantine", message, dict(counts))


def _questions(store: Store) -> list[Finding]:
    """Open questions of the import about the file, and rows that it interpolated."""
    notes = store.header.report.get("notes")
    questions = [str(n) for n in notes if "?" in str(n)] if isinstance(notes, list) else []
    result = [
        Finding("warning", "import", f"note of the import: {safe(n, 400)}") for n in questions
    ]
    dropped = store.header.report.get("dropped")
    if isinstance(dropped, dict) and REPLACED in dropped:
        message = (
            f"{dropped[REPLACED]} rows were {REPLACED}; positions depend a little on the next row"
        )
        result.append(Finding("note", "import", message))
    return result
