"""The predictor of a run: draws futures by its weights, with torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajflow.calibration import Calibration, read_calibration
from trajflow.errors import ConfigError, RunError
from trajflow.inference.base import Predictor
from trajflow.inference.choosing import LEARNED, RULES, Selection
from trajflow.inference.inputs import DtRange, TrackFormat
from trajflow.inference.noise import fresh, normal, uniform
from trajflow.inference.scenes import (
    ROWS,
    OutOfMemory,
    Request,
    Scenes,
    draw_within_memory,
    learned_numbers,
    most_at_once,
)
from trajflow.manifest import read_kept
from trajflow.models.frames import Frame
from trajflow.models.learned_samples import LearnedSamples
from trajflow.models.sampler import Draw, Sampler, traced
from trajflow.models.serialization import MOST, read_samples, unpack
from trajflow.models.tensors import device_of, memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.ood.detector import Detector
from trajflow.ood.storage import read_detector
from trajflow.selection import Chosen, choose, even_noise
from trajflow.types import Floats, Ints, scene_centres

WEIGHTS = "weights.safetensors"
SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
"""How torch says that memory does not suffice."""
SAMPLERS = ("_sampler", "_learned_sampler")
"""Names of the recorded samplers of a predictor."""
BUDGET = 1 << 22
"""Numbers of the draws whose noise is made at once."""
CHOSEN_ROWS, MANY_ROWS = 1 << 10, 1 << 18
"""Draws that a processor and an accelerator choose from at once: they stay in a cache."""


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
        for name in SAMPLERS:  # they were recorded for the device before
            vars(self).pop(name, None)
        return self

    def _facts(self) -> dict[str, object]:
        return {**super()._facts(), "device": self.device}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the recorded samplers, which are made again where they are needed."""
        return {name: value for name, value in vars(self).items() if name not in SAMPLERS}

    @cached_property
    def _sampler(self) -> Draw:
        """The model folded for one scene at a time, made by the first forecast of one."""
        return traced(Sampler(self.model, self.temperature).to(self.device), self.device)

    @cached_property
    def _learned_sampler(self) -> Draw:
        """The same, for futures of learned noise."""
        sampler = Sampler(self.model, self.temperature, sets=self.sets)
        return traced(sampler.to(self.device), self.device)

    @classmethod
    def load(  # type: ignore[override]
        cls, run: str | Path, device: str = "cpu", steps: int = 1
    ) -> TorchPredictor:
        """The predictor of a run folder, or of its weights file alone, without a calibration.

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

    def _contexts(self, request: Request) -> tuple[Floats, ...]:
        inputs = _Inputs(self, request)
        with torch.inference_mode():
            context, _ = self.model.context(inputs.past, inputs.target, inputs.dt_ratio)
        return (_numpy(context[inputs.target]),)

    @torch.inference_mode()
    def _draw(
        self, request: Request, samples: int, seed: int | None
    ) -> tuple[Floats, tuple[Floats, ...]]:
        noise = normal(seed, request.keys, samples, self.model.normalizer.size)
        draw = self._draw_scene if self._is_small(request, samples) else self._draw_batch
        joint = self.model.architecture.joint
        futures, context = draw_within_memory(draw, request, noise, joint)
        return futures, (context,)

    @torch.inference_mode()
    def carry(self, request: Request, noise: NDArray[np.float32]) -> Floats:
        """Futures [S, N, F, D] of the N targets from noise [S, N, ...], world coordinates."""
        return self._draw_batch(request, noise)[0]

    def _draw_batch(self, request: Request, noise: NDArray[np.float32]) -> tuple[Floats, Floats]:
        inputs = _Inputs(self, request)
        try:
            drawn, context = self.model.forecast_with_context(
                inputs.past,
                inputs.target,
                len(noise),
                self.steps,
                dt_ratio=inputs.dt_ratio,
                temperature=self.temperature,
                memory=inputs.memory,
                types=inputs.types,
                noise=torch.as_tensor(noise, device=self.device),
            )
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS):
                raise OutOfMemory from None
            raise
        return _numpy(drawn) + inputs.origins, _numpy(context)

    def _is_small(self, request: Request, samples: int) -> bool:
        """Whether this is one scene whose agents are computed at once, each drawn alone.

        Of many scenes of different sizes the model itself computes only the agents that matter.
        """
        past, target = request.past, request.target
        if len(past) != 1 or self.steps != 1 or self.model.architecture.joint:
            return False
        return 0 < int(target.sum()) <= most_at_once(past, samples, False) and samples <= ROWS

    def _draw_scene(
        self, request: Request, noise: NDArray[np.float32], learned: Ints | None = None
    ) -> tuple[Floats, Floats]:
        social = self.model.social
        limit = None if social is None else social.limit
        scenes = Scenes.of(request.past, request.target, limit)
        inputs = scenes.inputs(request, noise, self.format, learned)
        if learned is None:
            del inputs["learned_noises"]
        futures, context = (self._sampler if learned is None else self._learned_sampler)(
            **{name: torch.as_tensor(one, device=self.device) for name, one in inputs.items()}
        )
        contexts = context[0].double().cpu().numpy()
        return scenes.picked(futures.cpu().numpy()), contexts

    @torch.inference_mode()
    def _chosen(
        self, request: Request, wanted: Selection, seed: int | None
    ) -> tuple[Floats, Floats]:
        """Chosen futures; their draws come of even noise, see `even_noise`."""
        model = self.model
        if model.architecture.joint:
            raise ConfigError(
                f"selection {wanted.rule!r} chooses for each agent alone, and the run draws the "
                "agents of a scene together; take plain draws, or train with model.joint=false"
            )
        if wanted.rule == LEARNED and self._is_small(request, wanted.count):
            return self._learned_scene(request, wanted.count)
        inputs, seed = _Inputs(self, request), fresh(seed)
        target = inputs.target
        context, frame = model.context(inputs.past, target, inputs.dt_ratio)
        full = model.with_types(model.with_memory(context, frame, inputs.memory), inputs.types)
        own, full, frame = context[target], full[target], frame.take(target)
        if wanted.rule == LEARNED:
            noise, log_weight = self._learned(wanted.count)(own)
            result = Chosen(model.futures(full, frame, noise), log_weight.exp())
        else:
            offset = torch.from_numpy(uniform(seed, request.keys, model.normalizer.components))
            result = self._selected(full, frame, wanted, offset.to(self.device), seed)
        weights = _numpy(result.weights)
        return _numpy(result.samples) + inputs.origins, weights / weights.sum(0)

    def _learned_scene(self, request: Request, count: int) -> tuple[Floats, Floats]:
        weigh = self._learned(count).weights
        numbers = learned_numbers(self.sets, count, request, self.model.normalizer.size)
        futures, context = draw_within_memory(
            lambda part, own: self._draw_scene(part, own[:0], own[:, 0, 0].astype(int)),
            request,
            numbers,
            joint=False,
        )
        weights = _numpy(weigh(torch.as_tensor(context, dtype=torch.float32, device=self.device)))
        return futures, weights / weights.sum(0)

    def _selected(
        self, context: Tensor, frame: Frame, wanted: Selection, offset: Tensor, seed: int
    ) -> Chosen:
        """Futures of N agents chosen from many draws, some agents at a time to bound the memory."""
        model, each = self.model, wanted.draws * self.model.normalizer.size
        at_once = CHOSEN_ROWS if context.device.type == "cpu" else MANY_ROWS
        at_once = max(1, at_once // wanted.draws)
        parts = []
        everybody = torch.arange(len(context), device=context.device)
        for agents in torch.split(everybody, BUDGET // each or 1):
            noise = self.temperature * even_noise(wanted.draws, offset[agents], seed)
            blocks = zip(torch.split(agents, at_once), torch.split(noise, at_once, 1), strict=True)
            for rows, own_noise in blocks:
                draws = model.futures(context[rows], frame.take(rows), own_noise, self.steps)
                parts.append(choose(draws, wanted.count))
        samples, weights = (
            [getattr(one, name) for one in parts] for name in ("samples", "weights")
        )
        return Chosen(torch.cat(samples, 1), torch.cat(weights, 1))

    def _learned(self, count: int) -> LearnedSamples:
        if count not in self.sets:
            counts = ", ".join(map(str, sorted(self.sets))) or "none"
            raise ConfigError(
                f"no learned set of {count} futures (there are: {counts}); learn one by "
                f"`trajflow fit RUN DATA samples --count {count}`, or choose by {', '.join(RULES)}"
            )
        return self.sets[count]


class _Inputs:
    """A request as tensors about the scenes' centres; `origins` [N, 1, D] move futures back."""

    def __init__(self, predictor: TorchPredictor, request: Request) -> None:
        device, centre = predictor.device, scene_centres(request.past)
        self.past = to_tensor(request.past, centre, device)
        self.target = torch.as_tensor(request.target, device=device)
        self.dt_ratio = torch.tensor(request.dt_ratio, device=device)
        self.memory = memory_tensor(request.memory, centre, device)
        self.types = type_tensor(request.types, predictor.format.types, device)
        self.origins = centre[np.nonzero(request.target)[0], None]


def _numpy(values: Tensor) -> Floats:
    """Values of any shape in double precision."""
    return np.asarray(values.double().cpu().numpy())


def _format(model: TrajectoryModel, facts: Mapping[str, Any]) -> TrackFormat:
    a, dt = model.architecture, float(facts["dt"])
    least, most = (facts.get(name, 1.0) * dt for name in ("least_rate", "most_rate"))
    scale, dts = float(model.normalizer.displacement_scale), DtRange(dt, least, most)
    limit = 0 if model.social is None else model.social.limit
    neighbors = None if a.joint else limit
    unit = str(facts["unit"])
    return TrackFormat(a.history, a.horizon, a.dims, unit, scale, dts, a.memory, a.types, neighbors)
