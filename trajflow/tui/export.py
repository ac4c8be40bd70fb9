"""Files about a window that is shown: a picture, the forecast as CSV, the command that draws it."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajflow.browse.view import SamplingOptions, View
from trajflow.errors import DataError
from trajflow.text import no_formula
from trajflow.types import Floats

if TYPE_CHECKING:
    from trajflow.tui.app import TrajflowApp

MAX_FILES = 10_000


def file_stem(view: View) -> str:
    """Name of files about a window: letters, digits, - and _ only."""
    scene = re.sub(r"[^A-Za-z0-9_-]+", "-", view.scene)[:40].strip("-") or "scene"
    return f"trajflow-{scene}-{view.index + 1}"


def write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a new file, with a number if there is one of this name.

    Raises:
        DataError: The folder cannot be written to.
    """
    for number in range(1, MAX_FILES):
        path = folder / (stem + (f"-{number}" if number > 1 else "") + suffix)
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        except OSError as error:
            raise DataError(
                f"cannot write {path}: {error.strerror}; change to another folder"
            ) from None
        return path
    raise DataError(f"{folder} has {MAX_FILES} files named {stem}; remove some")


def save_file(app: TrajflowApp, view: View, suffix: str, content: Callable[[], bytes]) -> None:
    """Write a new file about a window into the current folder, in a thread, and say which."""

    def save() -> None:
        try:
            path = write_new(Path.cwd(), file_stem(view), suffix, content())
        except DataError as error:
            app.call_from_thread(app.show_error, error)
        else:
            app.call_from_thread(app.show_message, f"saved {path.name}")

    app.run_worker(save, thread=True)


def plot_command(
    run: Path, data: Path, split: str, view: View, options: SamplingOptions, level: float | None
) -> str:
    """The command that draws the same forecast of a window; a selection of samples is left out.

    Without a level no prediction regions are drawn.
    """
    words = ["trajflow", "plot", str(run), str(data), "--split", split]
    words += ["--window", str(view.index + 1), "--samples", str(options.samples)]
    words += ["--steps", str(options.steps), "--seed", str(options.seed)]
    if level is not None:
        words += ["--coverage", f"{level:g}"]
    return shlex.join([*words, "-o", f"{file_stem(view)}.png"])


def forecast_csv(view: View) -> bytes:
    """A row for each sample, agent and step: sample, agent, step, seconds, x, y[, z][, weight].

    An id that a spreadsheet would take for a formula has a ' before it.
    """
    text = StringIO(newline="")
    table = csv.writer(text)
    axes = "xyz"[: view.samples.shape[-1]]
    weight = [] if view.weights is None else ["weight"]
    table.writerow(["sample", "agent", "step", "seconds", *axes, *weight])
    table.writerows(_csv_rows(view))
    return text.getvalue().encode()


def _csv_rows(view: View) -> Iterator[list[object]]:
    for agent in np.flatnonzero(view.target):
        label = no_formula(view.labels[agent])
        for sample, path in enumerate(view.samples[:, agent]):
            weight = [] if view.weights is None else [float(view.weights[sample, agent])]
            for step, position in enumerate(path, 1):
                seconds = round(step * view.dt, 9)
                yield [sample, label, step, seconds, *map(float, position), *weight]


def forecast_rrd(view: View) -> bytes:
    """The window and its forecast as a recording of rerun, on the timeline "seconds" (0: present).

    Raises:
        DataError: rerun is not installed.
    """
    try:
        import rerun
    except ImportError:
        raise DataError("saving for rerun needs the extra: pip install 'trajflow[rerun]'") from None
    recording = rerun.RecordingStream("trajflow")
    stream = recording.binary_stream()
    lines = rerun.LineStrips2D if view.samples.shape[-1] < 3 else rerun.LineStrips3D

    def log(name: str, step: int, paths: Floats) -> None:
        recording.set_time("seconds", duration=step * view.dt)
        strips = [path[np.isfinite(path).all(-1)] for path in paths]
        recording.log(name, lines([strip for strip in strips if len(strip) > 1]))

    steps, horizon = view.past.shape[1], view.samples.shape[2]
    for step in range(1 - steps, 1):
        log("past", step, view.past[:, : steps + step])
    now = view.past[:, -1:]
    for step in range(1, horizon + 1):
        if view.future is not None:
            log("future", step, np.concatenate([now, view.future[:, :step]], 1))
        drawn = np.concatenate(
            [np.broadcast_to(now, (len(view.samples), *now.shape)), view.samples], 2
        )
        log("samples", step, drawn[:, view.target, : step + 1].reshape(-1, step + 1, now.shape[-1]))
    recording.flush()
    return bytes(stream.read() or b"")


FORECASTS = {".csv": forecast_csv, ".rrd": forecast_rrd}
"""How forecasts are written, by the suffix of the file."""
