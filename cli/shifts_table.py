"""The report of `trajflow evaluate --ood` as a table: a line for each shift and severity."""

from typing import Any

from trajflow.cli.console import say, say_json
from trajflow.cli.tables import table

FLOOR, UNAWARE = "floor ", "unaware"
HEADER = [
    "shift",
    "",
    "windows",
    "AUROC",
    "95 % of people",
    "unaware",
    "best floor",
    "FPR95",
    "found",
    "usual",
    "minADE",
    "energy",
    "in 90 %",
    "calibr.",
]


def show(report: dict[str, Any], as_json: bool) -> None:
    """Print a report, as JSON if asked."""
    if as_json:
        say_json(report)
        return
    protocol, ordinary = report["protocol"], report["ordinary"]
    fold = f" of fold {protocol['fold']}" if protocol["fold"] else ""
    say(
        f"{report['name']}: {ordinary['windows']} ordinary windows of {ordinary['people']} people, "
        f"part {protocol['split']}{fold}; {protocol['samples']} draws; {protocol['unit']}"
    )
    say()
    rows = [["(ordinary)", "", ordinary["windows"], *[None] * 5, *_tail(ordinary)]]
    say(table(HEADER, rows + [_row(shift) for shift in report["shifts"]]))
    say()
    for line in notes(report):
        say(line)


def notes(report: dict[str, Any]) -> list[str]:
    """What the numbers mean, and what the table has not."""
    ordinary = report["ordinary"]
    kept, alarms = ordinary["retention"], ordinary["alarms"]
    lines = [
        "AUROC of the surprise, between shifted and ordinary windows; unaware: of those of its "
        "scores that were not fitted on known faults, to which many shifts are alike; best floor: "
        "without a network; FPR95: ordinary windows flagged where 95 % of the shifted are found",
        "found: share flagged at the threshold that 95 % of validation people stay below; of "
        f"ordinary people {_percent(alarms['surprise'])}; usual: at that of a usual recording, "
        f"{_percent(alarms['usual'])}",
        *(
            f"keeping the 80 % of ordinary windows with the least {name} lowers the energy score "
            f"by {_percent(kept[name]['drop80'])}"
            for name in ("surprise", "risk")
            if name in kept
        ),
        *_limits(ordinary),
    ]
    learned = [f"{s['name']} {s['level']}" for s in report["shifts"] if s["learned"]]
    if learned:
        lines.append(f"learned from at other times, so hardly strange: {', '.join(learned)}")
    if abs(report["metre"] - 1) > 1e-9:
        lines.append(
            f"lengths: {report['metre']:.3g} {report['protocol']['unit']} stand for a metre, as "
            "the usual pace of training tracks does for a walk of 1.3 m/s"
        )
    return [*lines, *report["notes"]]


def _limits(ordinary: dict[str, Any]) -> list[str]:
    """How much a score could lower the error at most."""
    kept, ceiling = ordinary["retention"], ordinary.get("ceiling")
    if not ceiling:
        return []
    return [
        f"with the spread of the forecasts themselves by {_percent(kept['own']['drop80'])}; if "
        f"forecasts were exactly right, with any score by {_percent(ceiling['drop80'])} at most; "
        f"with the errors, once known, by {_percent(kept['oracle']['drop80'])}"
    ]


def _row(shift: dict[str, Any]) -> list[object]:
    if not shift["windows"]:
        return [shift["name"], shift["level"], 0, *[None] * 11]
    found = shift["detection"]
    one = found["surprise"]
    low, high = one["auroc"]["interval"] or (None, None)
    floors = {name: kinds for name, kinds in found.items() if name.startswith(FLOOR)}
    best = max(floors, key=lambda name: floors[name]["auroc"]["value"])
    return [
        shift["name"],
        shift["level"],
        shift["windows"],
        _two(one["auroc"]["value"]),
        None if low is None else f"{_two(low)} .. {_two(high)}",
        _two(found[UNAWARE]["auroc"]["value"]) if UNAWARE in found else None,
        f"{_two(floors[best]['auroc']['value'])} {best.removeprefix(FLOOR)}",
        _two(one["fpr95"]["value"]),
        *_tail(shift),
    ]


def _tail(one: dict[str, Any]) -> list[object]:
    accuracy = one["accuracy"]
    values = (accuracy[name]["value"] for name in ("min_ade", "energy_score"))
    shares = (accuracy[name]["value"] for name in ("coverage_90", "conformal_90"))
    flagged = (_flagged(one, name) for name in ("surprise", "usual"))
    return [*flagged, *values, *map(_two, shares)]


def _flagged(one: dict[str, Any], name: str) -> str | None:
    return _two(one["alarms"][name]["value"]) if name in one["alarms"] else None


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _percent(one: dict[str, Any]) -> str:
    if one["value"] is None or one["interval"] is None:
        return "an unknown share"
    low, high = one["interval"]
    return f"{100 * one['value']:.1f} % [{100 * low:.1f} .. {100 * high:.1f}]"
