"""Scores of a model on the validation split, from plain draws."""

from collections.abc import Iterable

import numpy as np
import torch

from trajflow import metrics
from trajflow.models.tensors import memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.training import distributed
from trajflow.types import Batch, Floats, Ints, scene_centres

Draws = tuple[int, Floats, Floats, Ints, Ints]
"""Number of a batch; of its targets the samples [S, N, F, D], futures [N, F, D], recordings [N] and
agents [N]."""


def validate(
    model: TrajectoryModel,
    batches: Iterable[Batch],
    samples: int,
    steps: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
) -> dict[str, float]:
    """Mean scores of the windows of some batches, from `samples` plain draws of each.

    Every window has the same weight; in "energy_score_by_recording" every recording has.

    Equal batches and seeds give equal noise, so that models are compared on the same draws. When
    several processes train together, each draws for its part of the batches, and all get the
    scores.
    """
    draws = _draw(model, batches, samples, steps, seed, temperature)
    return distributed.from_main(lambda: _mean_scores(*_concatenate(draws)[:3]))


def energy_scores(
    model: TrajectoryModel, batches: Iterable[Batch], samples: int, steps: int = 1, seed: int = 0
) -> tuple[Floats, Ints, Ints]:
    """Energy scores of the windows of the batches, their recordings and their agents, each [N]."""
    futures, truth, scene, agent = _concatenate(_draw(model, batches, samples, steps, seed))
    return metrics.energy_score(futures, truth), scene, agent


@torch.no_grad()
def _draw(
    model: TrajectoryModel,
    batches: Iterable[Batch],
    samples: int,
    steps: int,
    seed: int,
    temperature: float = 1.0,
) -> list[Draws]:
    """The draws of each batch; the main of several processes gets all of them."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    result: list[Draws] = []
    for number, batch in enumerate(batches):
        target = torch.as_tensor(batch.target, device=device)
        if number % distributed.world_size() != distributed.rank():
            model.noise(target, samples, generator)  # keep the generator in step with its process
            continue
        centre = scene_centres(batch.past)
        past = to_tensor(batch.past, centre, device)
        futures = model.forecast(
            past,
            target,
            samples,
            steps,
            generator,
            temperature=temperature,
            memory=memory_tensor(batch.memory_window, centre, device),
            types=type_tensor(batch.types, model.architecture.types, device),
        )
        rows = np.nonzero(batch.target)[0]
        world = futures.double().cpu().numpy() + centre[rows, None]
        truth, agent = batch.future[batch.target], batch.agent[batch.target]
        result.append((number, world, truth, batch.scene[rows], agent))
    return distributed.gather(result)


def _concatenate(draws: list[Draws]) -> tuple[Floats, Floats, Ints, Ints]:
    """Samples [S, N, F, D], futures [N, F, D], recordings and agents [N], in order of batches."""
    _, samples, truth, scene, agent = zip(*sorted(draws, key=lambda draw: draw[0]), strict=True)
    return (
        np.concatenate(samples, 1),
        np.concatenate(truth),
        np.concatenate(scene),
        np.concatenate(agent),
    )


def _mean_scores(samples: Floats, future: Floats, scene: Ints) -> dict[str, float]:
    """Mean scores of samples [S, N, F, D] against futures [N, F, D] of recordings [N]."""
    energy = metrics.energy_score(samples, future)
    _, recording = np.unique(scene, return_inverse=True)
    by_recording = np.bincount(recording, energy) / np.bincount(recording)
    return {
        "energy_score": float(energy.mean()),
        "energy_score_by_recording": float(by_recording.mean()),
        "min_ade": float(metrics.min_ade(samples, future).mean()),
        "min_fde": float(metrics.min_fde(samples, future).mean()),
        "coverage_90": float(metrics.coverage(samples, future, 0.9).mean()),
        "spread_ratio": metrics.spread_ratio(samples, future),
    }
