"""An exported model as what looks at pasts for surprise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajflow.asking import Known
from trajflow.batch import Bools, Floats
from trajflow.errors import RunError
from trajflow.runtime.artefact import SEEN
from trajflow.runtime.scenes import Scenes, check_shape, cut, most_at_once
from trajflow.runtime.session import Engine
from trajflow.surprise.sight import AGAIN, View

AXES = {"context": 0, "once": 1, "twice": 1}
"""Where the agents stand in each part of a view."""


class EngineViewer:
    """What an engine makes of pasts, every agent's futures from the same noise."""

    def __init__(
        self,
        known: Known,
        limit: int | None,
        engine: Engine,
        noise: NDArray[np.float32],
        joint: bool = False,
    ) -> None:
        """Look by an engine.

        Args:
            known: What the model knows of its pasts.
            limit: Neighbours each agent attends to; None: nobody.
            engine: What computes `context`, `once` and `twice` of `past` and `noise`.
            noise: Noise of an agent, [S, N].
            joint: Whether the agents of a scene are drawn together.
        """
        self.usual, self.horizon = known.usual, known.horizon
        self._limit, self._engine, self._noise, self._joint = limit, engine, noise, joint

    def __call__(self, past: Floats, target: Bools) -> View:
        """What it makes of the targets [B, A] of pasts [B, A, T, D], in world coordinates."""
        most = most_at_once(past, len(self._noise), self._joint)
        parts = [self._seen(past, some) for some, _ in cut(target, most, self._joint)]
        if len(parts) == 1:
            return parts[0]
        parts = parts or [self._seen(past, target)]
        whole = [np.concatenate([getattr(v, n) for v in parts], a) for n, a in AXES.items()]
        return View(*whole)

    def _seen(self, past: Floats, target: Bools) -> View:
        """The same in one call."""
        scenes = Scenes.of(past, target, self._limit)
        draws, size = self._noise.shape
        wide = (draws, len(past), scenes.most, size)
        noise = np.array(np.broadcast_to(self._noise[:, None, None], wide))
        context, once, twice = self._engine(*SEEN, past=scenes.past, noise=noise)
        check_shape("context", context, (*wide[1:3], *context.shape[2:][:1]))
        for name, found, count in (("once", once, draws), ("twice", twice, AGAIN)):
            check_shape(name, found, (count, *wide[1:3], self.horizon, size // self.horizon))
        view = View(
            context[*scenes.place].astype(np.float64), scenes.picked(once), scenes.picked(twice)
        )
        if not all(np.isfinite(getattr(view, name)).all() for name in AXES):
            raise RunError("the exported model sees what is not finite; export the run again")
        return view
