"""`trajflow data`: imports, generates, describes, checks and draws stores of tracks."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajflow.cli.console import ProgressBar, log, say, say_json, show_findings, span
from trajflow.cli.options import (
    Address,
    DataPath,
    Engine,
    Json,
    Loud,
    Overwrite,
    PictureOut,
    Seed,
    StoreOut,
    Workers,
    assignments,
    import_history,
    jobs_of,
    point,
    policies,
    seconds,
    split,
    units,
)
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from trajflow.datasets.importing import Progress
    from trajflow.datasets.repair import RepairReport
    from trajflow.datasets.store import Store

MANY = 20  # Recordings and folds listed without --all

data = typer.Typer(help="Make and inspect stores of tracks.", no_args_is_help=True)


def _formats() -> list[str]:
    from trajflow.datasets.formats import available

    return available()


def _generators() -> list[str]:
    from trajflow.datasets.synthetic import available

    return available()


@data.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files of tracks, or folders of them.")
    ],
    out: StoreOut,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Format of the files; by default detected from their content.",
            autocompletion=_formats,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x=lon,y=lat,...",
            help="Columns of a table, by name or number; scene= for none.",
        ),
    ] = None,
    where: Annotated[
        str,
        typer.Option(
            metavar="CONDITION", help="Keep the rows that satisfy it, as \"type = 'car'\"."
        ),
    ] = "",
    types: Annotated[
        list[str] | None, typer.Option(metavar="a,b,...", help="Keep agents of these types.")
    ] = None,
    scene_column: Annotated[
        str | None, typer.Option(metavar="NAME|none", help="Column of the recordings, or none.")
    ] = None,
    no_scene: Annotated[
        bool, typer.Option("--no-scene", help="Each file is one recording.")
    ] = False,
    dt: Annotated[float | None, typer.Option(metavar="SECONDS", help="Seconds per step.")] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="m|px|degree|z=ft|...", help="Unit of the coordinates, or of one of them."
        ),
    ] = None,
    project: Annotated[
        bool | None,
        typer.Option(
            "--project/--no-project",
            help="Convert degrees to metres around the centre of recordings, or keep them; "
            "default: convert.",
        ),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the file; the store is in metres.")
    ] = None,
    resample: Annotated[
        str | None,
        typer.Option(metavar="10s", help="Interpolate positions linearly at such steps."),
    ] = None,
    max_gap: Annotated[
        str | None,
        typer.Option(metavar="60s", help="Longest gap to interpolate across."),
    ] = None,
    speed_limit: Annotated[
        float | None, typer.Option(help="Speed in units per second above which a step is a jump.")
    ] = None,
    on_problem: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PROBLEM=]quarantine|refuse",
            help="Quarantine rows with a problem, or refuse the file; for all problems or one.",
        ),
    ] = None,
    eth_time: Annotated[
        str | None,
        typer.Option(
            metavar="field|true",
            help="Time of biwi_eth in ethucy: 10 frames are 0.4 s, as in papers, or 2/3 s.",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="utf-8|latin-1|utf-16", help="Encoding of a table that is text."),
    ] = None,
    dates: Annotated[
        str | None,
        typer.Option(metavar="dmy|mdy|ymd", help="Order of day, month and year in a table."),
    ] = None,
    licence: Annotated[str, typer.Option(help="Terms of use, stored with the data.")] = "",
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes that read and sort the files, if several.")
    ] = 1,
    engine: Engine = None,
    workers: Workers = None,
    address: Address = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Read files of tracks into a store; no row is dropped silently.

    table: any CSV, TSV, Parquet or ndjson table, also compressed, by column names. Others: ethucy,
    obsmat, trajnet, sdd, mot (MOT Challenge), petrack, jupedsim (SQLite), gpx, geojson, ais,
    traffic, argoverse2.
    """
    from trajflow.datasets.importing import import_tracks
    from trajflow.datasets.sources import ImportOptions

    if format is None and len(files) > 1 and str(files[0]) in _formats():
        format, *files = str(files[0]), *files[1:]  # `data import table FILE`, as before --format
    processes = jobs_of(jobs, engine, workers, address)
    named = assignments(split(columns), "--columns")
    if no_scene or scene_column is not None:
        named["scene"] = "" if no_scene or scene_column == "none" else str(scene_column)
    own_unit, factors = units(unit)
    settings = {"eth-time": eth_time, "encoding": encoding, "dates": dates}
    command: dict[str, object] = {
        "format": format,
        "dt": dt,
        "unit": unit,
        "scale": scale,
        "speed-limit": speed_limit,
        "resample": resample,
        "max-gap": max_gap,
        "project": project,
        **settings,
        "where": where,
        "types": ",".join(types or ()),
        "columns": ",".join(f"{canonical}={name}" for canonical, name in named.items()),
    }
    options = ImportOptions(
        columns=named,
        dt=dt,
        unit=own_unit,
        scale=scale,
        factors=factors,
        project=project,
        where=where,
        types=split(types),
        settings={name: value for name, value in settings.items() if value},
        resample=seconds(resample, "--resample"),
        max_gap=seconds(max_gap, "--max-gap"),
        speed_limit=speed_limit,
        on_problem=policies(on_problem),
        licence=licence,
        history=import_history(files, command),
    )
    with ProgressBar("rows") as progress:

        def update(state: "Progress") -> None:
            progress.label, progress.total = state.stage, state.total
            progress.update(state.rows)

        report = import_tracks(
            format, files, out, options, overwrite=overwrite, progress=update, jobs=processes
        )
    log.info("wrote %s", out)
    if as_json:
        say_json(report.to_dict())
    else:
        say("\n".join(report.lines()))


@data.command("make")
def make(
    name: Annotated[
        str,
        typer.Argument(
            metavar="fork|crossing|ode|crowd", help="Generator.", autocompletion=_generators
        ),
    ],
    out: StoreOut,
    seed: Seed = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the generator; a wrong name lists all.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Generate tracks with a known distribution, or a simulated crowd.

    fork: walkers who go left or right, with a density in closed form.
    crossing: people who pass one point in a random order, with a density in closed form.
    ode: dynamical systems, with parameters inside and outside the training range.
    crowd: simulated interacting pedestrians; needs the extra `sim`.
    """
    from trajflow.datasets import synthetic
    from trajflow.datasets.store import open_store
    from trajflow.datasets.writer import StoreWriter

    tracks = synthetic.make(name, seed, **assignments(set_))
    settings = "".join(f" --set {word}" for word in set_ or ())
    history = f"trajflow data make {name} --seed {seed}{settings}"
    with (
        ProgressBar("scenes") as progress,
        StoreWriter(out, **tracks.facts, history=history, overwrite=overwrite) as writer,
    ):
        for count, block in enumerate(tracks.blocks, 1):
            writer.append(block)
            progress.update(count)
    _show_store(open_store(out), as_json)


@data.command("info")
def info(
    path: DataPath,
    every: Annotated[bool, typer.Option("--all", help="Show every recording.")] = False,
    quarantine: Annotated[
        Path | None,
        typer.Option(metavar="OUT.csv", help="Write the quarantined rows of the import."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Show the content of a store: tracks, recordings, splits, unit, origin.

    --quarantine writes the rows that the import could not use to a CSV file, each with its reason,
    file and row.
    """
    from trajflow.datasets.report import write_quarantine
    from trajflow.datasets.store import open_store

    store = open_store(path)
    _show_store(store, as_json)
    if not as_json:
        _show_scenes(store, every)
    if quarantine is not None:
        count = write_quarantine(store, quarantine, overwrite)
        log.info("wrote %s: %d rows", quarantine, count)


@data.command("check")
def check(
    path: DataPath,
    repair: Annotated[
        Path | None,
        typer.Option(metavar="OUT.zarr", help="Copy what is readable into a new store."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Read every file of a store and compare it with its checksum.

    For a damaged store the first damaged file is named and the exit code is 3. --repair copies
    every trajectory that can be read completely into a new store and counts the others; a store
    that is not damaged is not copied.
    """
    from trajflow.datasets.doctor import check as read_all

    findings = read_all(path)
    if repair is None or all(finding.level == "ok" for finding in findings):
        show_findings(findings, as_json)
        return
    from trajflow.datasets.repair import repair_store

    saved = repair_store(path, repair, overwrite=overwrite)
    if as_json:
        say_json(saved.to_dict())
    else:
        _show_repair(saved)
    log.info("wrote %s; %s is unchanged", repair, path)


@data.command("plot")
def plot(
    path: DataPath,
    out: PictureOut,
    scene: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A recording; may be repeated.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most recordings to draw.")] = 12,
    loud: Loud = None,
) -> None:
    """Draw every track of each recording, coloured by split."""
    from trajflow.datasets.store import open_store
    from trajflow.plotting import check_suffix, draw_tracks, save

    check_suffix(out)
    store = open_store(path)
    scenes = scene or store.scenes[:: -(-len(store.scenes) // most)]
    save(draw_tracks(store.tracks(scenes), scenes, store.unit), out)
    say(str(out))


@data.command("add-image")
def add_image(
    path: DataPath,
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="The recording.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or WebP.")],
    homography: Annotated[
        Path | None,
        typer.Option(
            metavar="H.txt", help="Nine numbers: the 3x3 matrix from pixels to the store's x and y."
        ),
    ] = None,
    metres_per_pixel: Annotated[
        float | None, typer.Option(help="For a map with north up: the size of a pixel.")
    ] = None,
    origin: Annotated[
        str, typer.Option(metavar="X,Y", help="Position of the lower left corner of such a map.")
    ] = "0,0",
    loud: Loud = None,
) -> None:
    """Add an image of a recording, which `plot` and `tui` draw under its tracks.

    The image is stored in the folder STORE.images beside the store; the store does not change.
    """
    from trajflow.datasets.store import open_store
    from trajflow.scene_image import SceneImage, north_up, read_matrix, read_pixels, save_image

    if (homography is None) == (metres_per_pixel is None):
        raise ConfigError("give either --homography H.txt or --metres-per-pixel X")
    store = open_store(path)
    if scene not in store.scenes:
        raise DataError(did_you_mean("recording", scene, store.scenes))
    pixels = read_pixels(image)
    if homography is not None:
        matrix = read_matrix(homography)
    else:
        matrix = north_up(float(metres_per_pixel or 0.0), point(origin), pixels.height)
    say(str(save_image(store.path, scene, SceneImage(pixels, matrix))))


def _show_store(store: "Store", as_json: bool) -> None:
    if as_json:
        say_json(_facts(store))
    else:
        say(pairs(_summary(store)))


def _show_scenes(store: "Store", every: bool) -> None:
    rows = list(store.scene_rows.items())
    say()
    say(table(["scene", "rows"], rows if every else rows[:MANY]))
    if len(rows) > MANY and not every:
        say(f"... and {len(rows) - MANY} more; --all shows them")


def _facts(store: "Store") -> dict[str, Any]:
    header = store.header.model_dump(mode="json", include={"source", "licence", "history"})
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint(),
        **store.summary(),
        **header,
        "inputs": store.header.inputs,
        "folds": store.folds,
        "scene_rows": store.scene_rows,
        "report": store.header.report,
    }


def _summary(store: "Store") -> dict[str, object]:
    numbers = store.summary()
    bounds = [f"{axis} {low:.6g} .. {high:.6g}" for axis, (low, high) in numbers["bounds"].items()]
    folds = sorted(store.folds) if store.folds else []
    tracks = f"{numbers['trajectories']} tracks of {numbers['scenes']} recordings"
    return {
        "store": store.path,
        "rows": f"{store.rows}, in {tracks}",
        "agents": _counts(numbers["agents"]),
        "splits": _counts(numbers["splits"]),
        "folds": f"{len(folds)}: {', '.join(folds[:MANY])}" if folds else "each recording is one",
        "step": f"{store.dt:g} s",
        "extent": f"{', '.join(bounds)} ({store.unit})",
        "duration": span(numbers["duration"]),
        "source": store.header.source or None,
        "licence": store.header.licence or None,
        "made by": store.header.history or None,
        "fingerprint": store.fingerprint()[:16],
    }


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in numbers.items())


def _show_repair(saved: "RepairReport") -> None:
    say(f"saved {saved.trajectories} trajectories, {saved.rows} rows")
    say(f"lost {saved.lost_trajectories} trajectories, {saved.lost_rows} rows")
    if saved.lost:
        rows = [[scene or "(unknown)", count] for scene, count in saved.lost.items()]
        say(table(["scene", "lost trajectories"], rows))
    for file, fault in saved.faults.items():
        say(f"{file}: {fault}")
    for note in saved.notes:
        say(note)
