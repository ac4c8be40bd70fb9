"""Learned samples: K noises per agent for which the best of K futures is near the truth."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine


@dataclass(frozen=True)
class LearnedSamplesShape:
    """Everything that determines the shapes of the weights of learned samples.

    Attributes:
        context: Width H of a context.
        components: Numbers in a noise.
        count: Number K of noises.
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
    """K noises for each agent, with the probability that each leads nearest to the truth.

    The generator is frozen; only its noise is learned, to minimise the error of the best of K
    futures. Training starts from the same K evenly spread normal numbers for all agents. The noises
    are not random draws: only with their probabilities do they form a distribution.

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
        """Noises [K, N, ...] and their log-probabilities [K, N] for contexts [N, H]."""
        hidden = self.read(context)
        shift = self.move(hidden).reshape(-1, *self.start.shape)
        return (self.start + shift).transpose(0, 1), self.weigh(hidden).log_softmax(-1).T

    def weights(self, context: Tensor) -> Tensor:
        """Probabilities [K, N] for contexts [N, H]."""
        weights: Tensor = self.weigh(self.read(context)).softmax(-1)
        return weights.T


def spread_normals(count: int, components: int) -> Tensor:
    """Evenly spread normal numbers, [K, ...], from a Sobol sequence; always the same."""
    engine = SobolEngine(components, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    level: Tensor = engine.draw(count).clamp(1e-3, 1 - 1e-3)
    return torch.erfinv(2 * level - 1) * 2**0.5


def sample_errors(samples: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and last displacement error of every sample, both [K, N].

    Args:
        samples: Futures of each agent, [K, N, F, D].
        future: True futures, [N, F, D].
    """
    # The root has no gradient at 0, the error of a standing agent forecast exactly.
    error = ((samples - future).square().sum(-1) + 1e-12).sqrt()
    return error.mean(-1), error[..., -1]


def samples_loss(mean: Tensor, last: Tensor, log_weight: Tensor, ends: float = 0.5) -> Tensor:
    """Loss of learned samples, [N].

    It is the least mean error, plus `ends` times the least last error (each of its own sample, as
    in minADE and minFDE), plus a tenth of the negative log-probability of the nearest sample.

    Args:
        mean: Mean error of each sample, [K, N].
        last: Last error of each sample, [K, N].
        log_weight: Log-probability of each sample, [K, N].
        ends: Weight of the last error.
    """
    least, index = mean.min(0)
    negative_log_probability = -log_weight.gather(0, index.unsqueeze(0))[0]
    return least + ends * last.amin(0) + 0.1 * negative_log_probability
