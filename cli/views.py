"""Views of a report beside its table: whether agents agree, and who stood or moved."""

from typing import Any

from trajflow.cli.console import say
from trajflow.cli.tables import table

AGREEING = {"jade": "joint ADE", "jfde": "joint FDE", "collision_rate": "collisions"}
APART = ("energy_score", "min_ade", "min_fde", "coverage_90", "spread_ratio")


def show_joint(report: dict[str, Any]) -> None:
    """Joint scores of the samples as drawn, and of the same ones shuffled between agents."""
    mean = report["mean"]
    if "jade_independent" not in mean:
        return
    kind = "drawn together" if report["joint"] else "drawn alone"
    rows = [_agreement(report, key, name) for key, name in AGREEING.items()]
    say()
    say(f"agreement between agents, whose samples were {kind}")
    say(table(["", "as drawn", "shuffled", "gain", "95 % of people"], rows))
    say(f"collisions of what happened: {100 * mean['true_collision_rate']:.3g} %")


def show_motion(report: dict[str, Any], names: dict[str, str]) -> None:
    """Scores of those who stood in their past and of those who moved."""
    parts = report.get("by_motion") or {}
    if len(parts) < 2:
        return
    total = sum(part["windows"] for part in parts.values())
    rows = [
        [motion, part["windows"] / total, part["people"], *(part[key] for key in APART)]
        for motion, part in parts.items()
    ]
    say()
    say(f"by the past; standing is slower than {report['standing']:.3g} per step")
    say(table(["", "share", "people", *(names[key] for key in APART)], rows))


def _agreement(report: dict[str, Any], key: str, name: str) -> list[object]:
    mean, gain = report["mean"], f"{key}_gain"
    low, high = report["intervals"][gain]
    between = None if low is None else f"{low:.3g} .. {high:.3g}"
    return [name, mean[key], mean[f"{key}_independent"], mean[gain], between]
