"""Draw many futures of a model's agents and keep the few that stand best for them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trajflow.errors import ConfigError
from trajflow.forecast import LEARNED as LEARNED
from trajflow.models.learned_samples import LearnedSamples
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.selection import RULES, Chosen, choose
from trajflow.selection import check_rule as check_selection_rule

BUDGET = 1 << 22
"""Numbers of the draws whose noise is made at once."""
ROWS = 1 << 10
"""Draws that a processor evaluates at once: what the decoder holds for them stays in its cache."""
MANY_ROWS = 1 << 18
"""The same of an accelerator."""
USUAL = 20
"""Draws for each future that is wanted, unless said otherwise."""
EDGE = 1e-6
"""Least distance of a level from 0 and 1: noise stays within 4.9 deviations."""


def rules() -> list[str]:
    """Names of all ways to choose."""
    return [*RULES, LEARNED]


def check_rule(name: str) -> None:
    """Refuse a way to choose that there is not.

    Raises:
        ConfigError: The name is unknown, or of a rule that was removed.
    """
    check_selection_rule(name, rules())


def draws_of(rule: str, count: int, draws: int | None = None) -> int:
    """Draws that `count` futures are chosen of, unless said otherwise."""
    if rule == LEARNED:
        return count
    return USUAL * count if draws is None else draws


@dataclass(frozen=True)
class Selection:
    """Which futures are wanted.

    Attributes:
        count: Futures K of each agent.
        rule: How they are chosen, one of `rules()`.
        draws: Draws S they are chosen from.
    """

    count: int
    rule: str
    draws: int

    def __post_init__(self) -> None:
        check_rule(self.rule)
        if not 1 <= self.count <= self.draws:
            raise ConfigError(
                f"cannot choose {self.count} samples of {self.draws} draws; "
                "ask for one sample at least, and for as many draws"
            )


def selection_of(rule: str | None, samples: int, draws: int | None) -> Selection | None:
    """How samples are chosen of draws, or None for plain draws.

    Raises:
        ConfigError: There is no such rule, or the numbers do not fit.
    """
    if rule is not None:
        return Selection(samples, rule, draws_of(rule, samples, draws))
    if draws not in (None, samples):
        raise ConfigError(
            f"{samples} samples of {draws} draws: say by --select how to choose them, "
            "or leave --draws out"
        )
    return None


def chosen_futures(
    model: TrajectoryModel,
    past: Tensor,
    target: Tensor,
    selection: Selection,
    steps: int,
    seed: int,
    offset: Tensor,
    sets: Mapping[int, LearnedSamples] | None = None,
    dt_ratio: Tensor | None = None,
    temperature: float = 1.0,
    memory: Tensor | None = None,
    types: Tensor | None = None,
) -> Chosen:
    """Chosen futures of the targets, [K, N, F, D] and their weights [K, N], world coordinates.

    The draws come of even noise: each is as likely as any, and together they cover the model's
    distribution better than independent ones. Agents are taken some at a time, so memory is
    bounded however many there are.

    Args:
        model: What draws.
        past: World positions, [B, A, T, D]; not finite where unseen.
        target: Agents to forecast, [B, A], each seen at one step at least.
        selection: Which futures are wanted.
        steps: Network evaluations per draw.
        seed: Seed of the noise.
        offset: Numbers in [0, 1) of each target, [N, ...], as many as of its noise are decoded.
        sets: Noise sets that were learned for the model, by their number of futures.
        dt_ratio: Seconds per step over those of the training tracks, [B].
        temperature: Deviation of the noise.
        memory: What is remembered of others, [B, A, K, W, D + 1]; learned noises do not read it.
        types: Codes of the agents' types, [B, A]; learned noises do not read them.

    Raises:
        ConfigError: The model draws the agents of a scene together, or has not learned such a set.
    """
    if model.architecture.joint:
        raise ConfigError(
            f"selection {selection.rule!r} chooses for each agent alone, and the run draws the "
            "agents of a scene together; take plain draws, or train with model.joint=false"
        )
    context, frame = model.context(past, target, dt_ratio)
    reminded = model.with_types(model.with_memory(context, frame, memory), types)
    own, context = context[target], reminded[target]
    frame = frame.take(target)
    if selection.rule == LEARNED:
        noise, weights = _learned(own, selection.count, sets or {})
        return Chosen(model.futures(context, frame, noise), weights)
    each = selection.draws * model.normalizer.size
    at_once = max(1, (ROWS if past.device.type == "cpu" else MANY_ROWS) // selection.draws)
    parts = []
    everybody = torch.arange(len(context), device=past.device)
    for agents in torch.split(everybody, BUDGET // each or 1):
        noise = even_noise(selection.draws, offset[agents], seed)
        noise = temperature * noise.to(past.dtype)
        blocks = zip(torch.split(agents, at_once), torch.split(noise, at_once, 1), strict=True)
        for rows, own_noise in blocks:
            draws = model.futures(context[rows], frame.take(rows), own_noise, steps)
            parts.append(choose(draws, selection.count, selection.rule))
    return Chosen(
        torch.cat([part.samples for part in parts], 1),
        torch.cat([part.weights for part in parts], 1),
    )


def _learned(
    context: Tensor, count: int, sets: Mapping[int, LearnedSamples]
) -> tuple[Tensor, Tensor]:
    """Learned noises and the weights of their futures."""
    if count not in sets:
        counts = ", ".join(map(str, sorted(sets))) or "none"
        raise ConfigError(
            f"no learned set of {count} futures (there are: {counts}); learn one by "
            f"`trajflow fit RUN DATA samples --count {count}`, or choose by "
            f"{', '.join(RULES)}"
        )
    noise, log_weight = sets[count](context)
    return noise, log_weight.exp()


def even_noise(draws: int, offset: Tensor, seed: int) -> Tensor:
    """Normal numbers of S draws of N agents, [S, N, ...] with as many numbers as an offset has.

    Every single draw is normal, and the draws of one agent are spread evenly, so that means over
    them err less than over independent ones: they are a scrambled Sobol sequence, moved round by
    an offset of each agent's own. The draws of two agents with the same number belong no more
    together than others do, but all pairs of them depend on each other: they are no joint samples.

    Args:
        draws: How many S, best a power of two or many.
        offset: Uniform numbers in [0, 1) of each agent, [N, ...]; the noise is where they are.
        seed: Seed of the scramble, which all agents share.

    Source: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points"; Cranley, Patterson 1976,
    "Randomization of number theoretic methods for multiple integration".
    """
    size = offset.shape[1]
    engine = torch.quasirandom.SobolEngine(size, scramble=True, seed=seed % 2**31)  # type: ignore[no-untyped-call]
    points = engine.draw(draws).to(offset)
    level = (points[:, None] + offset).remainder_(1).clamp_(EDGE, 1 - EDGE)
    return level.mul_(2).sub_(1).erfinv_().mul_(2**0.5)
