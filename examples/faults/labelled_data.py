"""The same tracks under tame names and under names that would command a terminal."""

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
"""Not the NUL and the slash, which no name of a file can have."""


@dataclass(frozen=True)
class Names:
    """What is called how: every name there is in a store or a run."""

    words: tuple[str, ...]

    def of(self, what: str, number: int) -> str:
        """The name of the thing of this kind and number."""
        word = self.words[number % len(self.words)] if self.words else ""
        return f"{what}{number}{word}"

    def file(self, what: str) -> str:
        """A name of a file or folder, which ends as files of its kind must."""
        stem, dot, suffix = what.partition(".")
        return f"{stem}{''.join(self.words[:4])[:60]}{dot}{suffix}".replace("/", "|")


def write_store(path: Path, names: Names) -> None:
    """Twelve scenes of walkers who turn a little."""
    random = np.random.default_rng(0)
    folds = {
        names.of("fold", 1): [names.of("scene", 0)],
        names.of("fold", 2): [names.of("scene", 1)],
    }
    with StoreWriter(
        path,
        dims=2,
        dt=0.4,
        unit=names.of("m", 5),
        licence=names.of("licence", 2),
        source=names.of("source", 0),
        history=names.of("history", 1),
        folds=folds,
    ) as writer:
        for scene in range(12):
            count, steps = 6, 40
            turn = random.normal(0, 0.05, (count, steps)).cumsum(1) + random.uniform(
                0, 6, (count, 1)
            )
            way = np.stack((np.cos(turn), np.sin(turn)), -1) * 0.4
            position = way.cumsum(1) + random.uniform(-5, 5, (count, 1, 2))
            part = ("train", "train", "val", "test")[scene % 4]
            writer.append(
                TrackBlock(
                    names.of("scene", scene),
                    [names.of("agent", scene * count + number) for number in range(count)],
                    [names.of("type", number % 2 + 4) for number in range(count)],
                    np.full(count, steps),
                    np.tile(np.arange(steps) * 0.4, count),
                    position.reshape(-1, 2),
                    split=part,
                )
            )
        hurt = {"agent": [names.of("agent", n) for n in range(20)], "reason": ["malformed"] * 20}
        writer.append_table("quarantine", hurt)
        writer.report = {
            "quarantined": {names.of("reason", n): n + 1 for n in range(5)},
            "moved": 2,
        }


def write_table(path: Path, names: Names) -> None:
    """A CSV of the same kind of names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["scene", "agent", "type", "time", "x", "y", names.of("more", 3)])
        for number in range(18):
            for step in range(25):
                agent = names.of("agent", number).replace("\r\n", " ")
                row = [
                    names.of("scene", number % 3),
                    agent,
                    "walker",
                    0.4 * step,
                    0.3 * step,
                    number,
                ]
                out.writerow([*row, 0])
        out.writerow([names.of("scene", 5), "7", "walker", "soon", names.of("no", 6), 3, 0])
