"""Forecast tracks of a store or a table into a file."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trajflow.calibration import Calibration, region_of
from trajflow.datasets.projection import unproject
from trajflow.errors import ConfigError
from trajflow.inference.base import Predictor
from trajflow.inference.tables import open_tracks
from trajflow.inference.tracks import Futures, forecast_ends
from trajflow.inference.writers import check_target, write_forecasts
from trajflow.remote import located
from trajflow.runs import RunFolder

if TYPE_CHECKING:
    pass

log = logging.getLogger("trajflow")


@dataclass(frozen=True)
class PredictOptions:
    """What is forecast of tracks, and how.

    Attributes:
        samples: Futures of each agent, S.
        select: Rule that chooses the samples of more draws; None: plain draws.
        draws: How many draws they are chosen from; None: 20 for each sample.
        steps: Network evaluations per draw.
        seed: Equal seeds give equal forecasts.
        every: Forecast all agents at every so many steps; None: each agent at its last step.
        level: Share of the futures that regions shall contain; None: no regions.
        path: Whether regions contain all steps of a future at once.
        ood: Whether each past gets its OOD score, the reason and the error to expect.
        columns: Name of each canonical column in a table, where it differs from the run's.
        dt: Seconds between two rows of an agent in a table.
        unit: Unit of a table; None: that of the run.
        dates: Order of day, month and year in a table: "dmy", "mdy" or "ymd"; None: the run's.
    """

    samples: int = 20
    select: str | None = None
    draws: int | None = None
    steps: int = 1
    seed: int = 0
    every: int | None = None
    level: float | None = None
    path: bool = False
    ood: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    dt: float | None = None
    unit: str | None = None
    dates: str | None = None


def load_predictor(run: str | Path, device: str = "auto", steps: int = 1) -> Predictor:
    """The predictor of a run folder or of an exported model.

    Args:
        run: A run folder, or an .onnx file.
        device: Where a run computes: "auto", "cpu", "cuda" or "cuda:N".
        steps: Network evaluations per draw.

    Raises:
        RunError: There is none, or it was exported for another number of evaluations.
    """
    if Path(run).suffix == ".onnx":
        return Predictor.load(run, steps=steps)
    from trajflow.models.tensors import device_of

    return Predictor.load(RunFolder.open(run).path, str(device_of(device)), steps)


def predict_tracks(
    run: str | Path,
    tracks: str | Path,
    out: str | Path,
    options: PredictOptions | None = None,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda agents: None,
) -> Path:
    """Forecast what follows tracks and write it to a file.

    Args:
        run: A run folder or an exported model.
        tracks: A store, or a table that is read as the one the run was trained on.
        out: A .csv, .parquet or .zarr file; see `trajflow.inference.writers`.
        options: What is forecast; None: 20 futures after each agent's last step.
        device: Where a run computes.
        overwrite: Whether forecasts that are there are replaced.
        progress: Called with the number of agents forecast so far.

    Returns:
        `out`.

    Raises:
        ConfigError: The options do not fit each other, or the run.
        RunError: There is no run, or the tracks do not fit it.
        DataError: The tracks cannot be read, or forecasts cannot be written there.

    Example:
        >>> from trajflow.inference.predict import predict_tracks
        >>> predict_tracks("runs/none", "walk.csv", "futures.txt")
        Traceback (most recent call last):
        ...
        trajflow.errors.DataError: forecasts go into .csv, .parquet, .zarr; got 'futures.txt'
    """
    out, options = located(out), options or PredictOptions()
    check_target(out, overwrite)
    selection = None
    if options.select is not None or options.draws not in (None, options.samples):
        # It needs torch, and an exported model does not.
        from trajflow.inference.choosing import selection_of

        selection = selection_of(options.select, options.samples, options.draws)
    if selection is not None and options.level is not None:
        raise ConfigError("regions are those of plain draws; leave out --select or --coverage")
    predictor = load_predictor(run, device, options.steps)
    if options.ood:
        predictor.check_ood()
    with open_tracks(
        Path(tracks),
        predictor,
        columns=options.columns,
        dt=options.dt,
        unit=options.unit,
        dates=options.dates,
    ) as store:
        futures: Iterable[Futures] = forecast_ends(
            predictor,
            store,
            samples=options.samples,
            seed=options.seed,
            every=options.every,
            selection=selection,
            ood=predictor.ood if options.ood else None,
        )
        facts = {"run": str(run), "data": store.fingerprint(), "dt": store.dt, "unit": store.unit}
        facts |= {"samples": options.samples, "steps": options.steps, "seed": options.seed}
        if store.header.origin is not None:
            facts["time_origin"] = str(np.datetime64(int(store.header.origin), "s")) + "Z"
        if selection is not None:
            facts |= {"selection": selection.rule, "draws": selection.draws}
        if options.level is not None:
            futures, more = with_regions(futures, predictor.calibration, options)
            facts |= more
        if store.header.centres is not None:
            futures = in_degrees(futures, store.header.centres)
            facts |= {"unit": "degree", "radius_unit": "m"}
        write_forecasts(_counted(futures, progress), out, facts, overwrite)
    return out


def with_regions(
    futures: Iterable[Futures], calibration: Calibration | None, options: PredictOptions
) -> tuple[Iterator[Futures], dict[str, Any]]:
    """Forecasts with their regions, and what is written about these.

    Args:
        futures: Forecasts, some agents at a time.
        calibration: That of the run, if it has one.
        options: The level, and whether regions contain a whole path.
    """
    level = options.level
    assert level is not None
    steps: Literal["each", "path"] = "path" if options.path else "each"
    serves = calibration is not None and calibration.serves(options.samples)
    used = calibration if serves else None
    if used is None:
        log.warning(
            "regions are not calibrated, but as wide as the samples say: %s", _why(calibration)
        )
    elif math.isinf(used.factor(level, steps).max()):
        few = "%d people are too few for a level of %g: radii are infinite; the highest is %g"
        log.warning(few, used.origin.people, level, used.highest)
    else:
        log.info("regions are calibrated on %d people", used.origin.people)
    facts = {"coverage": level, "region": steps, "calibrated": used is not None}
    return (
        replace(some, region=region_of(some.samples, level, steps, used)) for some in futures
    ), facts


def in_degrees(
    futures: Iterable[Futures], centres: Mapping[str, tuple[float, float]]
) -> Iterator[Futures]:
    """Forecasts of projected recordings with longitudes and latitudes; radii stay metres.

    Args:
        futures: Forecasts in metres, some agents at a time.
        centres: Longitude and latitude around which each recording was projected.
    """
    for some in futures:
        centre = np.array([centres[scene] for scene in some.scene])[:, None]
        region = some.region
        if region is not None:
            region = replace(region, centre=unproject(region.centre, centre))
        yield replace(some, samples=unproject(some.samples, centre), region=region)


def _why(calibration: Calibration | None) -> str:
    if calibration is None:
        return "`trajflow fit RUN DATA calibration` with the same --steps makes them hold"
    return f"the calibration of the run is for {calibration.origin.samples} samples or more"


def _counted(futures: Iterable[Futures], progress: Callable[[int], None]) -> Iterator[Futures]:
    done = 0
    for some in futures:
        yield some
        done += len(some.agent)
        progress(done)
