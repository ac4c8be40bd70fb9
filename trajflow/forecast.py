"""A forecast: samples of the future as plain numpy, with the few questions people ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.calibration import Calibration
from trajflow.errors import MissingExtra, TrajflowError
from trajflow.regions import Region, region_of
from trajflow.text import Described
from trajflow.types import Batch

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Forecast(Described):
    """S futures of every agent, in the coordinates and unit of the past that was given.

    Attributes:
        samples: Positions, [S, *, A, F, D].
        dt: Seconds per step.
        agents: Ids of the agents in `samples`, A of them; counted from 0 if none were given.
        weights: How likely each of them is if they were chosen of more draws, [S, *, A], of sum 1
            over S; None: they are plain draws, all alike.
        calibration: What makes regions hold as often as they say, if the run was calibrated.
        ood_score: How far out of distribution each past is, [*, A]: the share of validation people
            who look less so. None: it was not requested.
        ood_reasons: Why, in words, [*, A]; "" where the score is at most 0.95.
        expected_error: Energy score to expect of each agent's plain draws, [*, A], in the past's
            unit, at the temperature and evaluations the run was fitted for. It says whom to
            trust, which the OOD score does not: an unusual past may be easy.
        faults: What is wrong with each past that was quarantined, in words, [*, A]; None where
            nothing is. The samples of such an agent are NaN. None: it was not requested.
    """

    samples: NDArray[np.float64]
    dt: float
    agents: tuple[object, ...] = ()
    weights: NDArray[np.float64] | None = None
    calibration: Calibration | None = None
    ood_score: NDArray[np.float64] | None = None
    ood_reasons: NDArray[np.object_] | None = None
    expected_error: NDArray[np.float64] | None = None
    faults: NDArray[np.object_] | None = None

    def _facts(self) -> dict[str, object]:
        count, *lead, agents, horizon, dims = self.samples.shape
        facts: dict[str, object] = {"samples": count}
        facts |= {"windows": int(np.prod(lead))} if lead else {}
        facts |= {"agents": agents, "steps": horizon, "dims": dims, "dt": f"{self.dt:g} s"}
        facts |= {"chosen": "of more draws"} if self.weights is not None else {}
        facts["calibrated"] = "no" if self.calibration is None else "yes"
        if self.ood_score is not None:
            facts["highest ood_score"] = f"{np.nanmax(self.ood_score, initial=0.0):.3g}"
        if self.faults is not None:
            facts["quarantined"] = int(self.faults.astype(bool).sum())
        return facts

    def mean(self) -> NDArray[np.float64]:
        """Mean position over the samples, [*, A, F, D]."""
        return self._mean(self.samples)

    def spread(self) -> NDArray[np.float64]:
        """Root mean square distance of the samples to their mean, [*, A, F], in the past's unit."""
        away = np.square(self.samples - self.mean()).sum(-1)
        return np.asarray(np.sqrt(self._mean(away)))

    def quantiles(self, levels: tuple[float, ...] = (0.05, 0.5, 0.95)) -> NDArray[np.float64]:
        """Quantiles of each coordinate over the samples, [Q, *, A, F, D] with Q levels.

        Between plain draws they are interpolated; of chosen samples each is one of the samples.
        """
        if self.weights is None:
            return np.asarray(np.quantile(self.samples, levels, axis=0))
        weights = np.broadcast_to(self.weights[..., None, None], self.samples.shape)
        result = np.quantile(self.samples, levels, axis=0, weights=weights, method="inverted_cdf")
        return np.asarray(result)

    def region(self, level: float = 0.9, steps: Literal["each", "path"] = "each") -> Region:
        """Discs around the mean that hold the future with a probability of `level`.

        Args:
            level: Between 0 and 1.
            steps: "each": every step on its own; "path": all steps of a future at once.

        Returns:
            Centres [*, A, F, D] and radii [*, A, F]. If the run was calibrated they hold, in the
            mean over new people like those it was calibrated on, at least as often as `level`
            says; else about so often if the samples are right. Radii are infinite where too few
            people, or too few samples, are known for the level.

        Raises:
            ConfigError: The level is out of bounds.
        """
        return region_of(self.samples, level, steps, self.calibration, self.weights)

    def to_frame(self) -> pd.DataFrame:
        """A row per sample, agent and step: sample, [window,] agent, step, seconds, x, y[, z].

        Chosen samples also have a weight; where it was requested, every row of an agent also has
        its ood_score, ood_reason and expected_error.
        """
        import pandas as pd

        *lead, agents, horizon, dims = self.samples.shape
        grid = np.indices(self.samples.shape[:-1]).reshape(len(lead) + 2, -1)
        columns: dict[str, object] = {"sample": grid[0]}
        if len(lead) > 1:
            columns["window"] = np.ravel_multi_index(tuple(grid[1:-2]), tuple(lead[1:]))
        names = np.asarray(self.agents or range(agents), dtype=object)
        columns["agent"] = pd.Series(names[grid[-2]]).infer_objects()
        columns["step"] = grid[-1] + 1
        columns["seconds"] = (grid[-1] + 1) * self.dt
        flat = self.samples.reshape(-1, dims)
        columns |= {name: flat[:, k] for k, name in enumerate("xyz"[:dims])}
        if self.weights is not None:
            columns["weight"] = self.weights[..., None].repeat(horizon, -1).ravel()
        for name in ("ood_score", "ood_reasons", "expected_error"):
            if (values := getattr(self, name)) is not None:
                each = np.broadcast_to(values[..., None], self.samples.shape[:-1])
                columns[name.removesuffix("s")] = each.ravel()
        return pd.DataFrame(columns)

    def to_xarray(self) -> xr.Dataset:
        """The forecast as a labelled dataset; needs the extra `xarray`.

        `samples` has the dimensions sample, [window,] agent, lead and axis; `lead` is in seconds
        ahead of the present. Weights, OOD scores, reasons and expected errors are variables of
        their own where they are known.

        Raises:
            MissingExtra: xarray is not installed.

        Example:
            >>> import numpy as np
            >>> from trajflow.forecast import Forecast
            >>> forecast = Forecast(np.zeros((20, 3, 12, 2)), dt=0.4, agents=("a", "b", "c"))
            >>> forecast.to_xarray().samples.sel(agent="b", lead=4.8).mean("sample").values
            array([0., 0.])
        """
        try:
            import xarray as xr
        except ImportError:
            raise MissingExtra(
                'to_xarray needs xarray; install it with: pip install "trajflow[xarray]"'
            ) from None
        count, *lead, agents, horizon, dims = self.samples.shape
        windows = ("window",) if lead else ()
        who = (*windows, "agent")
        flat = (int(np.prod(lead)),) if lead else ()
        values = self.samples.reshape(count, *flat, agents, horizon, dims)
        variables: dict[str, object] = {"samples": (("sample", *who, "lead", "axis"), values)}
        if self.weights is not None:
            variables["weight"] = (("sample", *who), self.weights.reshape(count, *flat, agents))
        for name in ("ood_score", "ood_reasons", "expected_error"):
            if (scores := getattr(self, name)) is not None:
                variables[name.removesuffix("s")] = (who, scores.reshape(*flat, agents))
        coordinates = {
            "agent": np.asarray(self.agents or range(agents)),
            "lead": np.round((np.arange(horizon) + 1) * self.dt, 9),
            "axis": list("xyz"[:dims]),
        }
        return xr.Dataset(variables, coordinates, {"dt": self.dt})

    def to_geopandas(self, centre: ArrayLike | None = None) -> gpd.GeoDataFrame:
        """A row per agent and sample, whose geometry is the path; needs the extra `geo`.

        Columns are those of `to_frame` without step, seconds and coordinates. A path of one step is
        a point.

        Args:
            centre: Longitude and latitude that metres were projected around (by `trajflow data
                import --project` or `trajflow.datasets.projection.project`): paths then are
                longitudes and latitudes (EPSG:4326). None: paths keep their coordinates.

        Raises:
            MissingExtra: geopandas is not installed.

        Examples:
            >>> import numpy as np
            >>> from trajflow.forecast import Forecast
            >>> east = np.arange(1, 13)[:, None] * [700.0, 0.0]  # metres
            >>> forecast = Forecast(np.tile(east, (20, 1, 1, 1)), dt=10, agents=("ferry",))
            >>> frame = forecast.to_geopandas(centre=(8.0, 51.0))
            >>> len(frame), frame.crs.to_epsg(), round(frame.geometry[0].coords[0][0], 3)
            (20, 4326, 8.01)
        """
        try:
            import geopandas as gpd
            import shapely
        except ImportError:
            raise MissingExtra(
                'to_geopandas needs geopandas; install it with: pip install "trajflow[geo]"'
            ) from None
        from trajflow.datasets.projection import unproject

        horizon, dims = self.samples.shape[-2:]
        paths = self.samples.reshape(-1, horizon, dims)
        if centre is not None:
            paths = unproject(paths, np.asarray(centre, np.float64))
        make = shapely.linestrings if horizon > 1 else lambda path: shapely.points(path[:, 0])
        finite = np.isfinite(paths).all((1, 2))
        shapes = np.full(len(paths), None, object)
        shapes[finite] = make(paths[finite])
        frame = self.to_frame()[::horizon].reset_index(drop=True)
        rows = frame.drop(columns=["step", "seconds", *"xyz"[:dims]])
        return gpd.GeoDataFrame(rows, geometry=shapes, crs=None if centre is None else "EPSG:4326")

    def plot(
        self, past: ArrayLike | None = None, *, level: float | None = None, unit: str = ""
    ) -> Figure:
        """Draw the samples of each agent, and what was seen, one panel for each window.

        Args:
            past: What was given to `predict`, [*, A, T, D]; None: samples alone.
            level: Also draw the region that holds this share of the ends, as 0.9.
            unit: Unit of the coordinates, for the axes.

        Returns:
            A matplotlib figure; a notebook shows it, `figure.savefig(path)` keeps it.

        Raises:
            TrajflowError: The past is not that of these agents.
        """
        from trajflow.plotting import draw_forecasts

        count, *lead, agents, horizon, dims = self.samples.shape
        windows = int(np.prod(lead))
        shape = (*self.samples.shape[1:-2], 1, dims)
        seen = np.full(shape, np.nan) if past is None else np.asarray(past, np.float64)
        if seen.ndim != len(shape) or seen.shape[:-2] != shape[:-2] or seen.shape[-1] != dims:
            raise TrajflowError(
                f"the past of this forecast is {[*shape[:-2], 'T', dims]}, got {list(seen.shape)}"
            )
        batch = Batch(
            past=seen.reshape(windows, agents, -1, dims),
            future=np.full((windows, agents, horizon, dims), np.nan),
            target=np.ones((windows, agents), bool),
            scene=np.zeros(windows, np.int64),
            start=np.zeros(windows, np.int64),
            agent=np.arange(windows * agents).reshape(windows, agents),
        )
        samples = self.samples.reshape(count, windows, agents, horizon, dims)
        region = None
        if level is not None:
            weights = None if self.weights is None else self.weights.reshape(count, windows, agents)
            region = region_of(samples, level, "each", self.calibration, weights)
        titles = [f"window {number}" for number in range(windows)] if lead else [""]
        return draw_forecasts(batch, samples, titles, unit, most=agents, region=region)

    def _mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of values [S, *, A, ...] over the samples."""
        if self.weights is None:
            return np.asarray(values.mean(0))
        extra = (1,) * (values.ndim - self.weights.ndim)
        return np.asarray((values * self.weights.reshape(*self.weights.shape, *extra)).sum(0))
