"""Open the tracks that a run shall forecast: a store, or a table read as the run's own tracks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from trajflow.datasets.report import ImportReport, TableLayout
from trajflow.datasets.store import Store, open_store
from trajflow.errors import DataError, RunError
from trajflow.inference.base import Predictor

if TYPE_CHECKING:
    from trajflow.datasets.columns import Mapped

log = logging.getLogger("trajflow")

REQUIRED = ("agent", "time", "frame", "x", "y", "z")
CLOCKS = ("time", "frame")
SAME_STEP = 0.02
"""Share by which the rows of a table may be further apart than the steps of the run."""
FAST = 0.9
"""Quantile of the steps of moving agents that says how fast a table is."""
SUSPICIOUS, IMPOSSIBLE = 5.0, 20.0
"""Fast step of a table, in typical steps of the run, that gives a warning or an error."""
PROBE_ROWS = 1_000_000
"""Rows whose speed is looked at."""


def check_fit(predictor: Predictor, store: Store, name: object) -> None:
    """Refuse tracks of another step, unit or number of coordinates than a run was trained on.

    Raises:
        RunError: They do not fit; the message has each value that differs.
    """
    wrong = []
    if store.dims != predictor.dims:
        wrong.append(f"it has {store.dims} coordinates, the run {predictor.dims}")
    if store.unit != predictor.unit:
        wrong.append(f"its unit is {store.unit!r}, the run's {predictor.unit!r}")
    if abs(store.dt - predictor.dt) > 1e-6 * predictor.dt:
        wrong.append(f"its steps are every {store.dt:g} s, the run's every {predictor.dt:g} s")
    if wrong:
        raise RunError(
            f"{name} does not fit the run: {'; '.join(wrong)}. Import it with the --dt and --unit "
            "of the run, or train on it"
        )


@contextmanager
def open_tracks(
    path: Path,
    predictor: Predictor,
    *,
    columns: Mapping[str, str] | None = None,
    dt: float | None = None,
    unit: str | None = None,
    dates: str | None = None,
) -> Iterator[Store]:
    """Open a store, or read a table into a store that is deleted afterwards.

    A table is read as the one that the run was trained on: with its columns, scale, unit, step
    and number of coordinates.

    Args:
        path: The store or the table.
        predictor: Of the run.
        columns: Name in the table of each canonical column, where it differs from the run's.
        dt: Seconds from one row of an agent to its next, where the table counts frames.
        unit: Unit of the table's coordinates; None: the run's.
        dates: Order of day, month and year in the table; None: that of the run's table.

    Raises:
        RunError: The tracks have another step, unit, speed or number of coordinates than the
            run's.
        DataError: The table lacks a column of the run's, or cannot be read.
    """
    if path.is_dir() or not path.exists():
        store = open_store(path)
        check_fit(predictor, store, path)
        yield store
        return
    # What reads tables is imported only for one: it takes longer than opening a store.
    from trajflow.datasets.formats import FORMATS, TABLE_SETTINGS
    from trajflow.datasets.importing import import_tracks
    from trajflow.datasets.table_file import column_names

    layout, table = TableLayout.of_run(predictor.facts), FORMATS["table"]
    source = layout.source if FORMATS.get(layout.source, table).is_table else "table"
    settings = {name: v for name, v in layout.settings.items() if name in TABLE_SETTINGS}
    settings |= {"dates": dates} if dates else {}
    convert = FORMATS.get(source, table).convert
    names = column_names(path, settings.get("encoding", "utf-8"), convert)
    mapped = run_columns(path, names, layout, columns or {}, predictor.dims)
    own_axes = all(layout.columns.get(a) == mapped.names[a] for a in ("x", "y"))
    own_unit = "degree" if layout.projected else predictor.unit
    _check_unit(path, own_unit, unit, None if own_axes else mapped.unit)
    _check_frames(path, mapped, layout, dt)
    if dt is not None and abs(dt - predictor.dt) > SAME_STEP * predictor.dt:
        raise RunError(
            f"{path} has rows every {dt:g} s by --dt, the run steps every {predictor.dt:g} s; "
            "resample the table, or train on such tracks"
        )
    with TemporaryDirectory() as folder:
        place = Path(folder) / "tracks.zarr"
        report = import_tracks(
            source,
            path,
            place,
            columns=mapped.names,
            dt=predictor.dt,
            unit=own_unit,
            factors={axis: factor for axis, factor in layout.factors.items()},
            project=layout.projected,
            scale=layout.scale if own_axes and unit is None else None,
            dims=predictor.dims,
            resample=predictor.dt if layout.max_gap else None,
            max_gap=layout.max_gap,
            settings=settings,
        )
        for line in report.lines():
            log.debug("%s", line)
        _check_interval(path, report, layout, predictor.dt, dt)
        if report.quarantined:
            log.warning(
                "rows that were left out: %s; see `trajflow data import %s`",
                ", ".join(f"{name} {count}" for name, count in report.quarantined.items()),
                path,
            )
        store = open_store(place)
        check_fit(predictor, store, path)
        if unit is None:
            _check_speed(path, store, predictor)
        yield store


def run_columns(
    path: Path, names: Sequence[str], layout: TableLayout, columns: Mapping[str, str], dims: int
) -> Mapped:
    """The columns of a table: those that are chosen, then those of the run, then guesses.

    Columns of a run that were counted, in a file without names, tell nothing of a table with names.

    Raises:
        DataError: A column is missing; the message has its name.
    """
    chosen = dict(columns)
    missing = []
    counted = all(name.isdigit() for name in layout.columns.values())
    counted = counted and not any(name.isdigit() for name in names)
    for canonical, name in layout.columns.items():
        clock = canonical in CLOCKS and any(c in columns for c in CLOCKS)
        if canonical in columns or clock or counted:
            continue
        if name in names:
            chosen[canonical] = name
        elif canonical in REQUIRED:
            missing.append((canonical, name))
    if missing:
        lacking = ", ".join(f"{name!r} for {canonical}" for canonical, name in missing)
        shown = ", ".join(map(repr, names[:40])) + (", ..." if len(names) > 40 else "")
        raise DataError(
            f"{path} lacks columns of the tracks the run was trained on: {lacking}; it has "
            f"{shown}; name its own: --columns {missing[0][0]}=NAME, in Python "
            f"columns={{{missing[0][0]!r}: NAME}}"
        )
    from trajflow.datasets.columns import map_columns

    return map_columns(path, chosen, names, dims)


def _check_unit(path: Path, own: str, given: str | None, named: str | None) -> None:
    """Refuse coordinates whose unit, by the user's word or by their names, is not the run's."""
    unit = given or named
    if unit is None or unit == own:
        return
    how = "said to be" if given else "by the names of its columns"
    raise RunError(
        f"{path} is in {unit!r} ({how}), the run in {own!r}; convert it, with `trajflow data "
        f"import {path} --scale METRES` where the run is in metres, or say --unit {own} if "
        f"its numbers are in {own}"
    )


def _check_frames(path: Path, mapped: Mapped, layout: TableLayout, dt: float | None) -> None:
    if "frame" in mapped.names and "frame" not in layout.columns and dt is None:
        raise DataError(
            f"{path}: column {mapped.names['frame']!r} counts frames, which have no seconds; give "
            "--dt, the seconds from one row of an agent to its next"
        )


def _check_interval(
    path: Path, report: ImportReport, layout: TableLayout, step: float, dt: float | None
) -> None:
    """Refuse rows that do not lie on the steps of the run."""
    interval = report.row_interval
    if interval is None or dt is not None or layout.max_gap is not None:
        return
    frames = "frame" in report.columns
    expected, unit = (layout.row_interval, "frames") if frames else (step, "s")
    if expected is None:
        return
    times = 1 if frames else max(1, round(expected / interval))
    if abs(expected / (times * interval) - 1) <= SAME_STEP:
        return
    raise RunError(
        f"{path} has a row of an agent every {interval:g} {unit}, the run was trained on one every "
        f"{expected:g} {unit}; resample the table, or train on such tracks"
        + (f"; or give --dt if its rows are {step:g} s apart all the same" if frames else "")
    )


def _check_speed(path: Path, store: Store, predictor: Predictor) -> None:
    """Refuse tracks whose speed can only be that of another unit."""
    group = next(store.groups(PROBE_ROWS))
    tracks = store.tracks(group.scenes, group.steps)
    next_step = (np.diff(tracks.track) == 0) & (np.diff(tracks.step) == 1)
    length = np.linalg.norm(np.diff(tracks.position, axis=0), axis=1)[next_step]
    moving = length[length > 0]
    if not len(moving):
        return
    typical = float(predictor.format.displacement_scale)
    fast = float(np.quantile(moving, FAST))
    what = (
        f"agents of {path} move {fast:.3g} per step of {store.dt:g} s, {fast / typical:.3g} "
        f"times what the run was trained on ({typical:.3g} {predictor.unit})"
    )
    if fast > IMPOSSIBLE * typical:
        raise RunError(
            f"{what}: the table is in another unit; convert it, with `trajflow data import "
            f"{path} --scale METRES` where the run is in metres, or say --unit {predictor.unit} if "
            f"its numbers are in {predictor.unit}"
        )
    if not typical / IMPOSSIBLE < fast < SUSPICIOUS * typical:
        log.warning("%s: is it in another unit?", what)
