"""What a checkup says about motion: units, clocks, jumps, agents that stand, made-up positions."""

import numpy as np

from trajflow.batch import Bools
from trajflow.datasets.checkup import Checkup, first_few, name_agents
from trajflow.datasets.cleaning import MOST, OWN
from trajflow.datasets.findings import Finding
from trajflow.datasets.motion import guess_unit, medians, plausible_metres
from trajflow.text import safe

FASTER = 1.8
"""How much faster or slower than the others a scene is when its clock or scale may be another."""
STANDING = 0.1
"""An agent stands that gets no further than a tenth of what a usual one does in its time."""
MANY_FILLED, MOSTLY_FILLED, MANY_STANDING = 0.05, 0.3, 0.3


def units(checkup: Checkup) -> Finding:
    """Whether the usual speed of each type fits the unit."""
    store, pace = checkup.store, checkup.survey.speed
    usual = {
        name: float(np.median(pace[chosen]))
        for code, name in enumerate(store.types)
        if (chosen := _travelling(checkup) & (checkup.kind == code)).any()
    }
    told = ", ".join(f"{safe(name)} {speed:.3g}" for name, speed in usual.items()) or "none moves"
    details = {"usual_speed": usual, "unit": store.unit}
    if store.unit == "unknown":
        extent = float(np.nanmax(checkup.survey.high - checkup.survey.low))
        guess = guess_unit(list(usual), list(usual.values()), extent)
        hint = f"; the speeds look like {guess}" if guess != "unknown" else ""
        message = f"the unit is not known{hint} (usual speeds: {told}); import again with unit"
        return Finding("warning", "unit", message, details)
    latitudes = store.header.bounds[1]
    if store.unit == "degree" and max(-latitudes[0], latitudes[1]) > 90:
        message = f"y reaches from {latitudes[0]:g} to {latitudes[1]:g}; it must be the latitude"
        return Finding("error", "unit", message, details)
    odd = [n for n, v in usual.items() if store.unit == "m" and plausible_metres(n, v) is False]
    if odd:
        names = ", ".join(map(safe, odd))
        message = (
            f"usual speeds in m/s are {told}, not plausible for {names}: are unit and dt right?"
        )
        return Finding("warning", "unit", message, details)
    return Finding("ok", "unit", f"usual speeds in {safe(store.unit)}/s: {told}", details)


def clocks(checkup: Checkup) -> Finding:
    """Whether some scene runs at another speed than the rest: another frame rate or scale."""
    scenes, chosen = checkup.store.scenes, _travelling(checkup)
    pace = checkup.survey.speed[chosen]
    usual = medians(pace, checkup.scene[chosen], len(scenes), least=10)
    if np.isfinite(usual).sum() < 3:
        return Finding("ok", "clock", "too few scenes to compare their speeds")
    ratio = usual / np.nanmedian(usual)
    told = np.isfinite(ratio) & ~((ratio > 1 / FASTER) & (ratio < FASTER))
    odd = {scenes[code]: float(ratio[code]) for code in np.flatnonzero(told)}
    if not odd:
        return Finding("ok", "clock", "agents of all scenes move at similar speeds")
    which = first_few([f"{safe(name)} ({r:.3g} times)" for name, r in odd.items()])
    message = f"usual speeds differ from the other scenes': {which}; check frame rate and scale"
    return Finding("note", "clock", message, {"ratio": odd})


def jumps(checkup: Checkup) -> Finding:
    """Whether steps remain that are far from anything usual."""
    limit = checkup.survey.fastest()
    if limit is None:
        return Finding("note", "jumps", "hardly anything moves, so jumps cannot be told")
    own = np.nan_to_num(OWN * checkup.survey.speed)
    over = checkup.fastest > np.clip(own, limit, MOST * limit)
    details = {"limit": limit, "fastest": float(checkup.fastest.max())}
    fastest = f"the fastest step has {details['fastest']:.4g} {safe(checkup.store.unit)}/s"
    if not over.any():
        return Finding("ok", "jumps", f"no jumps: {fastest}, jumps begin at {limit:.4g}", details)
    message = (
        f"{over.sum()} agents jump: {fastest}, usual ones stay below {limit:.4g} "
        f"({name_agents(checkup, over)}); import again with speed_limit"
    )
    return Finding("warning", "jumps", message, details)


def standing(checkup: Checkup) -> Finding:
    """How many agents hardly leave their place."""
    judged = checkup.rows >= 8
    way = np.linalg.norm(checkup.survey.high - checkup.survey.low, axis=1)
    usual = np.zeros(len(way))
    for code in range(len(checkup.store.types)):
        chosen = checkup.kind == code
        pace = checkup.survey.speed[chosen & _travelling(checkup)]
        usual[chosen] = np.quantile(pace, 0.75) if len(pace) else 0.0
    still = judged & (way <= STANDING * usual * checkup.rows * checkup.store.dt)
    share = float(still.sum() / max(judged.sum(), 1))
    message = f"{share:.0%} of agents with eight rows or more hardly leave their place"
    details = {"agents": int(judged.sum()), "standing": int(still.sum())}
    if share <= MANY_STANDING:
        return Finding("ok", "standing", message, details)
    message += "; errors averaged over all agents are largely theirs"
    return Finding("note", "standing", message, details)


def filled(checkup: Checkup) -> Finding:
    """How much of the motion looks made up: frozen while travelling, or drawn with a ruler."""
    steps = max(checkup.steps, 1)
    frozen = float(checkup.frozen[checkup.survey.travels].sum() / steps)
    linear = float(checkup.linear.sum() / steps)
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


def _travelling(checkup: Checkup) -> Bools:
    return np.asarray(checkup.survey.travels & np.isfinite(checkup.survey.speed))
