"""An exported model as what looks at pasts for surprise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajflow.asking import Known
from trajflow.batch import Bools, Floats
from trajflow.runtime.scenes import Scenes
from trajflow.runtime.session import Engine
from trajflow.surprise.sight import View


class EngineViewer:
    """What an engine makes of pasts, every agent's futures from the same noise."""

    def __init__(
        self, known: Known, limit: int | None, engine: Engine, noise: NDArray[np.float32]
    ) -> None:
        """Look by an engine.

        Args:
            known: What the model knows of its pasts.
            limit: Neighbours each agent attends to; None: nobody.
            engine: What computes `context`, `once` and `twice` of `past` and `noise`.
            noise: Noise of an agent, [S, N].
        """
        self.usual, self.horizon = known.usual, known.horizon
        self._limit, self._engine, self._noise = limit, engine, noise

    def __call__(self, past: Floats, target: Bools) -> View:
        """What it makes of the targets [B, A] of pasts [B, A, T, D], in world coordinates."""
        scenes = Scenes.of(past, target, self._limit)
        draws, size = self._noise.shape
        wide = (draws, len(past), scenes.most, size)
        noise = np.array(np.broadcast_to(self._noise[:, None, None], wide))
        context, once, twice = self._engine(
            "context", "once", "twice", past=scenes.past, noise=noise
        )
        mine = context[*scenes.place].astype(np.float64)
        return View(mine, scenes.picked(once), scenes.picked(twice))
