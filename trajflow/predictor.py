"""The embeddable predictor: pasts in as numpy, a `Forecast` out; knows numpy and torch only."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from trajflow.apart import forecast_apart
from trajflow.batch import Batch
from trajflow.calibration import Calibration, read_calibration
from trajflow.choosing import Selection, chosen_futures, draws_of
from trajflow.errors import ConfigError, RunError, TrajflowError
from trajflow.files import read_kept
from trajflow.forecast import Forecast
from trajflow.model import TrajectoryModel
from trajflow.noise_set import NoiseSet
from trajflow.parts import forecast_within
from trajflow.pasts import PastShape
from trajflow.quarantine import faults_of
from trajflow.rates import Rates
from trajflow.surprise import Strangeness, Surprise, read_surprise
from trajflow.surprise.viewing import NetworkViewer
from trajflow.tensors import scene_centres, to_tensor
from trajflow.weights import MOST, read_sets, unpack

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
        sets: Mapping[int, NoiseSet] | None = None,
        surprise: Surprise | None = None,
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.facts, self.device, self.steps = facts, torch.device(device), steps
        self.calibration, self.surprise = calibration, surprise
        self.sets = {n: one.to(device).requires_grad_(False) for n, one in (sets or {}).items()}

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu", steps: int = 1) -> Predictor:
        """The predictor of a run folder, or of its weights file alone, without a calibration.

        Args:
            run: The folder.
            device: Where to compute.
            steps: Network evaluations per draw.

        Raises:
            RunError: There are no weights, or they or what was fitted to them is damaged.
        """
        folder = Path(run)
        if folder.suffix == ".onnx":
            raise RunError(f"{run} is an exported model; trajflow.runtime.Predictor.load reads it")
        path = folder / WEIGHTS if folder.is_dir() else folder
        try:
            content = read_kept(path, MOST)
        except OSError:
            raise RunError(f"no weights at {run}; give a run folder that has validated") from None
        model, facts = unpack(content, str(path))
        if not {"dt", "unit"} <= facts.keys():
            raise RunError(f"{path} does not say the dt and the unit of its tracks; train anew")
        calibration = read_calibration(folder, content, steps)
        sets, surprise = read_sets(folder, content), read_surprise(folder, content)
        return cls(model, facts, device, steps, calibration, sets, surprise)

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

    @property
    def temperature(self) -> float:
        """Deviation of the noise that draws start from, chosen on the validation part."""
        return float(self.facts.get("temperature", 1.0))

    @property
    def dts(self) -> tuple[float, float]:
        """Least and most seconds per step that the model was trained for."""
        rates = (self.facts.get("least_rate", 1.0), self.facts.get("most_rate", 1.0))
        return rates[0] * self.dt, rates[1] * self.dt

    def predict(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | Sequence[ArrayLike] | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
        draws: int | None = None,
        select: str | None = None,
        dt: float | None = None,
        surprise: bool = False,
        on_bad: Literal["raise", "quarantine"] = "raise",
    ) -> Forecast:
        """Draw `samples` futures of every agent, or choose them of more draws.

        Args:
            past: World positions of the last T steps, oldest first, [*, A, T, D]; NaN where a
                step is missing. Agents of one scene see each other.
            neighbours: Others who are around but are not forecast: [*, N, T, D] with N of them,
                or, where their number differs, one [N, T, D] for each scene.
            samples: Draws S.
            seed: Equal seeds give equal forecasts; None draws afresh.
            agents: Ids of the A agents, carried into the forecast.
            draws: How many futures to choose from; None: 20 for each that is wanted. A learned
                set is drawn as it is.
            select: Name of the rule that chooses, one of `trajflow.selection.available()`, or
                "learned" for what `trajflow fit-set` has put into the run; None: plain draws.
                Chosen samples serve best as a set and are no draws; their weights, [S, *, A], say
                how likely each is.
            dt: Seconds per step of the past, and so of the forecast; None: as trained. A model
                trained with `model.rate=true` serves all within `dts`.
            surprise: Whether to say how strange each past is and why, and the error to expect;
                see `Forecast.surprise`.
            on_bad: What becomes of a past that is infinite, absurdly large or far away, that was
                never seen, or whose id is there twice: "raise" refuses all, "quarantine" sets that
                agent apart, says so in `Forecast.faults`, and forecasts the others exactly as if
                it had not been given.

        Returns:
            Samples [S, *, A, F, D], in the unit and world frame of the past.

        Raises:
            TrajflowError: A shape is wrong, an agent is bad, a scene has too many, or this model's
                samples cannot be chosen so.
            ConfigError: Surprise is asked of a run that has none, or at another `dt`.
        """
        if on_bad not in ("raise", "quarantine"):
            raise ConfigError(f"on_bad is 'raise' or 'quarantine', got {on_bad!r}")
        shape = PastShape(self.history, self.dims)
        known = shape.numbers(past, "past")
        lead, count = known.shape[:-3], known.shape[-3]
        faults = shape.faults(known.reshape(-1, *known.shape[-3:]), self._usual, agents)
        around = self._around(shape, neighbours, len(faults), on_bad == "raise")
        if on_bad == "raise":
            shape.refuse(faults, agents)
        elif any(fault is not None for fault in faults.flat):
            how = {"draws": draws, "select": select, "dt": dt, "surprise": surprise}
            chance = secrets.randbits(62) if seed is None else seed
            return self._set_apart(known, faults, around, samples, chance, agents, how)
        known = shape.points(past, "past")
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        scenes = known.reshape(-1, *known.shape[-3:])
        full = np.concatenate([scenes, around], 1)
        target = np.zeros(full.shape[:2], bool)
        target[:, :count] = True
        shape.check_count(full.shape[1])
        wanted, rate = self._selection(samples, draws, select), self._rates.of(dt)
        strange = self.check_surprise(dt) if surprise else None
        if wanted is None:
            drawn, weights = self._draw(full, target, samples, seed, rate), None
        else:
            drawn, shares = self._chosen(full, target, wanted, seed, rate)
            weights = shares.reshape(samples, *lead, count)
        drawn = drawn.reshape(samples, *lead, count, self.horizon, self.dims)
        calibration = self.calibration if rate == 1 else None
        told = Forecast(drawn, rate * self.dt, tuple(agents), weights, calibration)
        if on_bad == "quarantine":
            told = replace(told, faults=faults.reshape(*lead, count))
        if strange is None:
            return told
        found = strange.of(NetworkViewer(self.model), full, target)
        reasons = np.array(found.reasons, dtype=object).reshape(*lead, count)
        score, error = (one.reshape(*lead, count) for one in (found.score, found.risk))
        return replace(told, surprise=score, reasons=reasons, expected_error=error)

    @property
    def _usual(self) -> float:
        """Displacement per step that is usual in the unit of the tracks."""
        return float(self.model.scaling.unit)

    def _around(self, shape: PastShape, given: Any, scenes: int, strict: bool) -> Floats:
        """Neighbours [B, N, T, D]; those with a fault are refused if strict, else absent."""
        around = shape.around(given, scenes)
        faults = faults_of(around, self._usual)
        faults[~np.isfinite(around).all(-1).any(-1)] = None
        if strict:
            shape.refuse(faults, (), "neighbour")
        bad = np.array([fault is not None for fault in faults.flat], bool).reshape(faults.shape)
        return np.where(bad[..., None, None], np.nan, around)

    def _set_apart(
        self,
        past: Floats,
        faults: NDArray[np.object_],
        around: Floats,
        samples: int,
        seed: int,
        agents: Sequence[object],
        how: dict[str, Any],
    ) -> Forecast:
        lead, scenes = past.shape[:-2], past.reshape(-1, *past.shape[-3:])

        def ask(*given: Any) -> Forecast:
            return self.predict(*given, **how)

        parts = forecast_apart(ask, scenes, faults, around, samples, seed, agents)
        if not parts:
            raise TrajflowError(
                f"no past can be forecast; the first agent {faults.flat[0]}; give other pasts"
            )
        for name in ("samples", "weights"):
            if name in parts:
                whole = parts[name]
                parts[name] = whole.reshape(len(whole), *lead, *whole.shape[3:])
        for name in ("surprise", "reasons", "expected_error"):
            if name in parts:
                parts[name] = parts[name].reshape(lead)
        return Forecast(**parts, agents=tuple(agents), faults=faults.reshape(lead))

    def surprise_of(self, batch: Batch) -> Strangeness:
        """How strange the pasts of a batch's targets are, in the order of `np.nonzero`.

        Raises:
            ConfigError: The run has no surprise.
        """
        return self.check_surprise().of(NetworkViewer(self.model), batch.past, batch.target)

    def check_surprise(self, dt: float | None = None) -> Surprise:
        """What tells how strange pasts are.

        Raises:
            ConfigError: The run has nothing of the kind, or not for so many seconds per step.
        """
        if self.surprise is None:
            raise ConfigError(
                "the run does not know what is strange to it; `trajflow fit-surprise RUN DATA` "
                "fits that, or leave out surprise"
            )
        if self._rates.of(dt) != 1:
            raise ConfigError(
                f"surprise was fitted at {self.dt:g} s per step, got dt={dt:g}; "
                "leave out surprise, or resample the past"
            )
        return self.surprise

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""
        rate = self._rates.of_batch(batch)
        return batch.placed(self._draw(batch.past, batch.target, samples, seed, rate))

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """Futures of the batch's targets that stand for many draws, and how likely each is.

        Args:
            batch: The scenes.
            samples: Futures S of each target.
            draws: Draws they are chosen from.
            rule: One of `trajflow.choosing.rules()`.
            seed: Equal seeds give equal futures.

        Returns:
            Samples [S, B, A, F, D] and weights [S, B, A]; NaN for the other agents.

        Raises:
            ConfigError: There is no such rule, there are too few draws, or the model is joint.
        """
        wanted = Selection(samples, rule, draws)
        rate = self._rates.of_batch(batch)
        futures, weights = self._chosen(batch.past, batch.target, wanted, seed, rate)
        return batch.placed(futures), batch.placed(weights)

    def _selection(self, samples: int, draws: int | None, select: str | None) -> Selection | None:
        if select is not None:
            return Selection(samples, select, draws_of(select, samples, draws))
        if draws not in (None, samples):
            raise ConfigError(f"{samples} samples of {draws} draws; say by `select` how to choose")
        return None

    @property
    def _rates(self) -> Rates:
        return Rates(self.dt, *self.dts)

    @torch.inference_mode()
    def _chosen(
        self,
        past: Floats,
        target: NDArray[np.bool_],
        wanted: Selection,
        seed: int | None,
        rate: float | Floats = 1.0,
    ) -> tuple[Floats, Floats]:
        """Futures [S, N, F, D] of the N targets and their weights [S, N]."""
        centre = scene_centres(past)
        found = chosen_futures(
            self.model,
            to_tensor(past, centre, self.device),
            torch.as_tensor(target, device=self.device),
            wanted,
            self.steps,
            self._generator(seed),
            self.sets,
            self._told(rate, len(past)),
            self.temperature,
        )
        there = centre[np.nonzero(target)[0], None]
        weights = found.weights.double().cpu().numpy()
        samples = found.samples.double().cpu().numpy() + there
        return np.asarray(samples), np.asarray(weights / weights.sum(0))

    def _told(self, rate: float | Floats, scenes: int) -> torch.Tensor:
        told = np.broadcast_to(np.asarray(rate, np.float32), (scenes,))
        return torch.tensor(told, device=self.device)

    def _generator(self, seed: int | None) -> torch.Generator:
        chance = secrets.randbits(62) if seed is None else seed
        return torch.Generator(self.device).manual_seed(chance)

    @torch.inference_mode()
    def _draw(
        self,
        past: Floats,
        target: NDArray[np.bool_],
        samples: int,
        seed: int | None,
        rate: float | Floats = 1.0,
    ) -> Floats:
        centre = scene_centres(past)
        drawn = forecast_within(
            self.model,
            to_tensor(past, centre, self.device),
            torch.as_tensor(target, device=self.device),
            samples,
            self.steps,
            secrets.randbits(62) if seed is None else seed,
            self._told(rate, len(past)),
            self.temperature,
        )
        there = centre[np.nonzero(target)[0], None]
        return np.asarray(drawn.double().cpu().numpy() + there)
