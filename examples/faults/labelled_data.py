"""The same tracks under ordinary names, and under names that contain terminal commands."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.writer import StoreWriter

HOSTILE = (
    "\x1b]0;OWNED\x07", "\x1b]52;c;T1dORUQ=\x07", "\x1b[31mred\x1b[0m", "\x9b31mOWNED", "[/]",
    "[@click=app.quit]x[/]", "[link=file:///x]y[/link]", "[bold red]z", "\u202eDENWO\u2066",
    "\u200b\ufeff\u2060q", "e" + "\u0301" * 30, "\x08\x08\x7f\r\n\t", "\x1bP1$q\x1b\\", "\x85\x9d",
    "$\\frac{1}{$", "=cmd|' /C calc'!A1", "\ufff9\U000e0041\u3164", "x" * 150,
)  # fmt: skip
"""Without NUL and slash, which file names cannot contain."""


@dataclass(frozen=True)
class Names:
    """Generates the names in a store or run; each contains one of `suffixes`, if there are any."""

    suffixes: tuple[str, ...]

    def of(self, kind: str, number: int) -> str:
        """The name of a scene, agent, type ... with a number."""
        suffix = self.suffixes[number % len(self.suffixes)] if self.suffixes else ""
        return f"{kind}{number}{suffix}"

    def file(self, name: str) -> str:
        """A hostile variant of a file name with the same suffix."""
        stem, dot, suffix = name.partition(".")
        return f"{stem}{''.join(self.suffixes[:4])[:60]}{dot}{suffix}".replace("/", "|")


def write_store(path: Path, names: Names) -> None:
    """Write a store of twelve scenes of walkers who turn slightly."""
    rng = np.random.default_rng(0)
    agents, steps = 6, 40
    folds = {names.of("fold", n + 1): [names.of("scene", n)] for n in (0, 1)}
    labels = {
        "unit": names.of("m", 5),
        "licence": names.of("licence", 2),
        "source": names.of("source", 0),
        "history": names.of("history", 1),
    }
    with StoreWriter(path, dims=2, dt=0.4, folds=folds, **labels) as writer:
        for scene in range(12):
            start = rng.uniform(0, 6, (agents, 1))
            heading = rng.normal(0, 0.05, (agents, steps)).cumsum(1) + start
            moves = np.stack((np.cos(heading), np.sin(heading)), -1) * 0.4
            position = moves.cumsum(1) + rng.uniform(-5, 5, (agents, 1, 2))
            writer.append(
                TrackBlock(
                    names.of("scene", scene),
                    [names.of("agent", scene * agents + number) for number in range(agents)],
                    [names.of("type", number % 2 + 4) for number in range(agents)],
                    np.full(agents, steps),
                    np.tile(np.arange(steps) * 0.4, agents),
                    position.reshape(-1, 2),
                    split=("train", "train", "val", "test")[scene % 4],
                )
            )
        bad = {"agent": [names.of("agent", n) for n in range(20)], "reason": ["malformed"] * 20}
        writer.append_table("quarantine", bad)
        writer.report = {
            "quarantined": {names.of("reason", n): n + 1 for n in range(5)},
            "moved": 2,
        }


def write_table(path: Path, names: Names) -> None:
    """Write a CSV table with such names, and one malformed row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scene", "agent", "type", "time", "x", "y", names.of("more", 3)])
        for number in range(18):
            scene = names.of("scene", number % 3)
            agent = names.of("agent", number).replace("\r\n", " ")
            for step in range(25):
                writer.writerow([scene, agent, "walker", 0.4 * step, 0.3 * step, number, 0])
        malformed = [names.of("scene", 5), "7", "walker", "soon", names.of("no", 6), 3, 0]
        writer.writerow(malformed)
