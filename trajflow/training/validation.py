"""How a model stands on the validation split: plain draws against what happened."""

from collections.abc import Iterable

import numpy as np
import torch

from trajflow import metrics
from trajflow.models.tensors import memory_tensor, to_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.training import distributed
from trajflow.types import Batch, Floats, Ints, scene_centres


@torch.no_grad()
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
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    mine = []
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
        )
        rows = np.nonzero(batch.target)[0]
        drawn = futures.double().cpu().numpy() + centre[rows, None]
        mine.append((number, drawn, batch.future[batch.target], batch.scene[rows]))
    parts = sorted(distributed.gather(mine), key=lambda part: part[0])

    def scores() -> dict[str, float]:
        _, drawn, truth, scenes = zip(*parts, strict=True)
        return judge(np.concatenate(drawn, 1), np.concatenate(truth), np.concatenate(scenes))

    return distributed.from_first(scores)


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
