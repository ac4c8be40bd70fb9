"""Forecast tracks of a store or a table into a file."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trajflow.calibration import Calibration
from trajflow.datasets.projection import unproject
from trajflow.datasets.splits import PARTS
from trajflow.datasets.store import Store, open_store
from trajflow.errors import ConfigError, DataError, did_you_mean
from trajflow.inference.base import Predictor
from trajflow.inference.choosing import Selection, selection_of
from trajflow.inference.loading import load_predictor
from trajflow.inference.shards import ShardFolder
from trajflow.inference.tables import open_tracks
from trajflow.inference.tracks import Futures, Shard, forecast_ends, shards_of
from trajflow.inference.writers import check_target, write_forecasts
from trajflow.regions import region_of
from trajflow.remote import is_remote, local_copy, located
from trajflow.runs import RunFolder, run_data
from trajflow.types import OnProgress, silent
from trajflow.workers import Dask, Jobs, compute

if TYPE_CHECKING:
    from trajflow.datasets.schema import Tracks
    from trajflow.types import Bools

log = logging.getLogger("trajflow")
METERS_PER_DEGREE = 111_320.0
"""Length of a degree of latitude."""


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
        split: Forecast from steps of this split of the run alone: "train", "val" or "test". Pasts
            show earlier steps of any split. None: from all steps.
        scenes: Names of the recordings that are forecast; empty: all.
        level: Share of the futures that regions shall contain; None: no regions.
        path: Whether regions contain all steps of a future at once.
        ood: Whether each past gets its OOD score, the reason and the error to expect.
        columns: Name of each canonical column in a table, where it differs from the run's.
        dt: Seconds between two rows of an agent in a table.
        unit: Unit of a table; None: that of the run.
        dates: Order of day, month and year in a table: "dmy", "mdy" or "ymd"; None: the run's.
        backend: What computes the forecasts of a run; see `Predictor.load`.
    """

    samples: int = 20
    select: str | None = None
    draws: int | None = None
    steps: int = 1
    seed: int = 0
    every: int | None = None
    split: str | None = None
    scenes: tuple[str, ...] = ()
    level: float | None = None
    path: bool = False
    ood: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    dt: float | None = None
    unit: str | None = None
    dates: str | None = None
    backend: str = "auto"


def predict_tracks(
    run: str | Path,
    tracks: str | Path,
    out: str | Path,
    options: PredictOptions | None = None,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda agents: None,
    jobs: Jobs = 1,
    only: tuple[int, int] | None = None,
    on_shards: OnProgress = silent,
) -> dict[str, Any]:
    """Forecast what follows tracks and write it to a file.

    Args:
        run: A run folder or an exported model.
        tracks: A store, or a table that is read as the one the run was trained on.
        out: A .csv, .parquet or .zarr file; see `trajflow.inference.writers`. In .csv, numbers
            have the decimals of a ten-thousandth of a typical step.
        options: What is forecast; None: 20 futures after each agent's last step.
        device: Where a run computes.
        overwrite: Whether forecasts that are there are replaced.
        progress: Called with the number of agents forecast so far.
        jobs: How many processes forecast shards of the tracks, if more than one, or Dask workers,
            which must see the same files. Finished shards are kept in `OUT.shards` until `out` is
            written, and not computed again.
        only: Forecast a share of the shards alone, as (2, 8) for the second of eight, and do not
            write `out`: on another machine the others are computed, and a call without it and
            with `jobs` writes all.
        on_shards: Called with "shards", the number finished and their total.

    Returns:
        Facts about what was written: `out`, the number of `forecasts` (an agent at a present),
        run, data, dt, unit and how samples were drawn. With `only`, `out` is the folder of shards
            and `shards` their number.

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
    in_shards = jobs != 1 or only is not None
    if is_remote(out) and in_shards:
        raise ConfigError(
            f"finished shards are kept beside the output, on a disk; with --jobs, --engine or "
            f"--shard give a local -o and copy it to {out} afterwards"
        )
    selection = selection_of(options.select, options.samples, options.draws)
    if selection is not None and options.level is not None:
        raise ConfigError("regions are those of plain draws; leave out --select or --coverage")
    if isinstance(jobs, Dask) and jobs.address:
        _check_shared(run, tracks)
    name, run = str(run), local_copy(run)
    predictor = load_predictor(run, device, options.steps, options.backend)
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
        _check_scenes(options.scenes, store.scenes)
        place = store.path if is_remote(store.path) else store.path.absolute()
        work = ShardWork(str(run.absolute()), str(place), device, options, out.absolute())
        folder = work.folder(store)
        futures: Iterable[Futures]
        if in_shards or folder.path.exists():
            shards = shards_of(store)
            mine = shards if only is None else shards[only[0] - 1 :: only[1]]
            _compute_shards(work, folder, mine, jobs, on_shards)
            if only is not None:
                return {"out": str(folder.path), "shards": len(mine)}
            futures = chain.from_iterable(map(folder.read, shards))
        else:
            futures = work.futures(predictor, store)
        futures, facts = _as_written(futures, predictor, store, options, selection, out)
        counted = _Counted(futures, progress, options.split)
        write_forecasts(counted, out, {"run": name, **facts}, overwrite)
        folder.remove()
    return {"out": str(out), "forecasts": counted.total, "run": name, **facts}


def _as_written(
    futures: Iterable[Futures],
    predictor: Predictor,
    store: Store,
    options: PredictOptions,
    selection: Selection | None,
    out: Path,
) -> tuple[Iterable[Futures], dict[str, Any]]:
    """Forecasts with regions, in the unit and with the decimals of the file; and facts on them."""
    facts: dict[str, Any] = {"data": store.fingerprint(), "dt": store.dt, "unit": store.unit}
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
    if out.suffix.lower() == ".csv":
        futures = rounded(futures, _decimals(predictor, facts["unit"]))
    return futures, facts


def _check_shared(run: str | Path, tracks: str | Path) -> None:
    """Refuse what is copied into a temporary folder that workers elsewhere cannot see.

    Raises:
        ConfigError: The tracks are a table, or the run is in an object store.
    """
    if is_remote(located(run)):
        raise ConfigError(f"with --address, copy {run} to a folder that all workers see")
    if Path(tracks).is_file():
        raise ConfigError(
            f"with --address, the tracks are a store: import {tracks} by `trajflow data import`"
        )


def _compute_shards(
    work: ShardWork, folder: ShardFolder, shards: Sequence[Shard], jobs: Jobs, on_shards: OnProgress
) -> None:
    """Compute the shards that are not there yet.

    Raises:
        DataError: Workers have computed shards into another folder than this process sees.
    """
    left = [shard for shard in shards if not folder.file(shard).exists()]
    ready = len(shards) - len(left)
    on_shards("shards", ready, len(shards))
    for done, _ in enumerate(compute(work, left, jobs), ready + 1):
        on_shards("shards", done, len(shards))
    missing = [shard for shard in left if not folder.file(shard).exists()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(left)} shards are finished but not in {folder.path}: all "
            "workers must see this folder, and the same run and tracks, under the same paths"
        )


def rows_of_split(run: str | Path, store: Store, split: str) -> Callable[[Tracks], Bools]:
    """A function that says which rows [N] of tracks belong to a split of a run.

    Args:
        run: A run folder.
        store: The tracks.
        split: "train", "val" or "test".

    Raises:
        ConfigError: There is no such split, or the run is an exported model, which has none.
    """
    if split not in PARTS:
        raise ConfigError(did_you_mean("split", split, PARTS))
    if Path(run).suffix == ".onnx":
        raise ConfigError(
            f"--split needs the settings of a run, and {run} is an exported model; give the run "
            "folder, or leave out --split"
        )
    rule, code = run_data(store, RunFolder.open(run)).split, PARTS.index(split)
    parts = [shard for shard in shards_of(store) if shard.steps is not None]
    rule = rule.with_cuts(store, list(dict.fromkeys(shard.scenes[0] for shard in parts)))
    return lambda tracks: np.asarray(rule.roles(tracks) == code)


def rounded(futures: Iterable[Futures], decimals: int) -> Iterator[Futures]:
    """Forecasts with lengths of so many decimals, and OOD scores of four."""
    for some in futures:
        region, ood = some.region, some.ood
        if ood is not None:
            error, score = np.round(ood.expected_error, decimals), np.round(ood.ood_score, 4)
            ood = replace(ood, expected_error=error, ood_score=score)
        if region is not None:
            centre, radius = (np.round(v, decimals) for v in (region.centre, region.radius))
            region = replace(region, centre=centre, radius=radius)
        yield replace(some, samples=np.round(some.samples, decimals), region=region, ood=ood)


def _decimals(predictor: Predictor, unit: str) -> int:
    """Decimals that resolve a ten-thousandth of a typical step."""
    step = predictor.displacement_scale
    if unit == "degree" and predictor.unit != "degree":
        step /= METERS_PER_DEGREE
    return max(0, math.ceil(-math.log10(step / 10_000)))


def _check_scenes(names: Sequence[str], scenes: Sequence[str]) -> None:
    for name in names:
        if name not in scenes:
            near = difflib.get_close_matches(name, scenes, 1) or scenes[:1]
            raise DataError(f"no recording {name!r} in these tracks; did you mean {near[0]!r}?")


@dataclass
class _Counted:
    """Forecasts as they come; `total` counts their agents."""

    futures: Iterable[Futures]
    progress: Callable[[int], None]
    split: str | None
    total: int = 0

    def __iter__(self) -> Iterator[Futures]:
        for some in self.futures:
            yield some
            self.total += len(some.agent)
            self.progress(self.total)
        if not self.total:
            where = f" of split {self.split!r}" if self.split else ""
            raise DataError(f"nothing to forecast: no agent is at a step{where}; leave out --split")


@dataclass(frozen=True)
class ShardWork:
    """Forecasts a shard of a store and keeps it; what a process is sent.

    Attributes:
        run: A run folder or an exported model.
        store: The tracks.
        device: Where a run computes.
        options: What is forecast.
        out: Where the forecasts of all shards go.
    """

    run: str
    store: str
    device: str
    options: PredictOptions
    out: Path

    def __call__(self, shard: Shard) -> None:
        """Forecast a shard and write it beside `out`."""
        predictor = _loaded(self.run, self.device, self.options.steps, self.options.backend)
        store = open_store(self.store)
        self.folder(store).write(shard, self.futures(predictor, store, [shard]))

    def folder(self, store: Store) -> ShardFolder:
        """The finished shards of this run, these tracks and options."""
        run = Path(self.run)
        files = sorted(run.glob("[!r]*.safetensors")) if run.is_dir() else [run]  # no checkpoint
        model = [sha256(file.read_bytes()).hexdigest() for file in files]
        question = {"model": model, "data": store.fingerprint(), **asdict(self.options)}
        return ShardFolder(self.out, question)

    def futures(
        self, predictor: Predictor, store: Store, shards: Sequence[Shard] | None = None
    ) -> Iterator[Futures]:
        """The forecasts of some shards, or of the whole store."""
        options = self.options
        return forecast_ends(
            predictor,
            store,
            samples=options.samples,
            seed=options.seed,
            every=options.every,
            scenes=options.scenes or None,
            own=None if options.split is None else rows_of_split(self.run, store, options.split),
            selection=selection_of(options.select, options.samples, options.draws),
            ood=predictor.ood if options.ood else None,
            shards=shards,
        )


@lru_cache(maxsize=1)
def _loaded(run: str, device: str, steps: int, backend: str) -> Predictor:
    return load_predictor(run, device, steps, backend)


def with_regions(
    futures: Iterable[Futures], calibration: Calibration | None, options: PredictOptions
) -> tuple[Iterator[Futures], dict[str, Any]]:
    """Forecasts with their regions, and what is written about these."""
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
