"""What a predictor must offer to be asked in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from numpy.typing import ArrayLike

from trajflow.forecast import Forecast


class Predicting(Protocol):
    """Whatever draws the futures: a `Predictor`, with torch or without, or an `Ensemble`.

    `predict` may be called from a thread other than the one that made the predictor, but never
    from two at once where a deadline is set. It is told `dt` only where that is not `self.dt`.
    """

    @property
    def history(self) -> int:
        """Past steps T."""

    @property
    def horizon(self) -> int:
        """Future steps F."""

    @property
    def dims(self) -> int:
        """Coordinates D."""

    @property
    def dt(self) -> float:
        """Seconds per step."""

    def predict(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
        *,
        dt: float | None = None,
        on_bad: Literal["raise", "quarantine"] = "raise",
    ) -> Forecast:
        """Futures [S, A, F, D] of pasts [A, T, D] among neighbours [N, T, D].

        Steps that are not finite are missing; every agent was seen at one of its steps. Where
        this raises a `TrajflowError` it is asked again with `on_bad="quarantine"`: NaN for those
        who cannot be forecast, who then go straight on.
        """
