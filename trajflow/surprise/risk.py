"""The error to expect of a forecast from a past."""

from dataclasses import dataclass

import numpy as np

from trajflow.surprise.forest import Forest
from trajflow.types import Floats


@dataclass(frozen=True)
class Risk:
    """How errors follow from what is known of a past.

    Attributes:
        forest: Gives the logarithm of an error, as training people had it.
        level: Start and slope of the logarithm of the mean error of validation people over what
            the forest says, [2]; the slope is above 0.
    """

    forest: Forest
    level: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Energy score to expect, over the usual step of the tracks, [N] of rows [N, ...]."""
        return np.asarray(np.exp(self.level[0] + self.level[1] * self.forest(rows)))

    def __post_init__(self) -> None:
        if self.level.shape != (2,) or not np.isfinite(self.level).all() or self.level[1] <= 0:
            raise ValueError("the level of the errors is none")
