"""Readers of the formats of tracks: functions `(db, path, options) -> Source`."""

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import duckdb

from trajflow.datasets.sources import (
    ImportOptions,
    Source,
    json_lines,
    number,
    quoted,
    reading,
    real,
    scan_csv,
    text_lines,
)
from trajflow.datasets.table_file import Convert
from trajflow.datasets.tables import list_files, table
from trajflow.datasets.unpacking import parquet_schema, stage, stage_text
from trajflow.errors import DataError

Connection = duckdb.DuckDBPyConnection
Reader = Callable[[Connection, Path, ImportOptions], Source]
TRAJNET_FPS = 2.5
TRAJNET_SPLITS = {"train": "train", "val": "val", "test": "test", "test_private": "test"}
SDD_FPS = 30
SDD = ["track", "xmin", "ymin", "xmax", "ymax", "frame", "lost", "occluded", "generated", "label"]
STEP = 0.4
NO_SPLIT_NOTE = (
    "recordings that are not of the ETH/UCY benchmark have no stored split; training makes one"
)
FRAMES_PER_STEP = 10
FOOT = 0.3048


def table_reader(
    columns: Mapping[str, str] | None = None,
    *,
    agent_type: str = "",
    convert: Convert = stage,
    pattern: str | None = None,
    **facts: Any,
) -> Reader:
    """The reader of a format of tables with some columns and facts that the user may replace."""

    def read(db: Connection, path: Path, options: ImportOptions) -> Source:
        has_clock = {"time", "frame"} & {*options.columns}
        fixed = {
            canonical: name
            for canonical, name in (columns or {}).items()
            if not (has_clock and canonical in ("time", "frame"))
        }
        open_facts = {name: value for name, value in facts.items() if not getattr(options, name)}
        options = replace(options, columns=fixed | dict(options.columns), **open_facts)
        return table(db, path, options, agent_type=agent_type, convert=convert, pattern=pattern)

    return read


def traffic(db: Connection, path: Path, options: ImportOptions) -> Source:
    """Flights of the traffic library: icao24 or flight_id, timestamp, degrees, altitude in feet."""
    names = parquet_schema(list_files(path, "*.parquet")[0])[0]
    columns = {"time": "timestamp", "x": "longitude", "y": "latitude"}
    columns |= {"agent": "flight_id" if "flight_id" in names else "icao24"}
    columns |= {"z": "altitude"} if "altitude" in names else {}
    read = table_reader(columns, agent_type="aircraft", pattern="*.parquet", factors={"z": FOOT})
    return read(db, path, options)


def _stage_all(files: list[Path], options: ImportOptions) -> list[Path]:
    """Make a plain text of each file."""
    places = [options.folder / f"input{index}" for index in range(len(files))]
    for file, place in zip(files, places, strict=True):
        stage_text(file, place)
    return places


def mot(db: Connection, path: Path, options: ImportOptions) -> Source:
    """MOT Challenge ground truth: frame, agent, box, flag, class, visibility; pixels.

    A position is the middle of a box's lower edge; rows with flag 0 are dropped and counted. The
    frame rate is that of the sequence's seqinfo.ini, or 1 / dt.

    Source: Milan et al. 2016, "MOT16: a benchmark for multi-object tracking".

    Raises:
        DataError: There are no files, or the frame rate is not given.
    """
    files = list_files(path, "**/gt.txt")
    dt = options.dt or _mot_step(files[0])
    scale, selects = real(options.scale or 1.0), []
    value = [number(f"c{column}") for column in range(10)]
    for file, place in zip(files, _stage_all(files, options), strict=True):
        scene = file.resolve().parents[1].name if file.parent.name == "gt" else file.stem
        rows = f"""select *, {quoted(scene)} as scene, if(odd, '', c1) as agent,
            'pedestrian' as type, ({value[0]} - 1) * {real(dt)} as time,
            ({value[2]} + {value[4]} / 2) * {scale} as x,
            ({value[3]} + {value[5]}) * {scale} as y,
            case when odd then 'malformed' when {value[6]} = 0 then 'ignored' end as fault
            from (select row_number() over () as "row", *, c6 is null as odd
                  from {scan_csv(place, 10, ",")})"""
        selects.append(_with_text(rows, ",", 10))
    return Source(
        selects=selects,
        files=files,
        dt=dt,
        unit=options.unit or ("m" if options.scale else "px"),
        columns={"frame": "1", "agent": "2", "x": "3 + 5 / 2", "y": "4 + 6"},
        dropped={"ignored": "fault = 'ignored'"},
    )


def _with_text(rows: str, delimiter: str, width: int) -> str:
    """SQL: rows of boxes with the columns that all boxes lack, and the text of unreadable rows."""
    line = f"concat_ws({quoted(delimiter)}, {', '.join(f'c{column}' for column in range(width))})"
    return f"""select *, '' as split, null::double as z, case when fault = 'malformed'
        or time is null or x is null or y is null then {line} end as text from ({rows})"""


def _mot_step(file: Path) -> float:
    """Seconds per frame according to the seqinfo.ini of a sequence."""
    info = file.resolve().parents[1] / "seqinfo.ini"
    text = info.read_text("latin-1")[:65_536] if info.is_file() else ""
    match = re.search(r"(?im)^frameRate\s*=\s*([0-9.]+)\s*$", text)
    if match is None or not float(match[1]) > 0:
        raise DataError(
            f"{file} counts frames and no seqinfo.ini names their rate; give the seconds per "
            "frame: --dt SECONDS"
        )
    return 1 / float(match[1])


def ethucy(db: Connection, path: Path, options: ImportOptions) -> Source:
    """ETH/UCY recordings as commonly published: text of frame, agent, x, y in metres.

    One step is 10 frames or 0.4 s. In a recording of the protocol, rows from its first validation
    frame on are validation; any other recording has no split.

    The literature reads `biwi_eth` like that too. But its people were annotated every 6 frames,
    0.4 s apart, and then resampled to every 10 frames of the same numbering, so 10 of its frames
    last 2/3 s. Read as 0.4 s, people walk 10/6 too fast, 2.5 m/s; at the true time it is 1.5 m/s,
    as in `biwi_hotel`. The setting eth-time "true" reads that recording at its true time,
    interpolated linearly at steps of 0.4 s. The speeds are then right, but an interpolated
    position depends on the later row, which lowers the error of constant velocity by a tenth;
    only every fifth step is a row of the file.

    Source: Pellegrini et al. 2009 (ETH) and Lerner et al. 2007 (UCY), as processed by
    Gupta et al. 2018, "Social GAN".

    Raises:
        DataError: There is no recording at the path.
    """
    files = list_files(path, "*.txt")
    catalog = tomllib.loads((resources("trajflow.datasets") / "catalog/ethucy.toml").read_text())
    scenes = {file.stem for file in files}
    listed = scenes <= set(catalog["first_validation_frame"])
    source = Source(
        selects=[],
        files=files,
        dt=options.dt or STEP,
        unit=options.unit or "m",
        columns={"frame": "1", "agent": "2", "x": "3", "y": "4"},
        notes=[] if listed else [NO_SPLIT_NOTE],
        folds={name: tests for name, tests in catalog["folds"].items() if scenes.issuperset(tests)},
    )
    every = catalog["annotated_every"] if options.settings.get("eth-time") == "true" else {}
    for file, place in zip(files, _stage_all(files, options), strict=True):
        select = _ethucy_rows(place, file.stem, catalog)
        step = every.get(file.stem, FRAMES_PER_STEP)
        if step != FRAMES_PER_STEP:
            select = _resampled(db, select, file, step, source)
        seconds = real(STEP / step)
        source.selects.append(f"select * replace (time * {seconds} as time) from ({select})")
    return source


def _ethucy_rows(place: Path, stem: str, catalog: dict[str, Any]) -> str:
    cut = catalog["first_validation_frame"].get(stem)
    split = f"if(time < {cut}, 'train', 'val')" if cut is not None else "''"
    return f"""select *, {split} as split from (
        select "row", {quoted(stem)} as scene, if(whole, c[2], '') as agent,
        'pedestrian' as type, if(whole, {number("c[1]")}, null) as time,
        if(whole, {number("c[3]")}, null) as x, if(whole, {number("c[4]")}, null) as y,
        null::double as z, if(whole, null, 'malformed') as fault, line as text
        from (select "row", line, c, len(c) = 4 as whole
              from (select "row", line, regexp_split_to_array(line, '\\s+') as c
                    from {text_lines(place)})))"""


def _resampled(db: Connection, select: str, file: Path, every: int, source: Source) -> str:
    """SQL: rows at multiples of `every` frames, interpolated between rows 10 frames apart.

    Gaps and the cut between two splits are not interpolated across; unreadable rows are kept.
    """
    good = "time is not null and x is not null and y is not null and fault is null and agent <> ''"
    interval = real(float(FRAMES_PER_STEP))
    steps = -(-FRAMES_PER_STEP // every)
    line = "if(share = 0, {0}, {0} + share * (before.{0} - {0}))"
    interpolated = f"""select "row", scene, agent, type, frame as time, {line.format("x")} as x,
        {line.format("y")} as y, z, fault, text, split
        from (select *, (time - frame) / {interval} as share from (
            select *, (floor(time / {every}) - back) * {every} as frame from (
                select *, lag({{time: time, x: x, y: y, split: split}}) over (
                    partition by agent order by "row") as before from ({select}) where {good}),
            range({steps}) as r(back)))
        where frame = time or (time - before.time = {interval} and split = before.split
                               and frame > before.time)"""
    with reading(file):
        counts = [
            db.execute(f"select count(*) from ({rows})").fetchall()[0][0]
            for rows in (f"select 1 from ({select}) where {good}", interpolated)
        ]
    source.notes.append(
        f"{file.stem} is at its true time, {every} frames to {STEP:g} s: {counts[0]} rows "
        f"{FRAMES_PER_STEP} frames apart became {counts[1]} on straight lines between them"
    )
    columns = '"row", scene, agent, type, time, x, y, z, fault, text, split'
    others = f"select {columns} from ({select}) where not coalesce({good}, false)"
    return f"{interpolated} union all {others}"


def trajnet(db: Connection, path: Path, options: ImportOptions) -> Source:
    """TrajNet++ files: one JSON object per line, {"track": {f, p, x, y}} or {"scene": {..., fps}}.

    One file is one recording in metres; files below folders named train, val or test belong to
    that split. Of the scene lines, which list excerpts of the recording, only the rate is used.

    Source: Kothari et al. 2021, "Human trajectory forecasting in crowds".

    Raises:
        DataError: There are no files, or they have different rates.
    """
    files = list_files(path, "**/*.ndjson")
    stems = Counter(file.stem for file in files)
    objects, all_fps, steps = [], set(), []
    for file, place in zip(files, _stage_all(files, options), strict=True):
        objects.append(json_lines(place))
        with reading(file):
            fps, step = _trajnet_fps(db, objects[-1])
        all_fps |= {fps} if fps else set()
        steps.append(step)
    if len(all_fps) > 1:
        raise DataError(
            f"the files have different rates, {sorted(all_fps)} fps; import them one by one"
        )
    dt = options.dt or 1 / next(iter(all_fps), TRAJNET_FPS)
    selects = []
    for file, rows, step in zip(files, objects, steps, strict=True):
        folders = file.relative_to(path.parent).parts[:-1]
        split = next((TRAJNET_SPLITS[n] for n in reversed(folders) if n in TRAJNET_SPLITS), "")
        name = file.stem if stems[file.stem] == 1 else f"{file.parent.name}/{file.stem}"
        selects.append(_trajnet_rows(rows, name, split, dt / step))
    return Source(
        selects=selects,
        files=files,
        dt=dt,
        unit=options.unit or "m",
        columns={"frame": "f", "agent": "p", "x": "x", "y": "y"},
        notes=[] if all_fps else [f"no fps in the files; {TRAJNET_FPS:g} fps is assumed"],
        dropped={"predictions": "fault = 'prediction'"},
    )


def _trajnet_fps(db: Connection, rows: str) -> tuple[float | None, float]:
    """Frames per second of the first scene line, and the median of frames between rows."""
    head = f"(select j from {rows} where j is not null limit 20000)"
    first_fps = f"select {number('''(j->'$.scene.fps')''')} as r from {head} where r > 0 limit 1"
    step = f"""select median(step) from (select frame - lag(frame) over (
            partition by p order by frame) as step from (
            select distinct (j->>'$.track.p') as p, {number("(j->'$.track.f')")} as frame
            from {head} where frame is not null))"""
    fps = [value for (value,) in db.execute(first_fps).fetchall()]
    return next(iter(fps), None), db.execute(step).fetchall()[0][0] or 1.0


def _trajnet_rows(rows: str, scene: str, split: str, seconds: float) -> str:
    text, plain = "(j->>'$.track.p')", "(j->'$.track.p')::varchar"
    agent = f"""case when regexp_matches({plain}, '^["0-9-]') then {text} else '' end"""
    value = {key: number(f"(j->'$.track.{key}')::varchar") for key in "fxy"}
    return f"""select "row", {quoted(scene)} as scene, coalesce({agent}, '') as agent,
        'pedestrian' as type, {quoted(split)} as split, {value["f"]} * {real(seconds)} as time,
        {value["x"]} as x, {value["y"]} as y, null::double as z,
        case when coalesce(json_type(j, '$.track'), '') <> 'OBJECT' then 'malformed'
             when (j->>'$.track.prediction_number') is not null then 'prediction' end as fault,
        line as text from {rows}
        where j is null or json_type(j) <> 'OBJECT' or not json_exists(j, '$.scene')"""


def sdd(db: Connection, path: Path, options: ImportOptions) -> Source:
    """Stanford Drone Dataset: a tree SCENE/videoN/annotations.txt of boxes in pixels at 30 fps.

    A position is the centre of a box. Boxes marked lost (the agent is out of view) are dropped;
    every 12th frame is kept for a step of 0.4 s. Positions stay in pixels unless a scale is given.

    Source: Robicquet et al. 2016, "Learning social etiquette".

    Raises:
        DataError: There are no annotations, or dt is no whole number of frames.
    """
    files = list_files(path, "**/annotations.txt")
    every = _frames_per_step(options.dt or STEP)
    names = ["_".join(file.resolve().parts[-3:-1]) for file in files]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"scene {repeated[0]!r} is there twice; import one tree at a time")
    selects = []
    for name, place in zip(names, _stage_all(files, options), strict=True):
        rows = scan_csv(place, len(SDD) + 1, " ")
        selects.append(_sdd_rows(rows, name, options.scale or 1.0, every))
    return Source(
        selects=selects,
        files=files,
        dt=every / SDD_FPS,
        unit=options.unit or ("m" if options.scale else "px"),
        columns={"agent": "track", "x": "(xmin + xmax) / 2", "y": "(ymin + ymax) / 2"},
        dropped={"lost": "fault = 'lost'", "between steps": "fault = 'between'"},
    )


def _sdd_rows(rows: str, scene: str, scale: float, every: int) -> str:
    value = {name: number(f"c{index}") for index, name in enumerate(SDD)}
    centre = f"({{0}} + {{1}}) / 2 * {real(scale)}"
    boxes = f"""select *, {quoted(scene)} as scene, if(odd, '', c0) as agent,
        if(odd, '', lower(c9)) as type, frame / {real(float(SDD_FPS))} as time,
        {centre.format(value["xmin"], value["xmax"])} as x,
        {centre.format(value["ymin"], value["ymax"])} as y,
        case when odd then 'malformed' when {value["lost"]} = 1 then 'lost'
             when frame % {every} > 0 then 'between' end as fault
        from (select row_number() over () as "row", *, c9 is null or c10 is not null as odd,
              {value["frame"]} as frame from {rows})"""
    return _with_text(boxes, " ", len(SDD) + 1)


def _frames_per_step(dt: float) -> int:
    every = round(dt * SDD_FPS)
    if every < 1 or abs(dt * SDD_FPS - every) > 0.01 * every:
        raise DataError(
            f"dt = {dt} s is {dt * SDD_FPS:.3f} frames at {SDD_FPS} fps; give a whole number of "
            f"frames, such as {max(every, 1) / SDD_FPS:.4f} s"
        )
    return every
