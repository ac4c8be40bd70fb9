"""Reads any table of positions, as text, Parquet or lines of JSON, by the names of its columns."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from trajflow.datasets.columns import UNIX, Mapped, map_columns, read_times, unix_unit
from trajflow.datasets.schema import AXES
from trajflow.datasets.sources import ImportOptions, Source, label, number, quoted, reading, real
from trajflow.datasets.table_file import LINES, PARQUET, TEXT, Convert, TableFile
from trajflow.datasets.unpacking import plain_stem, plain_suffix, stage
from trajflow.errors import DataError

if TYPE_CHECKING:
    pass

Connection = duckdb.DuckDBPyConnection
# Columns of a reader's rows
RESERVED = {"row", "scene", "agent", "type", "split", "time", "x", "y", "z", "fault", "text"}
# A number with a decimal comma
_COMMA = r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]*),[0-9]+(?:[eE][+-]?[0-9]+)?"


def table(
    db: Connection,
    path: Path,
    options: ImportOptions,
    *,
    agent_type: str = "",
    convert: Convert = stage,
    pattern: str | None = None,
) -> Source:
    """Any table of positions: text, also compressed, Parquet or lines of JSON.

    Each row is an observation. The agent, the coordinates and the time (seconds, dates, or frames
    with dt) are columns; scene, type, z and split may be columns too. Columns of a text without a
    header line are numbered from 1. All tables of a folder have the same columns.

    Args:
        db: The database that reads the rows.
        path: The table, or a folder of tables.
        options: Options of the import.
        agent_type: Type of all agents if no column has it.
        convert: Makes a plain table of each file; by default it is unpacked.
        pattern: Pattern of the tables in a folder.

    Raises:
        DataError: There is no table, a column is missing, or frames have no dt.
    """
    files = _tables(path, pattern)
    encoding = options.settings.get("encoding", "utf-8")
    opened = [
        TableFile.open(file, options.folder / f"input{index}", encoding, convert)
        for index, file in enumerate(files)
    ]
    first = opened[0]
    columns = first.by_number(options.columns)
    mapped = map_columns(files[0], columns, first.names, options.dims, first.cells)
    frames = "frame" in mapped.names and first.fps is None
    if frames and options.dt is None:
        raise DataError(
            f"{path}: column {mapped.names['frame']!r} counts frames, which have no duration; "
            "give dt, the seconds from one row of an agent to its next: --dt SECONDS"
        )
    needed = [*mapped.names.values(), *mapped.folds.values()]
    loads: list[Callable[[Connection], None]] = []
    for file in opened:
        _check_columns(file.path, needed, file.names)
        named = [name for name in file.names if name in options.where]
        file.scan(db, [*needed, *named], encoding)
        elsewhere = replace(file, path=file.path.absolute())
        loads.append(partial(elsewhere.scan, needed=[*needed, *named], encoding=encoding))
    _drop_counter(db, first, mapped)
    values = _decimals(db, first, mapped)
    dates, seconds = False, None
    if "time" in mapped.names:
        cell = values["time"]
        order = options.settings.get("dates")
        values["time"], dates, seconds = _times(db, opened, mapped, cell, order)
    elif first.fps is not None:
        values["time"] = f"{number(values['frame'])} / {real(first.fps)}"
        mapped.notes.append(f"the first lines name {first.fps:g} frames per second")
    else:
        values["time"] = number(values["frame"])
    unit = mapped.unit or first.unit
    source = Source(
        selects=[_table_select(db, file, mapped, options, values, agent_type) for file in opened],
        files=files,
        dims=3 if "z" in mapped.names else 2,
        dt=options.dt,
        unit=options.unit or ("m" if options.scale else unit),
        frames=frames,
        dates=dates,
        seconds_known=dates or seconds is not None,
        time_unit=seconds or 1.0,
        columns=dict(mapped.names),
        notes=mapped.notes,
        loads=loads,
    )
    for file in opened if mapped.folds else ():
        _note_folds(db, file, mapped, source)
    return source


def _tables(path: Path, pattern: str | None) -> list[Path]:
    if not path.exists():
        raise DataError(f"no file or folder {path}; check the path")
    if not path.is_dir():
        return [path]
    if pattern is not None:
        return list_files(path, pattern)
    files = sorted(p for p in path.iterdir() if plain_suffix(p) in (*TEXT, *LINES, *PARQUET))
    if not files:
        raise DataError(
            f"{path} has no table ({', '.join((*TEXT, *LINES, *PARQUET))}); name a file"
        )
    return files


def list_files(path: Path, pattern: str) -> list[Path]:
    """The file at a path, or the files of a folder that match a pattern; at least one."""
    files = sorted(path.glob(pattern)) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"no {pattern} at {path}; name the folder with these files")
    return files


def _check_columns(file: Path, needed: list[str], names: list[str]) -> None:
    lacking = sorted(set(needed) - set(names))
    if lacking:
        raise DataError(
            f"{file} lacks the columns {', '.join(map(repr, lacking))} that the other files of "
            "its folder have; import it by itself"
        )


def _drop_counter(db: Connection, file: TableFile, mapped: Mapped) -> None:
    """Do not use a column as the scene if it differs in every row of an agent."""
    name = mapped.names.get("scene")
    if name is None:
        return
    scene, agent = file.key(name), file.key(mapped.names["agent"])
    values = f"count(*), count(distinct {agent}), count(distinct ({scene}, {agent}))"
    rows, agents, pairs = file.sample(db, values)
    if pairs < 0.9 * rows or rows < 3 * agents:
        return
    del mapped.names["scene"]
    mapped.folds.clear()
    mapped.notes.append(
        f"column {name!r} differs from row to row of an agent, so it is not the scene"
    )


def _decimals(db: Connection, file: TableFile, mapped: Mapped) -> dict[str, str]:
    """SQL of each canonical column with a decimal point, {} being the column.

    A column has decimal commas if more of its first cells have one than a decimal point. In a
    file delimited by commas 1,250 may be 1250, so it does not count.
    """
    axes = [name for name in ("time", "frame", "x", "y", "z", "agent") if name in mapped.names]
    cells: dict[str, str] = dict.fromkeys(axes, "{}")
    if not file.delimiter:
        return cells
    grouped = "^[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+$" if file.delimiter == "," else "^$"
    point = "replace(replace(trim({}::varchar), '.', ''), ',', '.')"
    counts = ", ".join(
        f"""count(*) filter (contains({t}, ',') and regexp_full_match(trim({t}), '{_COMMA}')
            and not regexp_matches(trim({t}), '{grouped}'))
        - count(*) filter (contains({t}, '.') and {number(t)} is not null)"""
        for t in (file.key(mapped.names[name]) for name in axes)
    )
    for name, surplus in zip(axes, file.sample(db, counts), strict=True):
        if surplus > 0:
            cells[name] = f"if(regexp_full_match(trim({{}}), '{_COMMA}'), {point}, {{}})"
    commas = [repr(mapped.names[name]) for name in axes if cells[name] != "{}"]
    if commas:
        mapped.notes.append(f"decimal commas are read in {', '.join(commas)}")
    return cells


def _times(
    db: Connection, opened: list[TableFile], mapped: Mapped, cell: str, order: str | None
) -> tuple[str, bool, float | None]:
    """SQL of the seconds, {} being the column, whether it has dates, and the unit in seconds."""
    name, path = mapped.names["time"], opened[0].path
    columns = [(file.relation, file.key(name)) for file in opened]
    value, dates, time_notes = read_times(db, path, name, columns, cell, order)
    mapped.notes.extend(time_notes)
    if dates or time_notes:
        return value, dates, None
    if mapped.seconds is not None:
        return f"{value} * {real(mapped.seconds)}", False, mapped.seconds
    (median,) = opened[0].sample(db, f"median({value.replace('{}', columns[0][1])})")
    unit = unix_unit(median or 0.0)
    if unit is None:
        return value, False, None
    mapped.notes.append(f"{name!r} is read as {unit} since 1970")
    return f"{value} * {real(UNIX[unit])}", False, UNIX[unit]


def _table_select(
    db: Connection,
    file: TableFile,
    mapped: Mapped,
    options: ImportOptions,
    values: Mapping[str, str],
    agent_type: str,
) -> str:
    column = {canonical: file.key(name) for canonical, name in mapped.names.items()}
    stem = quoted(plain_stem(file.path))
    clock = column.get("frame") or column["time"]
    value = {"time": values["time"].replace("{}", clock), "z": "null::double"}
    for axis in {*AXES} & {*column}:
        factor = options.factors.get(axis, 1.0) * (options.scale or 1.0)
        value[axis] = f"{number(values[axis].replace('{}', column[axis]))} * {real(factor)}"
    for name in ("scene", "agent", "type", "split"):
        cell = values.get(name, "{}").replace("{}", column.get(name, ""))
        value[name] = f"coalesce({cell}::varchar, '')" if name in column else "''"
    if "scene" not in column:
        value["scene"] = stem
    if "type" not in column:
        value["type"] = quoted(agent_type)
    axes = [axis for axis in AXES if axis in column]
    unread = " or ".join(f"{name} is null" for name in ("time", *axes))
    text = " || '; ' || ".join(
        f"{quoted(name + '=')} || coalesce({file.key(name)}::varchar, 'None')"
        for name in mapped.names.values()
    )
    # The text is composed outside, so that DuckDB does it for the few unreadable rows only.
    return f"""select "row", scene, agent, type, split, time, x, y, z,
        if(odd, 'malformed', null) as fault,
        case when odd then {file.line} when {unread} then {text} end as text
        {_where_columns(db, file, options)}
        from (select *, if(odd, {stem}, {value["scene"]}) as scene,
            if(odd, '', {value["agent"]}) as agent, if(odd, '', {value["type"]}) as type,
            if(odd, '', {value["split"]}) as split, if(odd, null, {value["time"]}) as time,
            if(odd, null, {value["x"]}) as x, if(odd, null, {value["y"]}) as y,
            if(odd, null, {value["z"]}) as z from {file.relation})"""


def _where_columns(db: Connection, file: TableFile, options: ImportOptions) -> str:
    """SQL: further columns that `where` names, as numbers where all cells are numbers."""
    names = [
        name
        for name in dict.fromkeys(file.names)
        if name in options.where and name.lower() not in RESERVED
    ]
    if not names:
        return ""
    keys = [file.key(name) for name in names]
    counts = ", ".join(
        f"count({number(key)}) = count(nullif(trim({key}::varchar), ''))" for key in keys
    )
    numeric = file.sample(db, counts)
    cells = [number(k) if is_number else k for k, is_number in zip(keys, numeric, strict=True)]
    pairs = zip(cells, names, strict=True)
    return "".join(f', {cell} as "{name.replace(chr(34), chr(34) * 2)}"' for cell, name in pairs)


def _note_folds(db: Connection, file: TableFile, mapped: Mapped, source: Source) -> None:
    """Collect the test scenes of columns such as fold_zara1, in the order of the file."""
    tested = [f"bool_or({label(file.key(name))} = 'test')" for name in mapped.folds.values()]
    scene = label(file.key(mapped.names["scene"]))
    with reading(file.path):
        result = db.execute(
            f"select {scene} as s, {', '.join(tested)} from {file.relation} group by s "
            'order by min("row")'
        ).fetchall()
    for name, *flags in result:
        for fold, flag in zip(mapped.folds, flags, strict=True):
            scenes = source.folds.setdefault(fold, [])
            if flag and name not in scenes:
                scenes.append(name)
