"""Inputs that graphs are tried with, and what the run itself makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from trajflow.batch import Bools
from trajflow.predictor import Predictor

AGREED = 1e-5
"""Share of the motion by which futures of single precision may differ from the run's own."""
SIZES = ((1, 1, 1, 1), (1, 17, 1, 20), (2, 5, 5, 3), (5, 23, 4, 7))
"""Scenes, agents, those asked for and samples that graphs are tried with, none of them traced."""
Inputs = dict[str, NDArray[np.float32]]


def own(predictor: Predictor, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Futures of the run itself from the inputs of a graph, [S, B, K, F, D]."""
    past, noise = inputs["past"], inputs["noise"]
    target = np.asarray(np.isfinite(past).all(-1).any(-1))
    target[:, noise.shape[2] :] = False
    asked = target[:, : noise.shape[2]]
    drawn = drawn_from(predictor, past, target, noise[:, asked], inputs.get("rate"))
    futures = np.zeros((*noise.shape[:3], *drawn.shape[2:]), np.float32)
    futures[:, asked] = drawn
    return futures


@torch.inference_mode()
def drawn_from(
    predictor: Predictor,
    past: NDArray[np.float32],
    target: Bools,
    noise: NDArray[np.float32],
    rate: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Futures of the run itself from given noise, [S, N, F, D].

    Args:
        predictor: The run.
        past: Positions about a point near each scene, [B, A, T, D]; NaN where unseen.
        target: The N agents that are forecast, [B, A].
        noise: Normal numbers, [S, N, ...].
        rate: Seconds per step over those that are usual, [B].
    """
    model, asked = predictor.model, torch.as_tensor(target)
    told = None if rate is None else torch.as_tensor(rate)
    wide = torch.as_tensor(noise) * predictor.temperature
    context, frame = model.context(torch.as_tensor(past), asked, told)
    if not model.architecture.joint:
        drawn = model.futures(context[asked], frame.take(asked), wide, predictor.steps)
    else:
        whole = wide.new_zeros(len(wide), *asked.shape, wide.shape[-1])
        whole[:, asked] = wide
        drawn = model.together(context, frame, asked, whole, predictor.steps)
    return np.asarray(drawn.numpy())


def random_inputs(
    predictor: Predictor, size: tuple[int, int, int, int], seed: int, rough: float = 0.3
) -> Inputs:
    """Walks with missing steps and padded agents for a graph.

    Args:
        predictor: Whose sizes and lengths count.
        size: Scenes B, agents A, of which K are asked for, and samples S.
        seed: What they follow from.
        rough: How much displacements vary, over the usual one.
    """
    scenes, agents, asked, samples = size
    a, unit = predictor.model.architecture, float(predictor.model.scaling.unit)
    chance = np.random.default_rng(seed)
    drift = chance.normal(size=(scenes, agents, 1, a.dims))
    steps = drift + rough * chance.normal(size=(scenes, agents, a.history, a.dims))
    past = unit * (steps.cumsum(2) + 5 * chance.normal(size=(scenes, agents, 1, a.dims)))
    lost = chance.random(past.shape[:3]) < 0.15
    lost[chance.random((scenes, agents)) < 0.5] = False
    lost[:, asked:][chance.random((scenes, agents - asked)) < 0.15] = True
    past[lost] = np.nan
    noise = chance.normal(size=(samples, scenes, asked, a.horizon * a.dims))
    inputs = {"past": past.astype(np.float32), "noise": noise.astype(np.float32)}
    if a.rate:
        least, most = (one / predictor.dt for one in predictor.dts)
        inputs["rate"] = chance.uniform(least, most, scenes).astype(np.float32)
    return inputs


def tensors(inputs: Inputs) -> dict[str, torch.Tensor]:
    """Inputs of any shape as tensors."""
    return {name: torch.as_tensor(one) for name, one in inputs.items()}
