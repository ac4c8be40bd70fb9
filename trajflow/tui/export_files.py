"""Files of what is on the screen, under names that nothing has yet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trajflow.browsing.view import View
from trajflow.errors import DataError

MOST = 10_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def stem_of(view: View) -> str:
    """What files about a window are called: letters, digits, - and _ only."""
    scene = re.sub(r"[^A-Za-z0-9_-]+", "-", view.scene)[:40].strip("-") or "scene"
    return f"trajflow-{scene}-{view.index + 1}"


def write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a file that was not there, with a number if there is one of this name.

    Raises:
        DataError: The folder cannot be written to.
    """
    for number in range(1, MOST):
        path = folder / (stem + (f"-{number}" if number > 1 else "") + suffix)
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        except OSError as error:
            raise DataError(
                f"cannot write {path}: {error.strerror}; go to another folder"
            ) from None
        return path
    raise DataError(f"{folder} has {MOST} files named {stem}; remove some")


def forecast_csv(view: View) -> bytes:
    """A row for each sample, agent and step: sample, agent, step, seconds, x, y[, z][, weight].

    An id that a spreadsheet would take for a formula has a ' before it.
    """
    kept = io.StringIO(newline="")
    table = csv.writer(kept)
    axes = "xyz"[: view.samples.shape[-1]]
    weight = [] if view.weights is None else ["weight"]
    table.writerow(["sample", "agent", "step", "seconds", *axes, *weight])
    table.writerows(_rows(view))
    return kept.getvalue().encode()


def _rows(view: View) -> Iterator[list[object]]:
    for agent in np.flatnonzero(view.target):
        label = plain(view.labels[agent])
        for sample, path in enumerate(view.samples[:, agent]):
            share = [] if view.weights is None else [float(view.weights[sample, agent])]
            for step, place in enumerate(path, 1):
                seconds = round(step * view.dt, 9)
                yield [sample, label, step, seconds, *map(float, place), *share]


def plain(label: str) -> str:
    """An id as a spreadsheet shall read it: as text."""
    return f"'{label}" if label.startswith(FORMULA) else label
