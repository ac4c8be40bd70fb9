"""What there is to see of pasts: how agents moved, and what the trained model makes of it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trajflow.batch import Bools, Floats, Ints
from trajflow.flow import sample
from trajflow.frames import Frame
from trajflow.model import TrajectoryModel
from trajflow.noise_set import spread_normals
from trajflow.surprise.motion import Motion
from trajflow.tensors import scene_centres, to_tensor

DRAWS, AGAIN = 4, 2
"""Futures of each agent that the model's scores are made of, always from the same noise, and how
many of them are drawn again in twice the evaluations."""
TINY = 1e-4
"""Distances that count as none, as a share of an agent's pace."""


@dataclass(frozen=True)
class Sight:
    """N agents as the scores see them.

    Attributes:
        motion: Their observed steps.
        context: What the encoder makes of their pasts, [N, H].
        spread: Logarithm of the spread of futures, over an agent's own pace, [N].
        agreement: Logarithm of the distance between futures of the same noise in one and in two
            evaluations, over their spread, [N].
        foretold: Logarithm of the energy score, over an agent's own pace, of the last steps of the
            past under the model's forecast from the steps before, [N]; NaN if none of them was
            seen.
    """

    motion: Motion
    context: Floats
    spread: Floats
    agreement: Floats
    foretold: Floats

    def __len__(self) -> int:
        """How many agents, N."""
        return len(self.context)

    def take(self, rows: Ints | Bools) -> "Sight":
        """Some of the agents."""
        rest = (self.context, self.spread, self.agreement, self.foretold)
        return Sight(self.motion.take(rows), *(one[rows] for one in rest))


def joined(sights: list[Sight]) -> Sight:
    """All agents of several sights of the same model."""
    motions = [one.motion for one in sights]
    seen, moves, turns = (
        np.concatenate([getattr(m, name) for m in motions]) for name in ("seen", "moves", "turns")
    )
    names = ("context", "spread", "agreement", "foretold")
    rest = (np.concatenate([getattr(one, name) for one in sights]) for name in names)
    motion = replace(motions[0], seen=seen, moves=moves, turns=turns)
    return Sight(motion, *rest)


@torch.inference_mode()
def look(
    model: TrajectoryModel, past: Floats, target: Bools, dt: float = 0.0, length: str = ""
) -> Sight:
    """What there is to see of the N targets of pasts [B, A, T, D], target [B, A].

    Nothing is left to chance: every agent's futures start from the same noise, so that neither
    the order of agents nor the others of a batch matter.

    Args:
        model: What looks.
        past: World positions; NaN where not seen.
        target: Who is looked at.
        dt: Seconds per step, for what is said of a pace.
        length: Unit of the positions, for what is said of a distance.
    """
    device = model.scaling.unit.device
    points = to_tensor(past, scene_centres(past), device)
    wanted = torch.as_tensor(target, device=device)
    motion = Motion.of(past[target], float(model.scaling.unit), dt, length)
    unit = torch.as_tensor(motion.unit, dtype=points.dtype, device=device)
    context, frame = model.context(points, wanted)
    once = 1 if model.architecture.average else 4
    one = _futures(model, context, frame, wanted, once)
    two = _futures(model, context, frame, wanted, 2 * once, AGAIN)
    spread = _length(one - one.mean(0)).square().mean((0, -1)).sqrt()
    apart = _length(one[:AGAIN] - two).mean((0, -1))
    return Sight(
        motion=motion,
        context=_plain(context[wanted]),
        spread=_log(spread / unit),
        agreement=_log(apart / (spread + TINY * unit)),
        foretold=_log(_foretold(model, points, wanted) / unit),
    )


def _futures(
    model: TrajectoryModel,
    context: Tensor,
    frame: Frame,
    target: Tensor,
    steps: int,
    draws: int = DRAWS,
) -> Tensor:
    """Futures of the targets, [S, N, F, D], each agent's from the same noise."""
    noise = spread_normals(DRAWS, model.scaling.components)[:draws].to(context)
    if not model.architecture.joint:
        each = noise[:, None].expand(-1, int(target.sum()), -1)
        return model.futures(context[target], frame.take(target), each, steps)
    whole = noise[:, None, None].expand(-1, *target.shape, -1)
    event: Tensor = sample(model.velocity(context, target), whole, steps, axes=2)[:, target]
    rest = event.new_zeros(*event.shape[:-1], model.scaling.size)
    return model.scaling.future(frame.take(target), event, rest)


def _foretold(model: TrajectoryModel, past: Tensor, target: Tensor) -> Tensor:
    """Energy score of the last half of pasts under forecasts from the first half, [N]."""
    ahead = min(past.shape[2] // 2, model.architecture.horizon)
    score = past.new_full((int(target.sum()),), torch.nan)
    if not ahead:
        return score
    early = torch.cat([torch.full_like(past[:, :, :ahead], torch.nan), past[:, :, :-ahead]], 2)
    known = target & early.isfinite().all(-1).any(-1)
    truth = past[:, :, -ahead:][known]
    seen = truth.isfinite().all(-1)
    context, frame = model.context(early, known)
    drawn = _futures(model, context, frame, known, 1 if model.architecture.average else 4)
    paths = torch.where(seen[..., None], drawn[:, :, :ahead], 0).flatten(2)
    truth = torch.where(seen[..., None], truth, 0).flatten(1)
    near = (paths - truth).norm(dim=-1).mean(0)
    apart = (paths[:, None] - paths).norm(dim=-1).sum((0, 1)) / (len(paths) * (len(paths) - 1))
    energy = (near - apart / 2) / seen.sum(-1).clamp_min(1).sqrt()
    score[known[target]] = torch.where(seen.any(-1), energy, torch.nan)
    return score


def _length(vectors: Tensor) -> Tensor:
    length: Tensor = vectors.norm(dim=-1)
    return length


def _log(ratio: Tensor) -> Floats:
    return _plain(ratio.clamp_min(TINY).log())


def _plain(values: Tensor) -> Floats:
    return np.asarray(values.double().cpu().numpy())
