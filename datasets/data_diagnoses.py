"""What a checkup says about rows: gaps, reused labels, leaks between parts, windows, quarantine."""

import numpy as np

from trajflow.batch import Floats
from trajflow.datasets.checkup import LONG_GAP, Checkup, name_agents
from trajflow.datasets.findings import Finding, Level
from trajflow.datasets.store import Store
from trajflow.text import safe

MANY_GAPS, MOSTLY_GAPS, MANY_APART = 0.05, 0.5, 0.01


def gaps(checkup: Checkup) -> Finding:
    """How regular tracks are in time."""
    steps, skipped = checkup.steps, checkup.gaps
    moved = checkup.store.header.counted("moved")
    share = skipped / max(steps, 1)
    message = f"{skipped} of {steps} steps skip a moment ({share:.2%}); no window spans a gap"
    if moved:
        message += f"; {moved} rows were moved in time onto a whole step"
    if share > MOSTLY_GAPS:
        message += f"; dt = {checkup.store.dt:g} s is probably too small"
    level: Level = "warning" if share > MANY_GAPS else "note" if skipped or moved else "ok"
    return Finding(level, "time", message, {"steps": steps, "gaps": skipped, "moved": moved})


def reused_labels(checkup: Checkup) -> Finding:
    """Whether a label seems to be given to another agent later on."""
    survey = checkup.survey
    low = np.stack([_by_scene(checkup, corner, np.fmin) for corner in survey.low.T], 1)
    high = np.stack([_by_scene(checkup, corner, np.fmax) for corner in survey.high.T], 1)
    diagonal = np.linalg.norm(high - low, axis=1)[checkup.scene]
    far = checkup.leap > diagonal / 2
    if not far.any():
        return Finding("ok", "labels", "no label comes back far away after a long gap")
    message = (
        f"{far.sum()} labels come back after {LONG_GAP} or more steps and more than half the scene "
        f"away ({name_agents(checkup, far)}): perhaps other agents under an old label"
    )
    return Finding("note", "labels", message, {"agents": int(far.sum())})


def leaks(checkup: Checkup) -> list[Finding]:
    """Whether the same agents, scenes or paths are in several stored parts."""
    found = []
    agents = int((checkup.parts > 1).sum())
    scenes = sum(len(parts) > 1 for parts in checkup.scene_parts.values())
    if agents or scenes:
        message = (
            f"{scenes} scenes and {agents} agents are in several stored parts; no window crosses "
            "a part, but the parts show the same places and people"
        )
        found.append(Finding("note", "parts", message, {"scenes": scenes, "agents": agents}))
    if checkup.copies:
        one, two = checkup.store.labels(checkup.copies[0])
        message = (
            f"{len(checkup.copies)} trajectories move exactly as another one, for example "
            f"{safe(one)} and {safe(two)}: copies, which can leak from one part into another"
        )
        found.append(Finding("warning", "copies", message, {"copies": len(checkup.copies)}))
    return found or [Finding("ok", "parts", "no agent, scene or path is in two stored parts")]


def windows(checkup: Checkup, length: int) -> Finding:
    """How many windows each stored part offers."""
    counts = dict(checkup.windows)
    told = ", ".join(f"{safe(name)} {count}" for name, count in counts.items())
    message = f"windows of {length} steps by stored part: {told}"
    if not any(counts.values()):
        longest = int(checkup.rows.max())
        message += f"; the longest track has {longest} rows: use a shorter history or horizon"
        return Finding("error", "windows", message, counts)
    empty = [safe(name) for name, count in counts.items() if not count]
    if empty:
        message += f"; none in {', '.join(empty)}"
    return Finding("warning" if empty else "ok", "windows", message, counts)


def apart(store: Store) -> Finding:
    """How much an import set apart."""
    counts = store.header.set_apart()
    total, read = sum(counts.values()), store.header.counted("rows_read") or store.rows
    if not total:
        return Finding("ok", "quarantine", "no row was set apart by the import")
    told = ", ".join(f"{safe(name)} {count}" for name, count in counts.items())
    message = f"{total} of {read} rows were set apart by the import: {told}"
    level: Level = "warning" if total > MANY_APART * read else "note"
    return Finding(level, "quarantine", message, dict(counts))


def _by_scene(checkup: Checkup, values: Floats, how: np.ufunc) -> Floats:
    result = np.full(len(checkup.store.scenes), np.nan)
    how.at(result, checkup.scene, values)
    return result
