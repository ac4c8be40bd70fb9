"""Formats tables and reports as text."""

import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trajflow.text import safe, with_unit

# Width of a line where stdout is not a terminal.
UNLIMITED = 100_000
# Most characters of a table cell, and of a value of `pairs`.
CELL, VALUE = 64, 200
# Most recordings or folds with a column of their own.
MANY = 6
SCORES = {
    "energy_score": "energy score",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "mean_ade": "mean ADE",
    "mean_fde": "mean FDE",
    "jade": "joint ADE",
    "jfde": "joint FDE",
    "miss_rate": "miss rate",
    "collision_rate": "collisions",
    "coverage_50": "coverage@50",
    "coverage_90": "coverage@90",
    "spread_ratio": "spread ratio",
    "true_collision_rate": "true collisions",
}
"""Display names of the scores of a report."""
BOUNDS = {
    "miss_rate": (">", "miss"),
    "collision_rate": ("<", "collide"),
    "true_collision_rate": ("<", "collide"),
}
"""Sign and option of the distance of a score."""
BASELINE_SCORES = ("energy_score", "min_ade", "min_fde", "miss_rate", "coverage_90")
JOINT_SCORES = ("jade", "jfde", "collision_rate")
MOTION_SCORES = ("energy_score", "min_ade", "min_fde", "coverage_90", "spread_ratio")
BASELINE_PREFIX = "baseline "
OOD_COLUMNS = [
    "corruption",
    "",
    "windows",
    "AUROC",
    "95 % of people",
    "distance",
    "best baseline",
    "FPR95",
    "flagged",
    "typical",
    "minADE",
    "energy",
    "in 90 %",
    "calibr.",
]


def table(header: Sequence[str], rows: Sequence[Sequence[object]], limit: int = CELL) -> str:
    """Lay out rows under a header. Text is escaped by `safe`.

    On a terminal, text that does not fit continues on the next line.

    Args:
        header: One name per column.
        rows: Cells; a float gets four significant digits, None and NaN become "-".
        limit: Most characters of a cell.

    Examples:
        >>> from trajflow.cli.tables import table
        >>> print(table(["scene", "windows"], [["zara1", 2356], ["eth", 364]]))
        scene  windows
        zara1     2356
        eth        364
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    right = [bool(column) and _is_numeric(column) for column in columns]
    lines = [list(map(safe, header)), *([_cell(value, limit) for value in row] for row in rows)]
    return _layout(lines, right)


def pairs(values: Mapping[str, object]) -> str:
    """Names and values, aligned, one pair per line."""
    lines = [[name, _cell(value, VALUE)] for name, value in values.items()]
    return _layout(lines, [False, False])


def _layout(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for numeric in right:
        grid.add_column(justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for line in lines:
        grid.add_row(*map(Text, line))
    live = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if live else UNLIMITED
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _cell(value: object, limit: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else safe(value, limit)


def _is_numeric(column: Sequence[object]) -> bool:
    kinds = (int, float, type(None))
    return all(isinstance(value, kinds) and not isinstance(value, bool) for value in column)


def score_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report of an evaluation as text: a row per score, a column per recording or fold."""
    from trajflow.evaluation.report import threshold_lines

    yield _score_title(report)
    yield ""
    names = list(report["scenes"])
    scenes = {name: report["scenes"][name] for name in names[:MANY]}
    many = len(names) > 1 and "window_mean" in report
    rows = [_score_row(key, report, scenes, many) for key in _keys(report)]
    extra = ["by windows"] if many else []
    yield table(["", "mean", "95 % of people", *extra, *scenes], rows)
    if many:
        yield "mean: every recording or fold weighs the same; by windows: every window does"
    if len(names) > MANY:
        yield f"... and {len(names) - MANY} more; --json has them all"
    yield from threshold_lines(report)
    if report.get("selection", "plain") != "plain":
        yield "energy score, means, coverage and spread are of the weighted samples"
    yield from _memory_lines(report)
    yield from _joint_lines(report)
    yield from _motion_lines(report)
    yield from _baseline_lines(report)


def _baseline_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The run and the baselines on the same windows, sorted by energy score."""
    baselines = report.get("baselines")
    if not baselines:
        return
    means = {"this run": report.get("unwatched", report)["mean"], **baselines}
    keys = [key for key in BASELINE_SCORES if _is_number(report["mean"].get(key))]
    rows = [
        [name, *(mean.get(key) for key in keys)]
        for name, mean in sorted(means.items(), key=lambda item: item[1]["energy_score"])
    ]
    yield ""
    yield f"beside the baselines, on the same windows; lengths in {report['protocol']['unit']}"
    yield table(["", *(score_name(key, report) for key in keys)], rows)
    yield f"the run {report['verdict']}"


def _memory_lines(report: Mapping[str, Any]) -> Iterator[str]:
    if "unwatched" not in report:
        return
    names = [key for key in MOTION_SCORES if key in report["mean"]]
    yield ""
    paths = report["protocol"]["watched"] == "earlier paths"
    yield f"with {'earlier paths' if paths else 'memory'} of the place, as above, and without"
    names_of = ("with paths", "without paths") if paths else ("watched", "without memory")
    pair = zip(names_of, (report["mean"], report["unwatched"]["mean"]), strict=True)
    rows = [[name, *(mean[key] for key in names)] for name, mean in pair]
    yield table(["", *(SCORES[key] for key in names)], rows)


def score_name(key: str, report: Mapping[str, Any]) -> str:
    """Display name of a score; of misses and collisions with their distance, "miss rate > 2 m"."""
    protocol = report["protocol"]
    name, (sign, option) = SCORES.get(key, key), BOUNDS.get(key, ("", ""))
    bound = report.get(option, protocol.get(option))
    return name if bound is None else f"{name} {sign} {with_unit(bound, protocol.get('unit'))}"


def _score_title(report: Mapping[str, Any]) -> str:
    protocol, steps = report["protocol"], report["steps"]
    fold = f" of fold {protocol['fold']}" if protocol["fold"] else ""
    rule = report.get("selection", "plain")
    chosen = "plain draws" if rule == "plain" else f"chosen by {rule} from {report['draws']} draws"
    return (
        f"{report['name']}: {report['windows']} windows of {report['people']} people, split "
        f"{protocol['split']}{fold}; {report['samples']} {chosen} in {steps} "
        f"step{'s' if steps > 1 else ''}, {1e3 * report['seconds_per_forecast']:.2g} ms "
        f"per agent; {protocol['unit']}"
    )


def _keys(report: Mapping[str, Any]) -> list[str]:
    mean, separate = report["mean"], ("_independent", "_gain")
    names = [*SCORES, *(k for k in mean if k not in SCORES and not k.endswith(separate))]
    return [key for key in names if key in mean and _is_number(mean[key])]


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _score_row(
    key: str, report: Mapping[str, Any], scenes: Mapping[str, Any], many: bool
) -> list[object]:
    low, high = report.get("intervals", {}).get(key, (None, None))
    between = None if low is None else f"{low:.4g} .. {high:.4g}"
    by_windows = [report["window_mean"][key]] if many else []
    by_scene = (scene[key] for scene in scenes.values())
    return [score_name(key, report), report["mean"][key], between, *by_windows, *by_scene]


def _joint_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Joint scores of the samples as drawn, and shuffled between agents."""
    mean = report["mean"]
    if "jade_independent" not in mean:
        return
    kind = "drawn together" if report["joint"] else "drawn alone"
    yield ""
    yield f"agreement between agents, whose samples were {kind}"
    keys = [key for key in JOINT_SCORES if _is_number(mean[key])]
    rows = [_joint_row(report, key, score_name(key, report)) for key in keys]
    yield table(["", "as drawn", "shuffled", "gain", "95 % of people"], rows)
    if _is_number(mean["true_collision_rate"]):
        yield f"collisions in the data: {100 * mean['true_collision_rate']:.3g} %"


def _joint_row(report: Mapping[str, Any], key: str, name: str) -> list[object]:
    mean, gain = report["mean"], f"{key}_gain"
    low, high = report["intervals"][gain]
    between = None if low is None else f"{low:.3g} .. {high:.3g}"
    return [name, mean[key], mean[f"{key}_independent"], mean[gain], between]


def _motion_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Scores of standing and of moving agents, and of each agent type."""
    slow = report.get("standing") or 0
    titles = {
        "by_motion": f"by the past; standing is slower than {slow:.3g} per step",
        "by_type": "by the type of the agent",
    }
    for key, title in titles.items():
        groups = report.get(key) or {}
        if len(groups) < 2:
            continue
        total = sum(group["windows"] for group in groups.values())
        rows = [
            [name or "unknown", group["windows"] / total, group["people"]]
            + [group[score] for score in MOTION_SCORES]
            for name, group in groups.items()
        ]
        yield ""
        yield title
        yield table(["", "share", "people", *(SCORES[key] for key in MOTION_SCORES)], rows)


def ood_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report of `trajflow evaluate --ood` as text: a row per corruption, the worst first."""
    from trajflow.ood.report import by_hidden_cost, hidden_summary

    protocol, ordinary = report["protocol"], report["ordinary"]
    fold = f" of fold {protocol['fold']}" if protocol["fold"] else ""
    yield (
        f"{report['name']}: {ordinary['windows']} ordinary windows of {ordinary['people']} people, "
        f"split {protocol['split']}{fold}; {protocol['samples']} draws; {protocol['unit']}"
    )
    yield ""
    yield hidden_summary(report)
    rows = [["(ordinary)", "", ordinary["windows"], *[None] * 5, *_ood_scores(ordinary)]]
    yield table(OOD_COLUMNS, rows + [_ood_row(corruption) for corruption in by_hidden_cost(report)])
    yield ""
    yield from _ood_notes(report)


def _ood_notes(report: Mapping[str, Any]) -> Iterator[str]:
    """The legend of the table, and the results beside it."""
    ordinary = report["ordinary"]
    retention, alarms = ordinary["retention"], ordinary["alarms"]
    yield (
        "AUROC: OOD score, corrupted against ordinary windows; distance: of the context alone, "
        "which needs no corruptions; baseline: best score without a network; FPR95: share of "
        "ordinary windows flagged where 95 % of the corrupted are detected"
    )
    yield (
        "flagged: share above the 95 % quantile of validation people, of ordinary people "
        f"{_percent(alarms['ood_score'])}; typical: above that of a typical recording, "
        f"{_percent(alarms['typical_score'])}"
    )
    yield (
        "sorted by the rise of the energy score times the share of windows not flagged; hurt: "
        "energy score higher or coverage@90 lower than that of ordinary windows, and the 95 % "
        "intervals do not overlap"
    )
    for name, words in (("ood_score", "OOD score"), ("expected_error", "expected error")):
        if name in retention:
            yield (
                f"keeping the 80 % of ordinary windows with the lowest {words} lowers the energy "
                f"score by {_percent(retention[name]['drop80'])}"
            )
    if ceiling := ordinary.get("ceiling"):
        spread = retention["self_expected"]["drop80"]
        yield (
            f"by the spread of the forecasts: {_percent(spread)}; by the errors themselves: "
            f"{_percent(retention['oracle']['drop80'])}; if forecasts were exactly right, by any "
            f"score {_percent(ceiling['drop80'])} at most"
        )
    if trained_on := [
        f"{c['name']} {c['level']}" for c in report["corruptions"] if c["trained_on"]
    ]:
        yield f"hardly out of distribution, the run was trained on them: {', '.join(trained_on)}"
    if abs(report["metre"] - 1) > 1e-9:
        yield (
            f"lengths: {report['metre']:.3g} {report['protocol']['unit']} replace a metre, so that "
            "the typical speed of training tracks is a walk of 1.3 m/s"
        )
    yield from report["notes"]


def _ood_row(corruption: Mapping[str, Any]) -> list[object]:
    if not corruption["windows"]:
        return [corruption["name"], corruption["level"], 0, *[None] * 11]
    detection = corruption["detection"]
    score = detection["ood_score"]
    low, high = score["auroc"]["interval"] or (None, None)
    baselines = {
        name: scores["auroc"]["value"]
        for name, scores in detection.items()
        if BASELINE_PREFIX in name
    }
    best = max(baselines, key=lambda name: baselines[name])
    return [
        corruption["name"],
        corruption["level"],
        corruption["windows"],
        _three_digits(score["auroc"]["value"]),
        None if low is None else f"{_three_digits(low)} .. {_three_digits(high)}",
        _three_digits(detection["distance"]["auroc"]["value"]),
        f"{_three_digits(baselines[best])} {best.removeprefix(BASELINE_PREFIX)}",
        _three_digits(score["fpr95"]["value"]),
        *_ood_scores(corruption),
    ]


def _ood_scores(windows: Mapping[str, Any]) -> list[object]:
    accuracy, alarms = windows["accuracy"], windows["alarms"]
    flagged = [_three_digits(alarms[name]["value"]) for name in ("ood_score", "typical_score")]
    values = [accuracy[name]["value"] for name in ("min_ade", "energy_score")]
    shares = [_three_digits(accuracy[name]["value"]) for name in ("coverage_90", "conformal_90")]
    return [*flagged, *values, *shares]


def _three_digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _percent(share: Mapping[str, Any]) -> str:
    if share["value"] is None or share["interval"] is None:
        return "an unknown share"
    low, high = share["interval"]
    return f"{100 * share['value']:.1f} % [{100 * low:.1f} .. {100 * high:.1f}]"
