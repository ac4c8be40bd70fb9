"""Whether an export forecasts as its run does: at other sizes, on random inputs, and by scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajflow.errors import RunError
from trajflow.inference.onnx.golden import context_difference, difference
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.onnx.session import GraphSession
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.scenes import Request
from trajflow.models.trajectory_model import Architecture
from trajflow.types import Bools, Floats, Ints

AGREED, REDUCED = 1e-5, 0.25
"""Share of the motion by which futures in float32, and in whole numbers, may be off."""
SIZES = ((1, 1, 1, 1), (1, 17, 1, 20), (2, 5, 5, 3), (5, 23, 4, 7))
"""Scenes, agents, those that are forecast and samples that graphs are tried with, none of them
traced."""
SCORES = ("min_ade", "energy_score")
MOVED = 0.01
"""Share of a score by which an export may be worse or better than its run."""
SEEDS = 4
"""Seeds over which scores are means: numbers of noise would differ otherwise."""
Inputs = dict[str, NDArray[Any]]


def check_sizes(predictor: TorchPredictor, session: GraphSession) -> None:
    """Let a graph forecast at sizes it was not traced with.

    Raises:
        RunError: It cannot, or what comes out is not what the run draws from the same noise.
    """
    for number, size in enumerate(SIZES):
        inputs = random_inputs(predictor, size, seed=2 + number)
        result, context = session.run(("futures", "context"), inputs)
        futures, contexts = outputs_of(predictor, inputs)
        off = difference(result, futures, inputs["past"])
        off = max(off, context_difference(context, contexts, inputs["past"]))
        if not off <= AGREED:
            raise RunError(
                f"the graph's futures are {off:.2g} of the motion away from the run's own at "
                f"sizes {size}, {AGREED:g} allowed; nothing was written"
            )


def check_forecasts(
    predictor: TorchPredictor, exported: OnnxPredictor, rounds: int = 20, seed: int = 0
) -> float:
    """Largest difference of forecasts from equal noise, over the scale of motion.

    Raises:
        RunError: It is more than is allowed for the export's precision.
    """
    rng = np.random.default_rng(seed)
    worst = 0.0
    for number in range(rounds):
        agents = int(rng.integers(1, 6))
        sizes = (int(rng.integers(1, 4)), agents + int(rng.integers(0, 24)), agents, 5)
        inputs = random_inputs(predictor, sizes, seed + number)
        (result,) = exported.session.run(["futures"], inputs)
        worst = max(worst, difference(result, outputs_of(predictor, inputs)[0], inputs["past"]))
    allowed = AGREED if exported.facts["precision"] == "fp32" else REDUCED
    if not worst <= allowed:
        raise RunError(
            f"the export's futures are {worst:.2g} of the motion away from the run's, "
            f"{allowed:g} allowed; nothing was written"
        )
    return worst


def check_scores(
    run: Path, data: Path, predictor: TorchPredictor, exported: OnnxPredictor, windows: int = 2000
) -> dict[str, Any]:
    """Scores of the run and of its export on the validation split, from equal noise.

    Raises:
        RunError: A score moves by more than is allowed.
    """
    from trajflow.datasets.loader import TrackData
    from trajflow.datasets.store import open_store
    from trajflow.metrics import energy_score, min_ade
    from trajflow.runs import RunFolder

    config = RunFolder.open(run).config
    tracks = TrackData(open_store(data), **config.data.model_dump(), order=config.train.seed)
    rng, size = np.random.default_rng(0), predictor.horizon * predictor.dims
    scores: list[Any] = []
    seen = 0
    for batch in tracks.batches("val", 256):
        for _ in range(SEEDS if batch.targets else 0):
            noise = rng.standard_normal((20, batch.targets, size), dtype=np.float32)
            truth = batch.future[batch.target]
            request = Request.of(batch.past, batch.target, types=batch.types)
            drawn = [predictor.carry(request, noise), exported.carry(request, noise)]
            scores.append([[f(d, truth).sum() for f in (min_ade, energy_score)] for d in drawn])
        seen += batch.targets
        if seen >= windows:
            break
    if not seen:
        raise RunError(f"{data} has no validation windows for this run; check without it")
    before, after = np.sum(scores, 0) / (seen * SEEDS)
    report: dict[str, Any] = {"windows": seen}
    for name, old, new in zip(SCORES, before, after, strict=True):
        report[name] = float(new)
        report[f"{name} of the run"] = float(old)
        if not abs(new - old) <= MOVED * old:
            raise RunError(
                f"{name} on validation moves from {old:.4g} to {new:.4g} by the export, more "
                f"than {MOVED:.0%}; nothing was written"
            )
    return report


def outputs_of(
    predictor: TorchPredictor, inputs: Mapping[str, NDArray[Any]]
) -> tuple[Floats, Floats]:
    """Futures [S, B, K, F, D] and contexts [B, K, H] of the run from the inputs of a graph."""
    past, noise = inputs["past"], inputs["noise"]
    target = np.asarray(np.isfinite(past).all(-1).any(-1))
    target[:, noise.shape[2] :] = False
    wanted = target[:, : noise.shape[2]]
    others, memory, types = past.shape[1] - noise.shape[2], inputs.get("memory"), None
    if memory is not None:
        gap = ((0, 0), (0, others), *[(0, 0)] * 3)
        memory = np.pad(memory, gap, constant_values=np.nan)
    if "types" in inputs:
        types = np.pad(inputs["types"], ((0, 0), (0, others)))
    drawn, context = drawn_from(
        predictor,
        past,
        target,
        noise[:, wanted],
        inputs.get("dt_ratio"),
        memory,
        types,
        inputs.get("learned_noises"),
    )
    futures = np.zeros((len(drawn), *noise.shape[1:3], *drawn.shape[2:]))
    futures[:, wanted] = drawn
    contexts = np.zeros((*wanted.shape, context.shape[-1]))
    contexts[wanted] = context
    return futures, contexts


@torch.inference_mode()
def drawn_from(
    predictor: TorchPredictor,
    past: NDArray[np.float32],
    target: Bools,
    noise: NDArray[np.float32],
    dt_ratio: NDArray[np.float32] | None = None,
    memory: NDArray[np.float32] | None = None,
    types: Ints | None = None,
    learned: Ints | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Futures [S + Q, N, F, D] of the run itself from given noise, and contexts [N, H].

    Args:
        predictor: The run.
        past: Positions about a point near each scene, [B, A, T, D]; NaN where unseen.
        target: The N agents that are forecast, [B, A].
        noise: Normal numbers, [S, N, ...].
        dt_ratio: Seconds per step over those of the training tracks, [B].
        memory: What is remembered of others, [B, A, K, T + F, D + 1].
        types: Codes of the agents' types, [B, A]; None: all are unknown.
        learned: Numbers of learned noises, [Q], whose futures come after the others.
    """
    given = (None if one is None else torch.as_tensor(one) for one in (dt_ratio, memory, types))
    ratio, remembered, codes = given

    def draw(noise: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        return predictor.model.forecast_with_context(
            torch.as_tensor(past),
            torch.as_tensor(target),
            len(noise),
            predictor.steps,
            None,
            ratio,
            predictor.temperature,
            remembered,
            codes,
            torch.as_tensor(noise),
        )

    drawn, context = draw(noise)
    if learned is not None and len(learned):
        noises = torch.cat([one(context)[0] for _, one in sorted(predictor.sets.items())])
        chosen = noises[learned].numpy() / predictor.temperature
        missing = noise.shape[-1] - chosen.shape[-1]
        drawn, _ = draw(np.concatenate([noise, np.pad(chosen, ((0, 0), (0, 0), (0, missing)))]))
    return np.asarray(drawn.numpy()), np.asarray(context.numpy())


def random_inputs(
    predictor: TorchPredictor, size: tuple[int, int, int, int], seed: int, rough: float = 0.3
) -> Inputs:
    """Walks with missing steps and padded agents for a graph."""
    scenes, agents, targets, samples = size
    a, unit = predictor.model.architecture, float(predictor.model.normalizer.displacement_scale)
    rng = np.random.default_rng(seed)
    drift = rng.normal(size=(scenes, agents, 1, a.dims))
    steps = drift + rough * rng.normal(size=(scenes, agents, a.history, a.dims))
    past = unit * (steps.cumsum(2) + 5 * rng.normal(size=(scenes, agents, 1, a.dims)))
    lost = rng.random(past.shape[:3]) < 0.15
    lost[rng.random((scenes, agents)) < 0.5] = False
    lost[:, targets:][rng.random((scenes, agents - targets)) < 0.15] = True
    past[lost] = np.nan
    noise = rng.normal(size=(samples, scenes, targets, a.horizon * a.dims))
    inputs: Inputs = {"past": past.astype(np.float32), "noise": noise.astype(np.float32)}
    if a.condition_on_dt:
        least, most = (one / predictor.dt for one in predictor.dts)
        inputs["dt_ratio"] = rng.uniform(least, most, scenes).astype(np.float32)
    if a.memory:
        inputs["memory"] = _random_memory(past[:, :targets], a, unit, rng)
    if a.types:
        inputs["types"] = rng.integers(0, 1 + len(a.types), (scenes, targets))
    if predictor.sets and predictor.steps == 1:
        inputs["learned_noises"] = rng.integers(0, sum(predictor.sets), samples // 2)
    return inputs


def _random_memory(
    past: Floats, a: Architecture, unit: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Walks near agents [B, K, T, D], for some of them, [B, K, ..., T + F, D + 1]."""
    shape = (*past.shape[:2], a.memory, a.history + a.horizon)
    here = np.nan_to_num(past[:, :, -1])[:, :, None, None]
    path = here + unit * rng.normal(size=(*shape, a.dims)).cumsum(3)
    age = rng.integers(1, 100, (*shape[:3], 1)) - np.arange(shape[3])
    memory = np.concatenate([path, age[..., None]], -1)
    memory[rng.random(shape[:3]) < 0.3] = np.nan
    memory[rng.random(shape[:2]) < 0.3] = np.nan
    memory[rng.random(shape) < 0.1] = np.nan
    return memory.astype(np.float32)
