"""What an evaluation found, as values, as JSON and as a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trajflow.evaluation.protocol import Judging
from trajflow.evaluation.scores import RATIO
from trajflow.evaluation.tally import People

SHOWN = {
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "mean_ade": "mean ADE",
    "energy_score": "energy score",
    "coverage_50": "in 50 %",
    "coverage_90": "in 90 %",
    "miss_rate": "missed",
    "jade": "JADE",
    "jfde": "JFDE",
    "collision_rate": "collisions",
    "spread_ratio": "spread/error",
}
FIXED = 0.1
"""Below this share of the spread of draws, another seed does not count as another forecast."""


@dataclass(frozen=True)
class Score:
    """How good forecasts of some recordings were.

    Attributes:
        windows: Forecasts: an agent at a moment each.
        people: Distinct agents; their windows overlap, so these are the observations.
        means: Mean of each score.
        intervals: Low and high end of its 95 % interval by bootstrap over people.
    """

    windows: int
    people: int
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; what is no number is null."""
        ends = {name: [_number(end) for end in two] for name, two in self.intervals.items()}
        counts = {"windows": self.windows, "people": self.people}
        return {**counts, **_numbers(self.means), "intervals": ends}


@dataclass(frozen=True)
class Report:
    """How good a forecaster is, and on which terms that was found.

    Attributes:
        judging: The terms.
        scenes: Scores of each group of recordings.
        overall: The mean over these groups, not over windows.
        seconds_per_batch: Median time to forecast a batch.
        seconds_per_forecast: Median time to draw all samples of one agent, in a batch.
        sample_sensitivity: How far another seed moves the samples; see `seeds`.
        by_motion: Scores of those who stood in the past and of those who moved, where asked for.
        people: The people of each group with the sums of their energy scores, for paired
            comparisons.
    """

    judging: Judging
    scenes: dict[str, Score]
    overall: Score
    seconds_per_batch: float
    seconds_per_forecast: float
    sample_sensitivity: float
    by_motion: Mapping[str, Score] = field(default_factory=dict)
    people: Mapping[str, People] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each score over the groups: every group weighs the same."""
        return self.overall.means

    @property
    def window_mean(self) -> dict[str, float]:
        """Mean of each score over all windows: a group weighs as much as it has windows."""
        some = self.scenes.values()
        windows = np.array([score.windows for score in some], float)
        found = {
            name: float(np.average([score.means[name] for score in some], weights=windows))
            for name in self.mean
        }
        apart, away = found.get("spread", math.nan), found.get("mean_ade", math.nan)
        return found | ({RATIO: apart / away if away > 0 else math.nan} if RATIO in found else {})

    @property
    def set_regressor(self) -> bool:
        """Whether the samples are a fixed set: coverage and spread of it mean nothing."""
        return self.sample_sensitivity < FIXED

    @property
    def energy_score_kind(self) -> str:
        """Which energy score was taken.

        "draws" compares pairs of different draws and has no bias; "weighted" takes the weighted
        samples as the whole distribution.
        """
        return "draws" if self.judging.selection == "plain" else "weighted"

    @property
    def coverage_kind(self) -> str:
        """How coverage was taken: "rank" of the truth among draws, or "weighted"."""
        return "rank" if self.judging.selection == "plain" else "weighted"

    def to_json(self) -> dict[str, Any]:
        """Everything, in values that JSON can hold."""
        overall = self.overall.to_json()
        heads = {key: overall.pop(key) for key in ("windows", "people", "intervals")}
        return {
            **heads,
            **asdict(self.judging),
            "draws": self.judging.draws or self.judging.samples,
            "energy_score_kind": self.energy_score_kind,
            "coverage_kind": self.coverage_kind,
            "scenes": {name: score.to_json() for name, score in self.scenes.items()},
            "mean": overall,
            "window_mean": _numbers(self.window_mean),
            "by_motion": {name: score.to_json() for name, score in self.by_motion.items()},
            "seconds_per_batch": self.seconds_per_batch,
            "seconds_per_forecast": self.seconds_per_forecast,
            "sample_sensitivity": self.sample_sensitivity,
            "set_regressor": self.set_regressor,
            "per_person": {name: _per_person(people) for name, people in self.people.items()},
        }

    def lines(self) -> list[str]:
        """A table of the groups, their mean with its interval, and the terms; a string per line."""
        head = ["", "windows", "people", *SHOWN.values()]
        rows = [_row(name, score) for name, score in self.scenes.items()]
        rows.append(_row("mean", self.overall))
        if len(self.scenes) > 1:
            rows.append(["by windows", "", "", *_cells(self.window_mean)])
        low, high = ({n: ends[k] for n, ends in self.overall.intervals.items()} for k in (0, 1))
        rows += [["95 % from", "", "", *_cells(low)], ["to", "", "", *_cells(high)]]
        return [*_aligned([head, *rows]), "", *self._terms()]

    def _terms(self) -> list[str]:
        judging = self.judging
        plain = judging.selection == "plain"
        draws = judging.draws or judging.samples
        chosen = "" if plain else f" chosen by {judging.selection} from {draws} draws"
        kind = "joint" if judging.joint else "per agent"
        terms = [
            f"{judging.samples} samples{chosen}, {kind}, seed {judging.seed}; "
            f"{1e3 * self.seconds_per_forecast:.3g} ms per forecast",
            "intervals by bootstrap over people; in the mean every group weighs the same",
        ]
        if not plain:
            terms.append("energy score, means and coverage are of the weighted samples")
        if self.set_regressor:
            terms.append("another seed gives the same paths: a set, not draws; ignore its coverage")
        return terms


def _row(name: str, score: Score) -> list[str]:
    return [_plain(name), str(score.windows), str(score.people), *_cells(score.means)]


def _per_person(people: People) -> dict[str, list[Any]]:
    """Agents, their windows and their mean energy score, to seven digits."""
    means = people.sums[:, 0] / people.windows
    return {
        "agent": people.agent.tolist(),
        "windows": people.windows.tolist(),
        "energy_score": [float(f"{mean:.7g}") for mean in means],
    }


def _cells(means: Mapping[str, float]) -> list[str]:
    return [f"{means[name]:.3f}" if math.isfinite(means[name]) else "-" for name in SHOWN]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(wide) if place else cell.ljust(wide)
            for place, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}
