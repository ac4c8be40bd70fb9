"""Scores of a model on the validation split: plain draws against what happened."""

from collections.abc import Iterable

import numpy as np
import torch

from trajflow import metrics
from trajflow.models.tensors import memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.training import distributed
from trajflow.types import Batch, Floats, Ints, scene_centres

Draws = tuple[int, Floats, Floats, Ints, Ints]
"""Number of a batch, samples [S, N, F, D] and futures [N, F, D] of its targets, their recordings
and agents [N]."""


def validate(
    model: TrajectoryModel,
    batches: Iterable[Batch],
    samples: int,
    steps: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
) -> dict[str, float]:
    """Means over the windows of the batches, of `samples` plain draws each.

    Every window weighs the same. "energy_score_by_recording" is the mean over recordings, each of
    which weighs the same, of the mean over its windows.

    The same batches and seed give the same noise, so two models are compared on equal terms. Where
    several processes train together, each draws for its share of the batches, and all get the
    scores.
    """
    draws = _draws(model, batches, samples, steps, seed, temperature)

    def scores() -> dict[str, float]:
        drawn, truth, scene, _ = _joined(draws)
        return judge(drawn, truth, scene)

    return distributed.from_first(scores)


def energy_scores(
    model: TrajectoryModel, batches: Iterable[Batch], samples: int, steps: int = 1, seed: int = 0
) -> tuple[Floats, Ints, Ints]:
    """Energy scores of the windows of the batches, their recordings and their agents, each [N]."""
    drawn, truth, scene, agent = _joined(_draws(model, batches, samples, steps, seed))
    return metrics.energy_score(drawn, truth), scene, agent


@torch.no_grad()
def _draws(
    model: TrajectoryModel,
    batches: Iterable[Batch],
    samples: int,
    steps: int,
    seed: int,
    temperature: float = 1.0,
) -> list[Draws]:
    """The draws of each batch; of several processes the first has all of them."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    mine: list[Draws] = []
    for number, batch in enumerate(batches):
        target = torch.as_tensor(batch.target, device=device)
        if number % distributed.world() != distributed.rank():
            model.noise(target, samples, generator)  # as the process draws that has this batch
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
        drawn = futures.double().cpu().numpy() + centre[rows, None]
        truth, agent = batch.future[batch.target], batch.agent[batch.target]
        mine.append((number, drawn, truth, batch.scene[rows], agent))
    return distributed.gather(mine)


def _joined(draws: list[Draws]) -> tuple[Floats, Floats, Ints, Ints]:
    """Samples [S, N, F, D], futures [N, F, D], recordings and agents [N], in the batches' order."""
    _, drawn, truth, scene, agent = zip(*sorted(draws, key=lambda one: one[0]), strict=True)
    return (
        np.concatenate(drawn, 1),
        np.concatenate(truth),
        np.concatenate(scene),
        np.concatenate(agent),
    )


def judge(samples: Floats, future: Floats, scene: Ints) -> dict[str, float]:
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
