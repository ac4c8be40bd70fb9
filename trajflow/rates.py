"""Seconds per step that a model may be told, beside those of the tracks it learned from."""

from dataclasses import dataclass

import numpy as np

from trajflow.batch import Batch, Floats
from trajflow.errors import ConfigError


@dataclass(frozen=True)
class Rates:
    """What a model knows of clocks.

    Attributes:
        dt: Seconds per step of the tracks it learned from.
        least: Fewest seconds per step that it was trained for.
        most: Most of them.
    """

    dt: float
    least: float
    most: float

    def of(self, dt: float | None) -> float:
        """Seconds per step over the usual ones; None: as trained.

        Raises:
            ConfigError: The model was not trained for so many.
        """
        if dt is None or abs(dt - self.dt) <= 1e-6 * self.dt:
            return 1.0
        if not self.least * (1 - 1e-6) <= dt <= self.most * (1 + 1e-6):
            several = self.least < self.most
            known = f"{self.least:g} to {self.most:g}" if several else f"{self.dt:g}"
            raise ConfigError(
                f"the model was trained for {known} s per step, got dt={dt:g}; resample the past, "
                "or train with model.condition_on_dt=true and train.time_stretch=[0.5,2] "
                "for half to twice of it"
            )
        return dt / self.dt

    def of_batch(self, batch: Batch) -> float | Floats:
        """Seconds per step of each scene over the usual ones, [B], or one for all.

        Raises:
            ConfigError: The model was not trained for so many.
        """
        if batch.rate is None:
            return 1.0
        return np.array([self.of(rate * self.dt) for rate in batch.rate])
