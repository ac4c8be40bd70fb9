"""`trajflow predict`: tracks in, their futures out."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.console import say
from trajflow.cli.options import (
    Device,
    Draws,
    Loud,
    Overwrite,
    RunPath,
    Samples,
    Seed,
    Select,
    Steps,
)
from trajflow.errors import ConfigError


def predict(
    run: RunPath,
    tracks: Annotated[
        Path, typer.Argument(metavar="TRACKS", help="A store, or a table: CSV, TSV, Parquet.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="Forecasts: .zarr, .csv, .parquet.")
    ],
    samples: Samples = 20,
    select: Select = None,
    draws: Draws = None,
    steps: Steps = 1,
    seed: Seed = 0,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Forecast all who are there, every so many steps."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL", help="Also write regions that hold this share, as 0.9, of the futures."
        ),
    ] = None,
    path: Annotated[
        bool, typer.Option("--path", help="Regions that hold all steps of a future at once.")
    ] = False,
    surprise: Annotated[
        bool,
        typer.Option(
            "--surprise", help="Also say how strange each past is and why, and the error to expect."
        ),
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x=lon,y=lat,...",
            help="Columns of a table, where they are not those that the run was trained on.",
        ),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Seconds between two rows of an agent in a table."),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Unit of a table; that of the run if left.")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    loud: Loud = None,
) -> None:
    """Forecast what follows each agent's last step, or everybody at every so many steps."""
    from trajflow.cli.console import counted
    from trajflow.cli.loading import load_forecaster
    from trajflow.cli.options import assignments, selection, split
    from trajflow.cli.regions import with_regions
    from trajflow.exporting import check_target, export
    from trajflow.inference.tables import open_tracks
    from trajflow.outlook import forecast_ends

    check_target(out, overwrite)
    chosen = selection(select, samples, draws)
    if chosen is not None and coverage is not None:
        raise ConfigError("regions are those of plain draws; leave out --select or --coverage")
    predictor = load_forecaster(run, device, steps)
    surprised = predictor.surprise_of if surprise else None
    if surprise:
        predictor.check_surprise()
    named = assignments(split(columns), "--columns")
    with open_tracks(tracks, predictor, columns=named, dt=dt, unit=unit) as store:
        futures = forecast_ends(
            predictor,
            store,
            samples=samples,
            seed=seed,
            every=every,
            selection=chosen,
            surprise=surprised,
        )
        facts = {"run": str(run), "data": store.fingerprint(), "dt": store.dt, "unit": store.unit}
        facts |= {"samples": samples, "steps": steps, "seed": seed}
        if chosen is not None:
            facts |= {"selection": chosen.rule, "draws": chosen.draws}
        if coverage is not None:
            futures, said = with_regions(futures, predictor.calibration, coverage, path, samples)
            facts |= said
        export(counted("agents", futures, lambda some: len(some.agent)), out, facts, overwrite)
    say(str(out))
