"""A forecaster with the interface of scikit-learn: fits and predicts data frames."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from trajflow.errors import DataError, TrajflowError

if TYPE_CHECKING:
    import pandas as pd

    from trajflow.datasets.store import Store
    from trajflow.inference.predictor import TorchPredictor

# Name of the data frame in errors.
FRAME = Path("the data frame")


class TrajectoryForecaster(BaseEstimator):  # type: ignore[misc]
    """Fits a model to a data frame of tracks, and forecasts the tracks of another one.

    A frame has one row per agent and moment. Its columns or named index levels are agent, time
    (seconds, durations or dates) or frame, x, y[, z], and scene if there are several recordings;
    `columns` gives other names.

    Examples:
        >>> from trajflow import TrajectoryForecaster
        >>> TrajectoryForecaster(dt=0.4, settings=("train.epochs=5",)).get_params()["dt"]
        0.4
    """

    def __init__(
        self,
        dt: float | None = None,
        unit: str | None = None,
        columns: Mapping[str, str] | None = None,
        history: int | None = None,
        horizon: int | None = None,
        encoder: str = "gru",
        preset: str = "mmf",
        settings: Sequence[str] = (),
        seed: int = 0,
        out: str | None = None,
    ) -> None:
        """Store the parameters; they are checked by `fit`.

        Args:
            dt: Seconds per step; None: estimated from the frame.
            unit: Unit of the coordinates; None: estimated.
            columns: Name in the frame of each canonical column.
            history: Past steps T; None: chosen from the tracks, like all other missing settings.
            horizon: Future steps F; None: chosen from the tracks.
            encoder: Name of the encoder.
            preset: Member of the flow family.
            settings: Further settings, such as "train.epochs=5".
            seed: Seed of the split, the weights and the noise.
            out: Run folder; None: a temporary one.
        """
        self.dt, self.unit, self.columns = dt, unit, columns
        self.history, self.horizon = history, horizon
        self.encoder, self.preset, self.settings = encoder, preset, settings
        self.seed, self.out = seed, out

    def fit(self, frame: pd.DataFrame, y: object = None) -> TrajectoryForecaster:
        """Fit a frame of tracks, split as by `trajflow train`; `split_` describes the split.

        Raises:
            TrajflowError: The frame is not a table of tracks, or a setting is invalid.
        """
        from trajflow.config import Config
        from trajflow.inference.predictor import TorchPredictor
        from trajflow.models.tensors import device_of
        from trajflow.runs import facts_of
        from trajflow.training.setup import new_trainer
        from trajflow.training.start import make_plan, split_line

        shape = {"history": self.history, "horizon": self.horizon}
        words = [
            *(f"data.{name}={steps}" for name, steps in shape.items() if steps is not None),
            f"data.seed={self.seed}",
            f"model.encoder={self.encoder}",
            f"flow.preset={self.preset}",
            f"train.seed={self.seed}",
            *self.settings,
        ]
        config = Config.load(None, words)
        with tempfile.TemporaryDirectory() as folder:
            store = self._store(frame, Path(folder))
            plan, data, _ = make_plan(config, store)
            out = self.out or str(Path(folder) / "run")
            description = data.describe()
            self.split_ = split_line(description)
            record = description | {"plan": plan.to_dict()}
            trainer = new_trainer(
                plan.config, data, out, record, facts_of(store), device_of("auto")
            )
            self.events_ = [event.to_dict() for event in trainer.run()]
            self.predictor_: TorchPredictor = TorchPredictor.load(out)
        return self

    def predict(
        self, frame: pd.DataFrame, samples: int = 20, unit: str | None = None
    ) -> pd.DataFrame:
        """Forecast each agent of a frame from its last step on.

        The frame must have the columns, unit and step of that of `fit`.

        Args:
            frame: Tracks.
            samples: Futures of each agent.
            unit: Unit of the coordinates; None: that of `fit`, and a frame whose speeds suggest
                another unit is refused.

        Returns:
            One row per agent, sample and step, with the columns scene, agent, issued_at, lead,
            sample, step, time, x, y[, z]; see `Futures.to_frame`.

        Raises:
            NotFittedError: `fit` was not called.
            TrajflowError: The frame is not a table of tracks like that of `fit`.
        """
        import pandas as pd

        from trajflow.datasets.report import TableLayout
        from trajflow.inference.tables import open_tracks, run_columns
        from trajflow.inference.tracks import forecast_ends

        if not hasattr(self, "predictor_"):
            raise NotFittedError("call fit(frame) before predict(frame)")
        layout = TableLayout.of_run(self.predictor_.facts)
        frame = with_index(frame)
        names = list(map(str, frame.columns))
        mapped = run_columns(FRAME, names, layout, self._columns(), self.predictor_.dims)
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "tracks.parquet"
            write_columns(frame, mapped.names, table)
            with (
                _named(table),
                open_tracks(table, self.predictor_, columns=mapped.names, unit=unit) as store,
            ):
                parts = forecast_ends(self.predictor_, store, samples=samples, seed=self.seed)
                return pd.concat([part.to_frame() for part in parts], ignore_index=True)

    def _columns(self) -> dict[str, str]:
        return {canonical: str(name) for canonical, name in (self.columns or {}).items()}

    def _store(self, frame: pd.DataFrame, folder: Path) -> Store:
        from trajflow.datasets.columns import map_columns
        from trajflow.datasets.importing import import_tracks
        from trajflow.datasets.sources import ImportOptions
        from trajflow.datasets.store import open_store

        frame = with_index(frame)
        mapped = map_columns(FRAME, self._columns(), list(map(str, frame.columns)))
        table, out = folder / "tracks.parquet", folder / "tracks.zarr"
        write_columns(frame, mapped.names, table)
        with _named(table):
            # Forecasts are returned in the unit of the frame, so degrees stay degrees.
            options = ImportOptions(mapped.names, self.dt, self.unit, project=False)
            import_tracks("table", table, out, options)
        return open_store(out)


def with_index(frame: object) -> pd.DataFrame:
    """A data frame with the named levels of its index as columns.

    Raises:
        DataError: It is not a data frame.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"tracks must be a pandas DataFrame, got {type(frame).__name__}")
    levels = [name for name in frame.index.names if name is not None]
    return frame.reset_index([name for name in levels if name not in frame.columns])


def write_columns(frame: pd.DataFrame, columns: Mapping[str, str], path: Path) -> None:
    """Write columns of a data frame to a Parquet file that can be imported.

    Columns of mixed types become text, durations become seconds, and missing cells (None, NaN, NA
    or masked) stay missing.

    Args:
        frame: The data frame.
        columns: Name in the frame of each canonical column.
        path: The file.

    Raises:
        DataError: A cell is not a text, number or time, or two ids become the same text.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table

    names = list(map(str, frame.columns))
    table = {}
    for canonical, name in columns.items():
        column = frame.iloc[:, names.index(name)]
        try:
            cells = _readable(column, canonical in ("agent", "scene"))
            table[name] = pa.array(cells, from_pandas=True)
        except (ArithmeticError, NotImplementedError, TypeError, ValueError) as error:
            why = str(error).splitlines()[0][:200]
            raise DataError(
                f"column {name!r} of {FRAME} cannot be read as {canonical}: {why}; give text, "
                "numbers or times"
            ) from None
    write_table(pa.table(table), path)


def _readable(column: pd.Series[Any], ids: bool) -> pd.Series[Any]:
    """A column with cells of one type that Parquet supports."""
    import pandas as pd

    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(column.to_numpy(), column.index)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if pd.api.types.infer_dtype(column) in ("timedelta", "timedelta64"):
        return pd.to_timedelta(column).dt.total_seconds()
    if column.dtype != object:
        return column
    missing = column.isna() | column.map(lambda cell: cell is np.ma.masked)
    column = column.mask(missing, None)
    kinds = set(column.dropna().map(type))
    for kind in kinds & {list, tuple, dict, set, np.ndarray}:
        raise TypeError(f"a cell is a {kind.__name__}")
    if len(kinds) < 2:
        return column
    if ids:
        _check_ids(column.dropna())
    return column.map(str, na_action="ignore")


def _check_ids(ids: pd.Series[Any]) -> None:
    """Refuse different ids that are equal as text, such as 1 and "1"."""
    first: dict[str, object] = {}
    for value in ids.unique():
        text = re.sub(r"\.0*$", "", str(value).strip())
        other = first.setdefault(text, value)
        if other is not value:
            raise ValueError(f"the ids {other!r} and {value!r} are the same as text")


@contextmanager
def _named(table: Path) -> Iterator[None]:
    """Name the data frame in errors instead of its temporary file."""
    try:
        yield
    except TrajflowError as error:
        raise type(error)(str(error).replace(str(table), str(FRAME))) from None
