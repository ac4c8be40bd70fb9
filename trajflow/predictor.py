"""The embeddable predictor: pasts in as numpy, a `Forecast` out; knows numpy and torch only."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from trajflow.batch import Batch
from trajflow.calibration import Calibration, read_calibration
from trajflow.errors import RunError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.model import TrajectoryModel
from trajflow.tensors import scene_centres, to_tensor
from trajflow.weights import unpack

WEIGHTS = "weights.safetensors"
Floats = NDArray[np.float64]


class Predictor:
    """Draws futures from a trained model, in the world coordinates and unit of the pasts.

    Example:
        >>> from trajflow import Predictor
        >>> Predictor.load("no/such/run")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: no weights at no/such/run; give a run folder that has validated
    """

    def __init__(
        self,
        model: TrajectoryModel,
        facts: dict[str, Any],
        device: str = "cpu",
        steps: int = 1,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.facts, self.device, self.steps = facts, torch.device(device), steps
        self.calibration = calibration

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu", steps: int = 1) -> Predictor:
        """The predictor of a run folder, or of its weights file alone, without a calibration.

        Args:
            run: The folder.
            device: Where to compute.
            steps: Network evaluations per draw.

        Raises:
            RunError: There are no weights, or they or the calibration are damaged.
        """
        folder = Path(run)
        path = folder / WEIGHTS if folder.is_dir() else folder
        try:
            content = path.read_bytes()
        except OSError:
            raise RunError(f"no weights at {run}; give a run folder that has validated") from None
        model, facts = unpack(content, str(path))
        return cls(model, facts, device, steps, read_calibration(folder, content, steps))

    @property
    def history(self) -> int:
        """Past steps T."""
        return self.model.architecture.history

    @property
    def horizon(self) -> int:
        """Future steps F."""
        return self.model.architecture.horizon

    @property
    def dims(self) -> int:
        """Coordinates D."""
        return self.model.architecture.dims

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return float(self.facts["dt"])

    @property
    def unit(self) -> str:
        """Unit of the coordinates."""
        return str(self.facts["unit"])

    def predict(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | Sequence[ArrayLike] | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
    ) -> Forecast:
        """Draw `samples` futures of every agent.

        Args:
            past: World positions of the last T steps, oldest first, [*, A, T, D]; NaN where a
                step is missing. Agents of one scene see each other.
            neighbours: Others who are around but are not forecast: [*, N, T, D] with N of them,
                or, where their number differs, one [N, T, D] for each scene.
            samples: Draws S.
            seed: Equal seeds give equal forecasts; None draws afresh.
            agents: Ids of the A agents, carried into the forecast.

        Returns:
            Samples [S, *, A, F, D], in the unit and world frame of the past.

        Raises:
            TrajflowError: A shape is wrong, or an agent was never seen.
        """
        known = self._points(past, "past")
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        lead, count = known.shape[:-3], known.shape[-3]
        scenes = known.reshape(-1, *known.shape[-3:])
        self._check_seen(scenes, agents)
        around = self._around(neighbours, len(scenes))
        full = np.concatenate([scenes, around], 1)
        target = np.zeros(full.shape[:2], bool)
        target[:, :count] = True
        drawn = self._draw(full, target, samples, seed)
        shape = (samples, *lead, count, self.horizon, self.dims)
        return Forecast(drawn.reshape(shape), self.dt, tuple(agents), calibration=self.calibration)

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""
        rows = self._draw(batch.past, batch.target, samples, seed)
        full = np.full((samples, *batch.target.shape, self.horizon, self.dims), np.nan)
        full[:, batch.target] = rows
        return full

    @torch.inference_mode()
    def _draw(
        self, past: Floats, target: NDArray[np.bool_], samples: int, seed: int | None
    ) -> Floats:
        chance = secrets.randbits(62) if seed is None else seed
        generator = torch.Generator(self.device).manual_seed(chance)
        centre = scene_centres(past)
        drawn = self.model.forecast(
            to_tensor(past, centre, self.device),
            torch.as_tensor(target, device=self.device),
            samples,
            self.steps,
            generator,
        )
        there = centre[np.nonzero(target)[0], None]
        return np.asarray(drawn.double().cpu().numpy() + there)

    def _points(self, points: ArrayLike, name: str) -> Floats:
        try:
            array = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TrajflowError(f"{name} must be an array of numbers: {error}") from None
        if array.ndim < 3 or array.shape[-2:] != (self.history, self.dims):
            t, d = self.history, self.dims
            raise TrajflowError(
                f"{name} must be [A, {t}, {d}] or [B, A, {t}, {d}], got {list(array.shape)}"
            )
        return np.where(np.isfinite(array).all(-1, keepdims=True), array, np.nan)

    def _check_seen(self, scenes: Floats, agents: Sequence[object]) -> None:
        if agents and len(agents) != scenes.shape[1]:
            raise TrajflowError(f"{len(agents)} ids for {scenes.shape[1]} agents")
        unseen = np.argwhere(~np.isfinite(scenes).all(-1).any(-1))
        if len(unseen):
            scene, agent = unseen[0]
            name = agents[agent] if agents else agent
            raise TrajflowError(
                f"agent {name} of scene {scene} was not seen at any of the {self.history} steps; "
                "leave it out, or give one position at least"
            )

    def _around(self, neighbours: Any, scenes: int) -> Floats:
        if neighbours is None:
            return np.empty((scenes, 0, self.history, self.dims))
        if isinstance(neighbours, np.ndarray) or scenes == 1:
            array = self._points(neighbours, "neighbours")
            array = array.reshape(-1, *array.shape[-3:])
            if len(array) == scenes:
                return array
            raise TrajflowError(f"neighbours are of {len(array)} scenes, the past of {scenes}")
        if len(neighbours) != scenes:
            raise TrajflowError(f"neighbours are of {len(neighbours)} scenes, the past of {scenes}")
        each = [
            self._points(
                np.reshape(n, (-1, self.history, self.dims)) if not len(n) else n, "neighbours"
            )
            for n in neighbours
        ]
        most = max((len(n) for n in each), default=0)
        padded = np.full((scenes, most, self.history, self.dims), np.nan)
        for row, points in zip(padded, each, strict=True):
            row[: len(points)] = points
        return padded
