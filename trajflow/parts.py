"""Forecasts in as many parts as the memory there is asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from trajflow.errors import TrajflowError
from trajflow.model import TrajectoryModel

SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def forecast_within(
    model: TrajectoryModel,
    past: Tensor,
    target: Tensor,
    samples: int,
    steps: int,
    seed: int,
    rate: Tensor,
    temperature: float,
) -> Tensor:
    """Futures of the targets, [S, N, F, D], as `TrajectoryModel.forecast` draws them.

    Where memory does not suffice for all of them at once, half as many are computed at a time, and
    so on. An independent model starts from the same noise then; a joint one draws it scene by
    scene.

    Args:
        model: What draws.
        past: World positions, [B, A, T, D]; not finite where unseen.
        target: Agents to forecast, [B, A].
        samples: Draws S.
        steps: Network evaluations per draw.
        seed: Seed of the noise.
        rate: Seconds per step over those that are usual, [B].
        temperature: Deviation of the noise.

    Raises:
        TrajflowError: The memory does not suffice for one of them.
    """
    asked = _Asked(past, target, samples, steps, rate, temperature)
    most = len(past) if model.architecture.joint else int(target.sum())
    parts = 1
    while True:
        noise = torch.Generator(past.device).manual_seed(seed)
        try:
            if parts == 1:
                return asked.drawn(model, noise)
            cut = asked.by_scenes if model.architecture.joint else asked.by_agents
            return torch.cat(list(cut(model, noise, parts)), 1)
        except (MemoryError, RuntimeError) as error:
            if not short_of_memory(error):
                raise
        if parts >= most:
            raise TrajflowError(
                f"out of memory for {samples} samples of one agent among {target.shape[1]}; "
                "ask for fewer samples, or give fewer neighbours"
            )
        parts = min(most, 2 * parts)


def short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in SIGNS)


@dataclass(frozen=True)
class _Asked:
    past: Tensor
    target: Tensor
    samples: int
    steps: int
    rate: Tensor
    temperature: float

    def drawn(self, model: TrajectoryModel, noise: Generator) -> Tensor:
        """All at once."""
        return model.forecast(
            self.past,
            self.target,
            self.samples,
            self.steps,
            noise,
            self.rate,
            self.temperature,
        )

    def by_scenes(self, model: TrajectoryModel, noise: Generator, parts: int) -> Iterator[Tensor]:
        """So many scenes at a time."""
        for some in torch.arange(len(self.past), device=self.past.device).chunk(parts):
            cut = {name: getattr(self, name)[some] for name in ("past", "target", "rate")}
            yield replace(self, **cut).drawn(model, noise)

    def by_agents(self, model: TrajectoryModel, noise: Generator, parts: int) -> Iterator[Tensor]:
        """So many agents at a time, from the noise that they would have had at once."""
        past, target, rows = self.past, self.target, self.target.nonzero()
        shape = (self.samples, len(rows), model.scaling.size)
        whole = torch.randn(*shape, dtype=past.dtype, device=past.device, generator=noise)
        for some in torch.arange(len(rows), device=past.device).chunk(parts):
            scenes, own = rows[some, 0].unique(return_inverse=True)  # type: ignore[no-untyped-call]
            mine = torch.zeros_like(target[scenes])
            mine[own, rows[some, 1]] = True
            context, frame = model.context(past[scenes], mine, self.rate[scenes])
            started = self.temperature * whole[:, some]
            yield model.futures(context[mine], frame.take(mine), started, self.steps)
