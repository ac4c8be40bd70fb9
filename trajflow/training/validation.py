"""Scores of a model on the validation split: plain draws against what happened."""

from collections.abc import Iterable

import numpy as np
import torch

from trajflow import metrics
from trajflow.models.tensors import memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.types import Batch, Floats, Ints, scene_centres


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

    The same batches and seed give the same noise, so two models are compared on equal terms.
    """
    drawn, truth, scene, _ = _draws(model, batches, samples, steps, seed, temperature)
    return judge(drawn, truth, scene)


def energy_scores(
    model: TrajectoryModel, batches: Iterable[Batch], samples: int, steps: int = 1, seed: int = 0
) -> tuple[Floats, Ints, Ints]:
    """Energy scores of the windows of the batches, their recordings and their agents, each [N]."""
    drawn, truth, scene, agent = _draws(model, batches, samples, steps, seed)
    return metrics.energy_score(drawn, truth), scene, agent


@torch.no_grad()
def _draws(
    model: TrajectoryModel,
    batches: Iterable[Batch],
    samples: int,
    steps: int,
    seed: int,
    temperature: float = 1.0,
) -> tuple[Floats, Floats, Ints, Ints]:
    """Samples [S, N, F, D] and futures [N, F, D] of the targets, their recordings and agents."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    drawn, truth, scenes, agents = [], [], [], []
    for batch in batches:
        centre = scene_centres(batch.past)
        target = torch.as_tensor(batch.target, device=device)
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
        drawn.append(futures.double().cpu().numpy() + centre[rows, None])
        truth.append(batch.future[batch.target])
        scenes.append(batch.scene[rows])
        agents.append(batch.agent[batch.target])
    scene, agent = np.concatenate(scenes), np.concatenate(agents)
    return np.concatenate(drawn, 1), np.concatenate(truth), scene, agent


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
