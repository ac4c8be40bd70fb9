"""The embeddable predictor: pasts in as numpy, a `Forecast` out; knows numpy and torch only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajflow.calibration import Calibration, read_calibration
from trajflow.errors import ConfigError, RunError, TrajflowError
from trajflow.inference.base import DtRange, Predictor, TrackFormat
from trajflow.inference.choosing import Selection, chosen_futures, draws_of
from trajflow.inference.noise import fresh, normal, place_keys, uniform
from trajflow.inference.onnx.padding import ROWS, Scenes, most_at_once
from trajflow.manifest import read_kept
from trajflow.models.learned_samples import LearnedSamples
from trajflow.models.sampler import Draw, Sampler, traced
from trajflow.models.serialization import MOST, read_samples, unpack
from trajflow.models.tensors import device_of, memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.ood.detector import Detector
from trajflow.ood.storage import read_detector
from trajflow.types import Floats, Ints, scene_centres

WEIGHTS = "weights.safetensors"
SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class TorchPredictor(Predictor):
    """Draws futures from a trained model, in the world coordinates and unit of the pasts."""

    backend = "torch"

    def __init__(
        self,
        model: TrajectoryModel,
        facts: dict[str, Any],
        device: str = "cpu",
        steps: int = 1,
        calibration: Calibration | None = None,
        sets: Mapping[int, LearnedSamples] | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.facts, self.steps = facts, steps
        self.calibration, self.detector = calibration, detector
        self.format = _format(model, facts)
        self.sets = {n: one.requires_grad_(False) for n, one in (sets or {}).items()}
        self.to(device)

    def to(self, device: str) -> TorchPredictor:
        """Compute on another device from now on; see `Predictor.to`."""
        self.device = device_of(device)
        self.model.to(self.device)
        for samples in self.sets.values():
            samples.to(self.device)
        vars(self).pop("_sampler", None)  # it was recorded for the device before
        return self

    def _facts(self) -> dict[str, object]:
        return {**super()._facts(), "device": self.device}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the recorded sampler, which is made again where it is needed."""
        return {name: value for name, value in vars(self).items() if name != "_sampler"}

    @cached_property
    def _sampler(self) -> Draw:
        """The model folded for one scene at a time, made by the first forecast of one."""
        return traced(Sampler(self.model, self.temperature).to(self.device), self.device)

    @classmethod
    def load(  # type: ignore[override]
        cls, run: str | Path, device: str = "cpu", steps: int = 1
    ) -> TorchPredictor:
        """The predictor of a run folder, or of its weights file alone, without a calibration.

        Args:
            run: The folder.
            device: Where to compute.
            steps: Network evaluations per draw.

        Raises:
            RunError: There are no weights, or they or what was fitted to them is damaged.
        """
        folder = Path(run)
        path = folder / WEIGHTS if folder.is_dir() else folder
        try:
            content = read_kept(path, MOST)
        except OSError:
            raise RunError(f"no weights at {run}; give a run folder that has validated") from None
        model, facts = unpack(content, str(path))
        if not {"dt", "unit"} <= facts.keys():
            raise RunError(f"{path} does not say the dt and the unit of its tracks; train anew")
        calibration = read_calibration(folder, content, steps)
        sets, detector = read_samples(folder, content), read_detector(folder, content)
        return cls(model, facts, device, steps, calibration, sets, detector)

    @property
    def temperature(self) -> float:
        """Deviation of the noise that draws start from, chosen on the validation split."""
        return float(self.facts.get("temperature", 1.0))

    def _selection(self, samples: int, draws: int | None, select: str | None) -> Selection | None:
        if select is not None:
            return Selection(samples, select, draws_of(select, samples, draws))
        if draws not in (None, samples):
            raise ConfigError(f"{samples} samples of {draws} draws; say by `select` how to choose")
        return None

    @torch.inference_mode()
    def _chosen(
        self,
        past: Floats,
        target: NDArray[np.bool_],
        wanted: Selection,
        seed: int | None,
        dt_ratio: float | Floats = 1.0,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
        keys: Ints | None = None,
    ) -> tuple[Floats, Floats]:
        """Futures [S, N, F, D] of the N targets and their weights [S, N]."""
        centre = scene_centres(past)
        seed, keys = fresh(seed), place_keys(target) if keys is None else keys
        offset = torch.from_numpy(uniform(seed, keys, self.model.normalizer.components))
        result = chosen_futures(
            self.model,
            to_tensor(past, centre, self.device),
            torch.as_tensor(target, device=self.device),
            wanted,
            self.steps,
            seed,
            offset.to(self.device),
            self.sets,
            self._dt_ratios(dt_ratio, len(past)),
            self.temperature,
            memory_tensor(memory, centre, self.device),
            type_tensor(types, self.format.types, self.device),
        )
        there = centre[np.nonzero(target)[0], None]
        weights = result.weights.double().cpu().numpy()
        samples = result.samples.double().cpu().numpy() + there
        return np.asarray(samples), np.asarray(weights / weights.sum(0))

    def _dt_ratios(self, dt_ratio: float | Floats, scenes: int) -> torch.Tensor:
        ratios = np.broadcast_to(np.asarray(dt_ratio, np.float32), (scenes,))
        return torch.tensor(ratios, device=self.device)

    @torch.inference_mode()
    def _contexts(
        self, past: Floats, target: NDArray[np.bool_], dt_ratio: float | Floats = 1.0
    ) -> tuple[Floats, ...]:
        wanted = torch.as_tensor(target, device=self.device)
        points = to_tensor(past, scene_centres(past), self.device)
        context, _ = self.model.context(points, wanted, self._dt_ratios(dt_ratio, len(past)))
        return (np.asarray(context[wanted].double().cpu().numpy()),)

    @torch.inference_mode()
    def _draw(
        self,
        past: Floats,
        target: NDArray[np.bool_],
        samples: int,
        seed: int | None,
        dt_ratio: float | Floats = 1.0,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
        keys: Ints | None = None,
    ) -> tuple[Floats, tuple[Floats, ...]]:
        keys = place_keys(target) if keys is None else keys
        noise = normal(seed, keys, samples, self.model.normalizer.size)
        if self._is_small(past, target, samples):
            return self._draw_scene(past, target, noise, dt_ratio, memory, types)
        centre = scene_centres(past)
        drawn, context = forecast_within(
            self.model,
            to_tensor(past, centre, self.device),
            torch.as_tensor(target, device=self.device),
            torch.as_tensor(noise, device=self.device),
            self.steps,
            self._dt_ratios(dt_ratio, len(past)),
            self.temperature,
            memory_tensor(memory, centre, self.device),
            type_tensor(types, self.format.types, self.device),
        )
        there = centre[np.nonzero(target)[0], None]
        futures = np.asarray(drawn.double().cpu().numpy() + there)
        return futures, (np.asarray(context.double().cpu().numpy()),)

    def _is_small(self, past: Floats, target: NDArray[np.bool_], samples: int) -> bool:
        """Whether this is one scene whose agents are computed at once, each drawn alone.

        Of many scenes of different sizes the model itself computes only the agents that matter.
        """
        if len(past) != 1 or self.steps != 1 or self.model.architecture.joint:
            return False
        return 0 < int(target.sum()) <= most_at_once(past, samples, False) and samples <= ROWS

    def _draw_scene(
        self,
        past: Floats,
        target: NDArray[np.bool_],
        noise: NDArray[np.float32],
        dt_ratio: float | Floats,
        memory: Floats | None,
        types: NDArray[np.str_] | None,
    ) -> tuple[Floats, tuple[Floats, ...]]:
        """As `_draw`, of one scene [1, A, T, D] with noise [S, N, F * D] of its N targets."""
        social, device = self.model.social, self.device
        scenes = Scenes.of(past, target, None if social is None else social.limit)
        inputs = {
            "past": torch.as_tensor(scenes.past, device=device),
            "noise": torch.as_tensor(scenes.spread(noise), device=device),
            "dt_ratio": self._dt_ratios(dt_ratio, 1),
        }
        if self.format.memory:
            some = None if memory is None else memory[target]
            size = (self.format.memory, self.history + self.horizon, self.dims + 1)
            inputs["memory"] = torch.as_tensor(scenes.remembered(some, size), device=device)
        names = np.full(target.shape, "") if types is None else types
        codes = type_tensor(names[target][None], self.format.types, device)
        if codes is not None:
            inputs["types"] = codes
        futures, context = self._sampler(**inputs)
        drawn = scenes.picked(futures.cpu().numpy())
        return drawn, (context[0].double().cpu().numpy(),)


def _format(model: TrajectoryModel, facts: Mapping[str, Any]) -> TrackFormat:
    a, dt = model.architecture, float(facts["dt"])
    least, most = (facts.get(name, 1.0) * dt for name in ("least_rate", "most_rate"))
    scale, dts = float(model.normalizer.displacement_scale), DtRange(dt, least, most)
    limit = 0 if model.social is None else model.social.limit
    neighbors = None if a.joint else limit
    unit = str(facts["unit"])
    return TrackFormat(a.history, a.horizon, a.dims, unit, scale, dts, a.memory, a.types, neighbors)


def forecast_within(
    model: TrajectoryModel,
    past: Tensor,
    target: Tensor,
    noise: Tensor,
    steps: int,
    dt_ratio: Tensor,
    temperature: float,
    memory: Tensor | None = None,
    types: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Futures [S, N, F, D] of the targets as `TrajectoryModel.forecast` draws them, and contexts.

    Where memory does not suffice for all of them at once, half as many are computed at a time, and
    so on, from the same noise. A scene of a joint model is never divided.

    Args:
        model: What draws.
        past: World positions, [B, A, T, D]; not finite where unseen.
        target: Agents to forecast, [B, A].
        noise: Normal numbers of S draws, [S, N, F * D].
        steps: Network evaluations per draw.
        dt_ratio: Seconds per step over those of the training tracks, [B].
        temperature: Deviation of the noise.
        memory: What is remembered of others, [B, A, K, W, D + 1]; None: nothing.
        types: Codes of the agents' types, [B, A]; None: unknown.

    Raises:
        TrajflowError: The memory does not suffice for one of them.
    """
    request = _Request(past, target, noise, steps, dt_ratio, temperature, memory, types)
    most = len(past) if model.architecture.joint else int(target.sum())
    parts = 1
    while True:
        try:
            if parts == 1:
                return request.drawn(model)
            cut = request.by_scenes if model.architecture.joint else request.by_agents
            drawn = [part.drawn(model) for part in cut(parts)]
            futures, contexts = zip(*drawn, strict=True)
            return torch.cat(futures, 1), torch.cat(contexts)
        except (MemoryError, RuntimeError) as error:
            if not short_of_memory(error):
                raise
        if parts >= most:
            raise TrajflowError(
                f"out of memory for {len(noise)} samples of one agent among {target.shape[1]}; "
                "ask for fewer samples, or give fewer neighbors"
            )
        parts = min(most, 2 * parts)


def short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in SIGNS)


@dataclass(frozen=True)
class _Request:
    past: Tensor
    target: Tensor
    noise: Tensor
    steps: int
    dt_ratio: Tensor
    temperature: float
    memory: Tensor | None
    types: Tensor | None

    def drawn(self, model: TrajectoryModel) -> tuple[Tensor, Tensor]:
        """Futures and contexts of all at once."""
        return model.forecast_with_context(
            self.past,
            self.target,
            len(self.noise),
            self.steps,
            dt_ratio=self.dt_ratio,
            temperature=self.temperature,
            memory=self.memory,
            types=self.types,
            noise=self.noise,
        )

    def by_scenes(self, parts: int) -> Iterator[_Request]:
        """So many parts of whole scenes."""
        counts = self.target.sum(1).tolist()
        noise = torch.split(self.noise, counts, 1)
        for part in torch.arange(len(self.past), device=self.past.device).chunk(parts):
            yield self._scenes(part, self.target[part], torch.cat([noise[i] for i in part], 1))

    def by_agents(self, parts: int) -> Iterator[_Request]:
        """So many parts of the agents; the others of their scenes stay around them."""
        rows = self.target.nonzero()
        for part in torch.arange(len(rows), device=self.past.device).chunk(parts):
            scenes, own = rows[part, 0].unique(return_inverse=True)  # type: ignore[no-untyped-call]
            chosen = torch.zeros_like(self.target[scenes])
            chosen[own, rows[part, 1]] = True
            yield self._scenes(scenes, chosen, self.noise[:, part])

    def _scenes(self, scenes: Tensor, target: Tensor, noise: Tensor) -> _Request:
        memory = None if self.memory is None else self.memory[scenes]
        types = None if self.types is None else self.types[scenes]
        past, dt_ratio = self.past[scenes], self.dt_ratio[scenes]
        return replace(
            self,
            past=past,
            target=target,
            noise=noise,
            dt_ratio=dt_ratio,
            memory=memory,
            types=types,
        )
