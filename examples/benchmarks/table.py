"""The table of a benchmark: reports gathered into rows, and files for people and programs.

A row is one forecaster under one protocol, over folds and seeds. It has the shape of a report, so
that `trajflow compare` reads table.json. Rows are ranked within one protocol only.
"""

import csv
import io
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from plan import Benchmark, Plan, Trial, command_of, settings_of

from trajflow import __version__
from trajflow.evaluation.ranking import Ranked, by_protocol, ranked
from trajflow.evaluation.report import reports_in
from trajflow.io import write_whole
from trajflow.statistics import seed_width, widened
from trajflow.text import plain

Report = Mapping[str, Any]
Judged = Sequence[tuple[Trial, Report]]
TERMS = ("samples", "draws", "selection", "joint", "steps", "clocks")
KINDS = ("energy_score_kind", "coverage_kind")
ERRORS = ("min_ade", "min_fde")
RATES = {"coverage_50": "coverage@50", "coverage_90": "coverage@90", "miss_rate": "miss rate"}
PANELS = {"min_ade": "minADE", "min_fde": "minFDE", "energy_score": "energy score"}
WIDEST = 76
"""Letters of a peer's difference that the picture shows; the table has them all."""
READ = """Errors are minADE / minFDE of the best of K, each from its own best sample. A rank is \
by the energy score, within one protocol only; "=" marks scores that cannot be told apart by the \
bootstrap of their paired difference over people, with the variance of the seeds. Brackets: 95 % \
by bootstrap over people, with the variance of the seeds (Student) where there are several, folds \
combined as independent (Zou and Donner 2008). Braces: least to most of the seeds. In the mean \
every fold weighs the same; "by windows" is the energy score with every window weighing the same. \
Coverage is the share of truths whose rank among truth and samples, by the distance of each to \
the mean of the others, is within the level: exactly the level for a perfect forecaster."""
OTHERS_READ = """Not ranked with the above: each row names in what its protocol differs. Their \
coverage is by the samples' own quantile, which leans on the samples: 83.7 % of truths where a \
perfect forecaster of 20 samples has 90 % by ours."""


def peers(benchmark: str) -> list[dict[str, Any]]:
    """Figures of others on a benchmark, in the order of peers.toml."""
    text = Path(__file__).with_name("peers.toml").read_text(encoding="utf-8")
    rows = [{"folds": {}, "energy": {}} | row for row in tomllib.loads(text)["peer"]]
    return [row for row in rows if row["benchmark"] == benchmark]


def make_table(
    benchmark: Benchmark,
    plan: Plan,
    results: Path,
    missing: Sequence[str] = (),
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All that is known, in values that JSON can hold.

    Args:
        benchmark: The benchmark.
        plan: What was planned.
        results: Folder of the reports.
        missing: Names of the trials that are not done.
        failed: Why trials failed, by name.
    """
    rows = make_rows(benchmark, plan, results)
    counted = {
        name: {"windows": fold["windows"], "people": fold["people"]}
        for row in rows
        for name, fold in row["folds"].items()
    }
    trained = [trial for trial in plan.trials if not trial.baseline]
    return {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "note": benchmark.note,
        "trajflow": __version__,
        "data": plan.data,
        "fingerprint": plan.fingerprint,
        "folds": {n: fold | {"field": benchmark.windows.get(n)} for n, fold in counted.items()},
        "partial": set(counted) != set(benchmark.windows),
        "settings": settings_of(trained[0]) if trained else {},
        "rows": rows,
        "missing": list(missing),
        "failed": dict(failed or {}),
        "peers": peers(benchmark.name),
    }


def write_table(table: Mapping[str, Any], results: Path) -> list[Path]:
    """Write table.json, .csv, .md and .png, and people.json by which rows are compared in pairs."""
    people = [row["per_person"] for row in table["rows"]]
    rows = [{k: v for k, v in row.items() if k != "per_person"} for row in table["rows"]]
    texts = {
        "people.json": json.dumps(people, separators=(",", ":")),
        "table.json": json.dumps({**table, "rows": rows}, indent=1),
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
    }
    for name, text in texts.items():
        write_whole(results / name, text.encode())
    if rows:
        draw(table).savefig(results / "table.png", dpi=130)
    return [results / name for name in (*list(texts)[1:], *(["table.png"] if rows else []))]


# Rows.


def make_rows(benchmark: Benchmark, plan: Plan, results: Path) -> list[dict[str, Any]]:
    """A row for each forecaster and protocol that has a report, in the order of the plan."""
    groups: dict[tuple[Any, ...], list[tuple[Trial, Report]]] = {}
    for trial in plan.trials:
        for report in reports_in(trial.folder(results)):
            key = (trial.method, *(report[name] for name in TERMS))
            groups.setdefault(key, []).append((trial, report))
    return [_row(benchmark, plan, judged) for judged in groups.values()]


def _row(benchmark: Benchmark, plan: Plan, judged: Judged) -> dict[str, Any]:
    trial, first = judged[0]
    folds = list(dict.fromkeys(t.fold for t in plan.trials if t.method == trial.method))
    by_seed: dict[int, dict[str, Report]] = {}
    by_fold: dict[str, list[Report]] = {}
    for one, report in judged:
        by_seed.setdefault(one.seed, {})[one.fold] = report
        by_fold.setdefault(one.fold, []).append(report)
    whole = [by_seed[seed] for seed in sorted(by_seed) if set(by_seed[seed]) == set(folds)]
    found = {fold: _fold(by_fold[fold]) for fold in folds if fold in by_fold}
    seeds = _seed_means(whole)
    reports = [report for _, report in judged]
    milliseconds = [1e3 * report["seconds_per_forecast"] for report in reports]
    label = _label(trial.method, first)
    return {
        "name": f"{label} ({len(whole)} seed(s))",
        "label": label,
        "method": trial.method,
        "baseline": trial.baseline,
        "protocol": _protocol(first, folds, by_fold),
        **{name: first[name] for name in TERMS},
        "windows": sum(fold["windows"] for fold in found.values()),
        "people": sum(fold["people"] for fold in found.values()),
        "mean": {name: float(np.mean(values)) for name, values in seeds.items()},
        "window_mean": _over_windows(found, seeds),
        "seed_means": seeds,
        "intervals": mean_intervals(list(found.values()), seeds),
        "folds": found,
        "per_person": _people(whole),
        "seeds": len(whole),
        "milliseconds_per_agent": float(np.median(milliseconds)),
        "training_seconds": sum(float(r["training"].get("seconds", 0)) for r in reports),
        "evaluation_seconds": sum(r["evaluation_seconds"] for r in reports),
        "set_regressor": any(r["set_regressor"] for r in reports),
        **{kind: first[kind] for kind in KINDS if kind in first},
        "machine": first["machine"],
        "command": command_of(benchmark, plan, trial.method, first),
    }


def _label(method: str, report: Report) -> str:
    clocks = " told clocks" if report["clocks"] else ""
    many = f" of {report['draws']}" if report["draws"] > report["samples"] else ""
    chosen = "" if report["selection"] == "plain" else f" {report['selection']}{many}"
    return f"{method}{clocks}{chosen}"


def _protocol(
    first: Report, folds: Sequence[str], by_fold: Mapping[str, Sequence[Report]]
) -> dict[str, Any]:
    """That of the first report, but for what differs by fold."""
    shared = {k: v for k, v in first["protocol"].items() if k not in ("parts", "leakage")}
    shared |= {name: first[name] for name in (*TERMS, "miss", "collide", "resamples")}
    if len(folds) == 1:
        return shared
    hashes = {fold: reports[0]["protocol"]["hash"] for fold, reports in by_fold.items()}
    return {**shared, "fold": "each of " + ", ".join(folds), "hash": hashes}


def _fold(reports: Sequence[Report]) -> dict[str, Any]:
    """Means of a fold over seeds, and their intervals over people alone."""

    def means(key: str) -> dict[str, float]:
        some = [report.get(key, {}) for report in reports]
        return {n: float(np.mean([one[n] for one in some])) for n in _shared(some)}

    ends = [report["intervals"] for report in reports]
    known = [name for name in means("mean") if all(None not in one[name] for one in ends)]
    return {
        **{name: reports[0][name] for name in ("windows", "people")},
        "mean": means("mean"),
        "window_mean": means("window_mean"),
        "people_intervals": {n: np.mean([one[n] for one in ends], 0).tolist() for n in known},
        "seeds": [report["trial"]["seed"] for report in reports],
    }


def _shared(means: Sequence[Mapping[str, Any]]) -> list[str]:
    """Scores that all have a number for."""
    return [name for name in means[0] if all(one.get(name) is not None for one in means)]


def _seed_means(whole: Sequence[Mapping[str, Report]]) -> dict[str, list[float]]:
    """Of each score its mean over the folds under every seed; none where no seed has all folds."""
    means = [[report["mean"] for report in one.values()] for one in whole]
    names = _shared([one for some in means for one in some]) if means else []
    return {n: [float(np.mean([one[n] for one in some])) for some in means] for n in names}


def mean_intervals(
    folds: Sequence[Mapping[str, Any]], seeds: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """95 % intervals of means over folds, whose people are others, with the variance of the seeds.

    That is taken from the means over the folds under each seed: the people are the same for all
    seeds, so these differ by the seeds alone.

    Args:
        folds: "mean" and "people_intervals" of each fold.
        seeds: Of each score its mean over the folds under every seed.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures", eq. 2:
    the distances of the ends to the mean add up in squares.
    """
    found = {}
    for name, values in seeds.items():
        if all(name in fold["people_intervals"] for fold in folds):
            each = np.array([fold["mean"][name] for fold in folds])
            low, high = np.array([fold["people_intervals"][name] for fold in folds]).T
            down, up = (np.sqrt(np.square(end - each).sum()) / len(each) for end in (low, high))
            mean = float(np.mean(values))
            found[name] = list(widened(mean - down, mean, mean + up, seed_width(values)))
    return found


def _over_windows(folds: Mapping[str, Any], seeds: Mapping[str, Any]) -> dict[str, float]:
    """Mean of each score over all windows of the folds, every window weighing the same."""
    windows = [fold["windows"] for fold in folds.values()]
    each = [fold["window_mean"] for fold in folds.values()]
    names = [name for name in seeds if all(name in means for means in each)]
    return {n: float(np.average([means[n] for means in each], weights=windows)) for n in names}


def _people(whole: Sequence[Mapping[str, Report]]) -> dict[str, dict[str, list[Any]]]:
    """The people of all folds and groups, with their mean energy scores over the seeds."""
    if not whole or not all(r.get("per_person") for one in whole for r in one.values()):
        return {}
    found = {}
    for fold, report in whole[0].items():
        for group, first in report["per_person"].items():
            scores = [one[fold]["per_person"][group]["energy_score"] for one in whole]
            name = group if len(report["per_person"]) == 1 else f"{fold}: {group}"
            mean = [float(f"{value:.7g}") for value in np.mean(scores, 0)]
            found[name] = {**first, "energy_score": mean}
    return found


# Files.


def to_csv(table: Mapping[str, Any]) -> str:
    """One line per row of ours and of others, one column per score."""
    lines = [dict(_our_cells(row)) for row in table["rows"]]
    lines += [dict(_their_cells(peer)) for peer in table["peers"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(n for line in lines for n in line)))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().replace("\r\n", "\n")


def _our_cells(row: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield from (("method", row["label"]), ("kind", "baseline" if row["baseline"] else "ours"))
    yield from ((name, row[name]) for name in (*TERMS, "seeds"))
    yield "selected_on", row["protocol"]["selected_on"]
    for fold, found in row["folds"].items():
        yield from ((f"{fold}_{name}", found["mean"][name]) for name in ERRORS)
    for name, mean in row["mean"].items():
        seeds = row["seed_means"][name]
        values = (mean, min(seeds), max(seeds), *row["intervals"].get(name, ()))
        kinds = ("mean", "least", "most", "low", "high")
        yield from ((f"{name}_{k}", v) for k, v in zip(kinds, values, strict=False))
    for name in ("milliseconds_per_agent", "training_seconds", "evaluation_seconds", "command"):
        yield name, row[name]
    yield "hash", json.dumps(row["protocol"]["hash"])
    yield "data", row["protocol"]["fingerprint"]
    yield from ((f"machine_{name}", value) for name, value in row["machine"].items())


def _their_cells(peer: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    nested = ("folds", "energy", "mean", "benchmark")
    yield from ((name, value) for name, value in peer.items() if name not in nested)
    for fold, errors in peer["folds"].items():
        yield from zip((f"{fold}_{name}" for name in ERRORS), errors, strict=True)
    yield from ((f"{name}_mean", value) for name, value in peer["mean"].items())


def to_markdown(table: Mapping[str, Any]) -> str:
    """The whole document."""
    lines = [*_head(table), *_ours(table), *_others(table), *_commands(table)]
    return plain("\n".join(lines)) + "\n"


def summary(table: Mapping[str, Any]) -> str:
    """What matters of each row, for a terminal."""
    scores = ("energy_score", *ERRORS, "coverage_90")
    rows = [
        [row["label"], str(row["steps"]), f"{row['samples']} of {row['draws']}", str(row["seeds"])]
        + [_number(row["mean"].get(name), 4) for name in scores]
        for row in table["rows"]
    ]
    heads = ["method", "steps", "K of draws", "seeds", "energy score", "minADE", "minFDE"]
    lines = [*_grid([*heads, "coverage@90"], rows), *_unfinished(table)]
    return "\n".join(lines)


def _head(table: Mapping[str, Any]) -> Iterator[str]:
    rows = table["rows"]
    yield from (f"# {table['title']}", "")
    yield f"Data `{table['data']}`, sha256 `{table['fingerprint']}`."
    for asked in [row["protocol"] for row in rows[:1]]:
        yield (
            f"{asked['history']} + {asked['horizon']} steps, stride {asked['stride']}, unit "
            f"{asked['unit']}; missed beyond {asked['miss']:g}, collided below "
            f"{asked['collide']:g} {asked['unit']}. Test part only; epochs, the noise's "
            "deviation and learned sets are chosen on the validation split."
        )
    for names in {tuple(row["protocol"]["validation"]) for row in rows}:
        if names:
            yield f"Validation part: the whole training recordings {', '.join(names)}."
    counts = ", ".join(f"{name} {_counts(fold)}" for name, fold in table["folds"].items())
    yield f"Windows (people): {counts}. {table['note']}".rstrip()
    if table["settings"]:
        changed = ", ".join(f"{n}={json.dumps(v)}" for n, v in table["settings"].items())
        yield f"Settings other than the defaults: {changed}."
    for machine in dict.fromkeys(tuple(row["machine"].items()) for row in rows):
        yield f"Machine: {', '.join(f'{name} {value}' for name, value in machine)}."
    if table["partial"]:
        folds = ", ".join(table["folds"])
        yield f"**Means of ours are of {folds} alone; those of others are not.**"
    yield from (*_unfinished(table), "")


def _counts(fold: Mapping[str, Any]) -> str:
    field = fold["field"]
    odd = "" if field in (None, fold["windows"]) else f", **the field counts {field}**"
    return f"{fold['windows']} ({fold['people']}{odd})"


def _unfinished(table: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"**Failed: {name}**: {why}." for name, why in table["failed"].items())
    left = [name for name in table["missing"] if name not in table["failed"]]
    if left:
        yield f"**Not done yet: {', '.join(left)}.**"


def _ours(table: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Measured here", "", READ, "")
    folds = list(table["folds"])
    heads = ["rank", "method", "steps", *folds, "mean", "energy score", "by windows"]
    heads += [*RATES.values(), "spread / error", "JADE / JFDE", "collision rate", "ms / agent"]
    heads += ["selected on", "seeds"]
    for group in by_protocol(table["rows"]):
        lines = [_our_line(place, folds) for place in ranked(group)]
        yield from (f"{_question(group[0])}:", "", *_grid(heads, lines), "")


def _question(row: Mapping[str, Any]) -> str:
    how = "plain draws"
    if row["selection"] != "plain":
        of = f"by {row['selection']} of {row['draws']} draws"
        how = f"chosen {of}; energy score, spread and coverage by their weights"
    clocks = f"; told the real seconds per step of {row['clocks']}" if row["clocks"] else ""
    return f"K = {row['samples']}, {how}, {'whole scenes' if row['joint'] else 'per agent'}{clocks}"


def _our_line(place: Ranked, folds: Sequence[str]) -> list[str]:
    row, mean = place.row, place.row["mean"]
    kind = "baseline: " if row["baseline"] else ""
    fixed = row["set_regressor"] and row["selection"] == "plain"
    return [
        f"{place.rank}{' =' if place.tied else ''}" if mean else "-",
        f"{kind}{row['method']}{' (a set, not draws)' if fixed else ''}",
        "-" if row["baseline"] else str(row["steps"]),
        *(_pair(row["folds"].get(fold, {}).get("mean", {})) for fold in folds),
        _pair(mean) + _between(row, "min_ade"),
        _number(mean.get("energy_score")) + _between(row, "energy_score"),
        _number(row["window_mean"].get("energy_score")),
        *(_percent(mean.get(name)) for name in RATES),
        _number(mean.get("spread_ratio"), 2),
        f"{_number(mean.get('jade'))} / {_number(mean.get('jfde'))}",
        _percent(mean.get("collision_rate")),
        f"{row['milliseconds_per_agent']:.2g}",
        row["protocol"]["selected_on"] or "-",
        str(row["seeds"]),
    ]


def _others(table: Mapping[str, Any]) -> Iterator[str]:
    kinds = {"measured": "Others, measured with what they released", "published": "As published"}
    for kind, title in kinds.items():
        some = [peer for peer in table["peers"] if peer["kind"] == kind]
        if not some:
            continue
        folds = list(dict.fromkeys(fold for peer in some for fold in peer["folds"]))
        heads = ["method", *folds, "mean", "energy score", "coverage@90", "K", "draws"]
        heads += ["selection", "selected on", "joint", "difference", "source"]
        lines = [_their_line(peer, folds) for peer in some]
        yield from (f"## {title}", "", OTHERS_READ, "", *_grid(heads, lines), "")


def _their_line(peer: Mapping[str, Any], folds: Sequence[str]) -> list[str]:
    mean = peer["mean"]
    each = [peer["folds"].get(fold, (None, None)) for fold in folds]
    pairs = [*each, [mean.get(name) for name in ERRORS]]
    return [
        f"{peer['method']} ({peer['by']})",
        *(" / ".join("-" if v is None else f"{v:g}" for v in pair) for pair in pairs),
        _number(mean.get("energy_score")),
        _percent(mean.get("coverage_90")),
        *(str(peer[name]) for name in ("samples", "draws", "selection", "selected_on")),
        "yes" if peer["joint"] else "no",
        peer["difference"],
        peer["source"],
    ]


def _commands(table: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Each row again", "")
    for row in table["rows"]:
        steps = "" if row["baseline"] else f", {row['steps']} step(s)"
        spent = "" if row["baseline"] else f"{row['training_seconds']:.0f} s of training, "
        seconds = f"{spent}{row['evaluation_seconds']:.0f} s of evaluation"
        yield f"- {row['label']}{steps} ({seconds}): `{row['command']}`"
    for row in table["rows"][:1]:
        known = row["protocol"]["hash"]
        each = known if isinstance(known, dict) else {next(iter(row["folds"])): known}
        splits = "; ".join(f"{fold} `{value[:16]}`" for fold, value in each.items())
        yield from ("", f"Splits: {splits}.")


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _pair(scores: Mapping[str, float]) -> str:
    return " / ".join(_number(scores.get(name)) for name in ERRORS)


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _between(row: Mapping[str, Any], name: str) -> str:
    """The interval of a mean, and the least and the most of its seeds."""
    ends, seeds = row["intervals"].get(name), row["seed_means"].get(name, ())
    people = f" [{_number(ends[0])} - {_number(ends[1])}]" if ends else ""
    return people + (
        f" {{{_number(min(seeds))} - {_number(max(seeds))}}}" if len(seeds) > 1 else ""
    )


# The picture.


def draw(table: Mapping[str, Any]) -> Figure:
    """Means with their intervals and the folds as grey dots, a line per row; peers below ours.

    Peers are shown that are judged by as many samples, and where ours are means of all folds too.
    """
    rows = table["rows"]
    lines = [_our_dots(row) for row in rows]
    most = 0 if table["partial"] else max(row["samples"] for row in rows)
    alike = [peer for peer in table["peers"] if peer["samples"] == most]
    lines += map(_their_dots, sorted(alike, key=lambda peer: str(peer["kind"])))
    figure = Figure(figsize=(15, 1.3 + 0.21 * len(lines)), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for panel, (name, title) in zip(axes, PANELS.items(), strict=True):
        for place, line in enumerate(lines):
            each = [fold[name] for fold in line["folds"] if name in fold]
            panel.plot(each, [place] * len(each), ".", color="#9ca3af", ms=3)
            ends = line["ends"].get(name, ())
            panel.plot(ends, [place] * len(ends), color=line["color"], lw=2.5, alpha=0.5)
            if name in line["mean"]:
                panel.plot(line["mean"][name], place, "o", color=line["color"], ms=4)
        panel.set_xlabel(f"{title} ({rows[0]['protocol']['unit']})")
        panel.grid(axis="x", color="#e5e7eb")
        panel.set_xlim(0, None)
    for place, line in enumerate(lines):
        where: dict[str, Any] = {"xy": (1.02, place), "xycoords": ("axes fraction", "data")}
        axes[-1].annotate(line["note"], **where, va="center", fontsize=6.5, annotation_clip=False)
    axes[0].set_yticks(range(len(lines)), [line["label"] for line in lines], fontsize=7.5)
    axes[0].invert_yaxis()
    over = f"of {', '.join(table['folds'])} only" if table["partial"] else "of all folds"
    legend = f"mean {over} (grey: each fold; bar: 95 % of people; black: others, not ranked)"
    figure.suptitle(plain(f"{table['title']}: {legend}"), fontsize=10)
    return figure


def _our_dots(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": row["label"] if row["baseline"] else f"{row['label']}, {row['steps']} step(s)",
        "color": "#0f766e" if row["baseline"] else "#ea580c",
        "mean": row["mean"],
        "ends": row["intervals"],
        "folds": [fold["mean"] for fold in row["folds"].values()],
        "note": f"{row['selection']}, {row['seeds']} seed(s)",
    }


def _their_dots(peer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": peer["method"],
        "color": "black",
        "mean": peer["mean"],
        "ends": {},
        "folds": [dict(zip(ERRORS, errors, strict=True)) for errors in peer["folds"].values()],
        "note": shorten(f"{peer['kind']}: {peer['difference']}", WIDEST, placeholder="…"),
    }
