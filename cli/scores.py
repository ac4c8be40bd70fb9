"""A report of an evaluation as a table: one line per score, one column per recording or fold."""

from typing import Any

from trajflow.cli.console import say, say_json
from trajflow.cli.tables import table
from trajflow.cli.views import show_joint, show_motion

NAMES = {
    "energy_score": "energy score",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "mean_ade": "mean ADE",
    "mean_fde": "mean FDE",
    "jade": "joint ADE",
    "jfde": "joint FDE",
    "miss_rate": "missed",
    "collision_rate": "collisions",
    "coverage_50": "inside 50 %",
    "coverage_90": "inside 90 %",
    "spread_ratio": "spread ratio",
    "true_collision_rate": "true collisions",
}
MANY = 6


def show(report: dict[str, Any], as_json: bool) -> None:
    """Print a report, as JSON if asked."""
    if as_json:
        say_json(report)
        return
    say(heading(report))
    say()
    scenes = dict(list(report["scenes"].items())[:MANY])
    many = len(report["scenes"]) > 1 and "window_mean" in report
    rows = [_row(key, report, scenes, many) for key in _keys(report)]
    beside = ["by windows"] if many else []
    say(table(["", "mean", "95 % of people", *beside, *scenes], rows))
    if many:
        say("in the mean every recording or fold weighs the same, by windows every window does")
    if len(report["scenes"]) > MANY:
        say(f"... and {len(report['scenes']) - MANY} more; --json has them all")
    if report.get("selection", "plain") != "plain":
        say("energy score, means, coverage and spread are of the weighted samples")
    show_joint(report)
    show_motion(report, NAMES)


def heading(report: dict[str, Any]) -> str:
    """What was judged, and on what."""
    protocol = report["protocol"]
    fold = f" of fold {protocol['fold']}" if protocol["fold"] else ""
    rule, steps = report.get("selection", "plain"), report["steps"]
    chosen = "plain draws" if rule == "plain" else f"chosen by {rule} from {report['draws']} draws"
    return (
        f"{report['name']}: {report['windows']} windows of {report['people']} people, part "
        f"{protocol['split']}{fold}; {report['samples']} {chosen} in {steps} "
        f"step{'s' if steps > 1 else ''}, {1e3 * report['seconds_per_forecast']:.2g} ms "
        f"per agent; {protocol['unit']}"
    )


def _keys(report: dict[str, Any]) -> list[str]:
    known = [key for key in NAMES if key in report["mean"]]
    apart = ("_independent", "_gain")
    return known + [k for k in report["mean"] if k not in NAMES and not k.endswith(apart)]


def _row(key: str, report: dict[str, Any], scenes: dict[str, Any], many: bool) -> list[object]:
    low, high = report.get("intervals", {}).get(key, (None, None))
    between = None if low is None else f"{low:.4g} .. {high:.4g}"
    beside = [report["window_mean"][key]] if many else []
    each = (scene[key] for scene in scenes.values())
    return [NAMES.get(key, key), report["mean"][key], between, *beside, *each]
