"""Normal noise that fills its space more evenly than independent draws do."""

import torch
from torch import Generator, Tensor

EDGE = 1e-6
"""Least distance of a level from 0 and 1: noise stays within 4.9 deviations."""


def even_noise(draws: int, agents: int, size: int, generator: Generator) -> Tensor:
    """Normal numbers of S draws of N agents, [S, N, ...] with `size` numbers each.

    Every single draw is normal, and the draws of one agent are spread evenly, so that means over
    them err less than over independent ones: they are a scrambled Sobol sequence, moved round by
    an offset of each agent's own. The draws of two agents with the same number belong no more
    together than others do, but all pairs of them depend on each other: they are no joint samples.

    Args:
        draws: How many S, best a power of two or many.
        agents: How many N.
        size: Numbers of one draw.
        generator: Source of the scramble and the offsets; where it is, the noise will be.

    Source: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points"; Cranley, Patterson 1976,
    "Randomization of number theoretic methods for multiple integration".
    """
    device = generator.device
    seed = int(torch.randint(2**31, (), generator=generator, device=device))
    engine = torch.quasirandom.SobolEngine(size, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    points = engine.draw(draws).to(device)
    offset = torch.rand(agents, size, generator=generator, device=device)
    level = (points[:, None] + offset).remainder_(1).clamp_(EDGE, 1 - EDGE)
    return level.mul_(2).sub_(1).erfinv_().mul_(2**0.5)
