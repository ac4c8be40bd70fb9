"""A learned set of noises: which K futures of a one-step generator serve best as a set."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine


@dataclass(frozen=True)
class LearnedSamplesShape:
    """Everything that fixes the shapes of a noise set's weights.

    Attributes:
        context: Width H of a context.
        components: Numbers in a noise.
        count: Noises K in a set.
        width: Width of the network.
    """

    context: int
    components: int
    count: int = 20
    width: int = 256

    def to_dict(self) -> dict[str, int]:
        """The shape as JSON values."""
        return asdict(self)


class LearnedSamples(nn.Module):
    """K noises for each agent, and how likely each leads nearest to what will happen.

    The generator stays as it is; only where its noise comes from is learned, so that the best of K
    futures is as near as it can be. The noises start as the same K well spread normal draws for
    everybody. They are a set, not draws: the weights make a distribution of them.

    Source: Bae, Park, Jeon, Non-Probability Sampling Network for Stochastic Human Trajectory
    Prediction, 2022, for the idea of learning the noise of a frozen generator.
    """

    def __init__(self, shape: LearnedSamplesShape) -> None:
        super().__init__()
        self.shape = shape
        self.read = nn.Sequential(
            nn.Linear(shape.context, shape.width),
            nn.SiLU(),
            nn.Linear(shape.width, shape.width),
            nn.SiLU(),
        )
        self.move = nn.Linear(shape.width, shape.count * shape.components)
        self.weigh = nn.Linear(shape.width, shape.count)
        self.start = nn.Parameter(spread_normals(shape.count, shape.components))
        for layer in (self.move, self.weigh):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Noises [K, N, ...] and the logarithms of their weights [K, N], of contexts [N, H]."""
        hidden = self.read(context)
        moved = self.move(hidden).unflatten(-1, self.start.shape)
        return (self.start + moved).transpose(0, 1), self.weigh(hidden).log_softmax(-1).T


def spread_normals(count: int, components: int) -> Tensor:
    """Normal numbers that fill their space evenly, [K, ...]; always the same."""
    engine = SobolEngine(components, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    level: Tensor = engine.draw(count).clamp(1e-3, 1 - 1e-3)
    return torch.erfinv(2 * level - 1) * 2**0.5


def sample_errors(samples: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and last displacement error of every sample, both [K, N].

    Args:
        samples: Futures of each agent, [K, N, F, D].
        future: What happened, [N, F, D].
    """
    # The root has no gradient at 0, where a standing agent is forecast exactly.
    error = ((samples - future).square().sum(-1) + 1e-12).sqrt()
    return error.mean(-1), error[..., -1]


def samples_loss(mean: Tensor, last: Tensor, log_weight: Tensor, ends: float = 0.5) -> Tensor:
    """What a set leaves to be desired, [N].

    The least mean error, plus `ends` times the least last error, each of its own sample as in
    minADE and minFDE, plus a tenth of the surprise at which sample came nearest.

    Args:
        mean: Mean error of each sample, [K, N].
        last: Last error of each sample, [K, N].
        log_weight: Logarithm of each sample's weight, [K, N].
        ends: What the last error counts.
    """
    nearest, who = mean.min(0)
    surprise = -log_weight.gather(0, who.unsqueeze(0))[0]
    return nearest + ends * last.amin(0) + 0.1 * surprise
