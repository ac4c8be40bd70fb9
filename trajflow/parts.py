"""Forecasts in as many parts as the memory there is asks for."""

from __future__ import annotations

from collections.abc import Iterator

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
    most = len(past) if model.architecture.joint else int(target.sum())
    parts = 1
    while True:
        noise = torch.Generator(past.device).manual_seed(seed)
        try:
            if parts == 1:
                return model.forecast(past, target, samples, steps, noise, rate, temperature)
            cut = _scenes if model.architecture.joint else _agents
            told = cut(model, past, target, samples, steps, noise, rate, temperature, parts)
            return torch.cat(list(told), 1)
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


def _agents(
    model: TrajectoryModel,
    past: Tensor,
    target: Tensor,
    samples: int,
    steps: int,
    generator: Generator,
    rate: Tensor,
    temperature: float,
    parts: int,
) -> Iterator[Tensor]:
    rows = target.nonzero()
    shape = (samples, len(rows), model.scaling.size)
    noise = torch.randn(*shape, dtype=past.dtype, device=past.device, generator=generator)
    for some in torch.arange(len(rows), device=past.device).chunk(parts):
        scenes, own = rows[some, 0].unique(return_inverse=True)  # type: ignore[no-untyped-call]
        asked = torch.zeros_like(target[scenes])
        asked[own, rows[some, 1]] = True
        context, frame = model.context(past[scenes], asked, rate[scenes])
        mine = temperature * noise[:, some]
        yield model.futures(context[asked], frame.take(asked), mine, steps)


def _scenes(
    model: TrajectoryModel,
    past: Tensor,
    target: Tensor,
    samples: int,
    steps: int,
    generator: Generator,
    rate: Tensor,
    temperature: float,
    parts: int,
) -> Iterator[Tensor]:
    for some in torch.arange(len(past), device=past.device).chunk(parts):
        yield model.forecast(
            past[some], target[some], samples, steps, generator, rate[some], temperature
        )
