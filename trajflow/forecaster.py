"""A forecaster with scikit-learn's manners: fit a table of tracks, predict from another."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

if TYPE_CHECKING:
    import pandas as pd

    from trajflow.datasets.store import Store
    from trajflow.predictor import Predictor


class TrajectoryForecaster(BaseEstimator):  # type: ignore[misc]
    """Learns from a data frame of tracks and draws what follows another one.

    A frame has one row per agent and moment: agent, time (seconds) or frame, x, y[, z], and
    scene where there is more than one recording; `columns` gives other names.

    Example:
        >>> from trajflow import TrajectoryForecaster
        >>> TrajectoryForecaster(dt=0.4, settings=("train.epochs=5",)).get_params()["dt"]
        0.4
    """

    def __init__(
        self,
        dt: float | None = None,
        unit: str | None = None,
        columns: Mapping[str, str] | None = None,
        history: int = 8,
        horizon: int = 12,
        encoder: str = "gru",
        preset: str = "mmf",
        settings: Sequence[str] = (),
        seed: int = 0,
        out: str | None = None,
    ) -> None:
        """Keep the parameters; nothing is read before `fit`.

        Args:
            dt: Seconds per step; guessed from the frame if None.
            unit: Unit of the coordinates; guessed if None.
            columns: Name in the frame of each canonical column.
            history: Past steps T.
            horizon: Future steps F.
            encoder: Name of the encoder.
            preset: Member of the flow family.
            settings: Further settings as words, "train.epochs=5".
            seed: Seed of the split, the weights and the noise.
            out: Run folder to keep; a temporary one if None.
        """
        self.dt, self.unit, self.columns = dt, unit, columns
        self.history, self.horizon = history, horizon
        self.encoder, self.preset, self.settings = encoder, preset, settings
        self.seed, self.out = seed, out

    def fit(self, frame: pd.DataFrame, y: object = None) -> TrajectoryForecaster:
        """Learn from a frame of tracks; parts are cut in time inside each recording.

        Raises:
            TrajflowError: The frame is not a table of tracks, or a setting is wrong.
        """
        from trajflow.config import Config
        from trajflow.datasets.data import TrackData
        from trajflow.predictor import Predictor
        from trajflow.training.setup import device_of, new_trainer

        words = [
            f"data.history={self.history}",
            f"data.horizon={self.horizon}",
            f"data.seed={self.seed}",
            "data.split=time",
            "data.fractions=[0.85, 0.15, 0.0]",
            f"model.encoder={self.encoder}",
            f"flow.preset={self.preset}",
            f"train.seed={self.seed}",
            *self.settings,
        ]
        config = Config.load(None, words)
        with tempfile.TemporaryDirectory() as folder:
            store = self._store(frame, Path(folder))
            cuts = config.data.model_dump()
            data = TrackData(store, **cuts, order=config.train.seed)
            facts = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
            out = self.out or str(Path(folder) / "run")
            trainer = new_trainer(config, data, out, data.describe(), facts, device_of("auto"))
            self.events_ = [event.to_dict() for event in trainer.run()]
            self.predictor_: Predictor = Predictor.load(out)
        return self

    def predict(self, frame: pd.DataFrame, samples: int = 20) -> pd.DataFrame:
        """Draw what follows the last step of each agent of a frame.

        Returns:
            One row per agent, sample and step: scene, agent, sample, step, time, x, y[, z].

        Raises:
            NotFittedError: `fit` was not called.
            TrajflowError: The frame is not a table of tracks.
        """
        import pandas as pd

        from trajflow.outlook import forecast_ends

        if not hasattr(self, "predictor_"):
            raise NotFittedError("call fit(frame) before predict(frame)")
        with tempfile.TemporaryDirectory() as folder:
            store = self._store(frame, Path(folder), self.predictor_.dt, self.predictor_.unit)
            parts = forecast_ends(self.predictor_, store, samples=samples, seed=self.seed)
            return pd.concat([part.to_frame() for part in parts], ignore_index=True)

    def _store(
        self, frame: pd.DataFrame, folder: Path, dt: float | None = None, unit: str | None = None
    ) -> Store:
        from trajflow.datasets.importing import import_tracks
        from trajflow.datasets.store import open_store

        table: Any = folder / "tracks.parquet"
        frame.to_parquet(table, index=False)
        out = folder / "tracks.zarr"
        import_tracks(
            "table",
            table,
            out,
            columns=self.columns,
            dt=dt or self.dt,
            unit=unit or self.unit,
        )
        return open_store(out)
