"""What a training step costs, by objective, beside flow matching."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trajflow.bench.asked import Asked
from trajflow.bench.latency import Rows, Tell
from trajflow.bench.network import new_model
from trajflow.bench.scenes import batch
from trajflow.bench.timing import Case, take_turns
from trajflow.config import Config
from trajflow.flow import MeanFlowObjective
from trajflow.tensors import scene_centres, to_tensor
from trajflow.training.setup import objective_of

CROWD = 16
"""Agents of a scene, all of which are learned from."""
KINDS = (
    ("flow", 1.0, 0.0),
    ("meanflow", 0.75, 0.0),
    ("mmf", 0.75, 0.0),
    ("mmf", 0.75, 1.0),
    ("meanflow", 0.5, 0.0),
    ("mmf", 0.5, 0.0),
    ("mmf", 0.5, 1.0),
)
"""Preset, share of r = t, and lambda."""


def training_steps(asked: Asked, tell: Tell, device: str = "cpu") -> Rows:
    """One row for each objective: a whole step, and how many times as long as flow matching."""
    data = _Data.of(asked.batch, torch.device(device))
    cases = [_case(data, *kind) for kind in KINDS]
    torch.set_num_threads(max(asked.threads))
    times = take_turns(cases, asked.seconds, tell)
    return [
        case.facts
        | each.to_dict()
        | {"steps_per_s": 1e3 / each.to_dict()["p50_ms"]}
        | {"over_flow": each.over(times[0])}
        for case, each in zip(cases, times, strict=True)
    ]


@dataclass(frozen=True)
class _Data:
    """A batch: past [B, A, T, D], future [B, A, F, D], target [B, A]."""

    past: Tensor
    future: Tensor
    target: Tensor

    @classmethod
    def of(cls, targets: int, device: torch.device) -> "_Data":
        some = batch(max(1, targets // CROWD), min(CROWD, targets), 8, 12)
        centre = scene_centres(some.past)
        past, future = (to_tensor(one, centre, device) for one in (some.past, some.future))
        return cls(past, future, torch.as_tensor(some.target, device=device))


class _Step:
    """Training steps as `Trainer` makes them, on one batch."""

    def __init__(self, data: _Data, objective: MeanFlowObjective, progress: float) -> None:
        self.data, self.objective, self.progress = data, objective, progress
        settings = Config().train
        self.draws, self.clip = settings.draws, settings.clip
        self.model = new_model().to(data.past.device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-5, betas=(0.9, 0.95))
        self.generator = torch.Generator(data.past.device).manual_seed(0)

    def __call__(self) -> float:
        data = self.data
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.model(
            data.past,
            data.future,
            data.target,
            self.objective,
            self.progress,
            self.draws,
            self.generator,
        )
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        return float(norm)


def _case(data: _Data, preset: str, equal: float, weight: float) -> Case:
    settings = Config.from_dict({"flow": {"preset": preset, "equal": equal}}).flow
    facts: dict[str, Any] = {
        "preset": preset,
        "r_below_t": 1 - equal,
        "lambda": weight,
        "batch": int(data.target.sum()),
    }
    return Case(facts, _Step(data, objective_of(settings), progress=weight))
