"""A few futures that stand for many draws, and their weights; one file of this folder, one rule.

A chosen set is not a sample: its members are apart on purpose, and only their weights say how
likely each is. A rule is a function `select(draws, count)` from draws [N, S, F, D] of N agents to
the K = count futures of each, [N, K, F, D]; agents do not know each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from trajflow.errors import ConfigError, did_you_mean
from trajflow.selection._merged import merged
from trajflow.selection._paths import nearest, shares

Rule = Callable[[Tensor, int], Tensor]

BLOCK = 1 << 18
"""Numbers of the draws that a processor chooses from at once: what its cache holds."""
LARGE = 1 << 26
"""The same of an accelerator: what its memory holds many times."""


@dataclass(frozen=True)
class Chosen:
    """K futures of each of N agents.

    Attributes:
        samples: Positions, [K, N, F, D].
        weights: Share of the draws to which each is nearest, [K, N]; an agent's sum to one.
    """

    samples: Tensor
    weights: Tensor


def available() -> list[str]:
    """Names of the rules; a file in this folder is one, unless its name starts with _."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem[0] != "_")


def load(name: str) -> Rule:
    """The `select` of a rule: draws [N, S, F, D] and a count in, [N, K, F, D] out.

    Args:
        name: One of `available()`.

    Raises:
        ConfigError: There is no such rule.

    Example:
        >>> from trajflow.selection import load
        >>> load("kmean")
        Traceback (most recent call last):
        ...
        trajflow.errors.ConfigError: no selection 'kmean'; did you mean 'kmeans'? \
(there are kmeans, medians, medoids)
    """
    if name not in available():
        raise ConfigError(did_you_mean("selection", name, available()))
    select: Rule = import_module(f"{__name__}.{name}").select
    return select


@torch.no_grad()
def choose(draws: Tensor, count: int, rule: str) -> Chosen:
    """The `count` futures of each agent that stand best for its draws, in a rule's sense.

    Nothing is left to chance, and no agent's set depends on the others. The order of an agent's
    draws may matter: rules start from the first ones, which are as good as any.

    Args:
        draws: Positions of exchangeable draws, [S, N, F, D].
        count: Futures K of each agent.
        rule: One of `available()`.

    Raises:
        ConfigError: There is no such rule, or there are fewer draws than futures wanted.
    """
    select = load(rule)
    if not 1 <= count <= len(draws):
        raise ConfigError(
            f"cannot choose {count} of {len(draws)} draws; choose 1 at least, and draw as many"
        )
    each = draws[:, :1].numel()
    size = max(1, (BLOCK if draws.device.type == "cpu" else LARGE) // max(1, each))
    blocks = [_chosen(block, count, select) for block in torch.split(draws, size, 1)]
    return Chosen(
        torch.cat([one.samples for one in blocks], 1), torch.cat([one.weights for one in blocks], 1)
    )


def _chosen(draws: Tensor, count: int, select: Rule) -> Chosen:
    rows = draws.transpose(0, 1)
    middle = rows.mean(1, keepdim=True)
    # Squares of positions far from the origin would swallow the distances between paths.
    centred = (rows - middle).contiguous()
    futures = select(centred, count)
    weights = shares(nearest(centred, futures), count, draws)
    return Chosen((futures + middle).transpose(0, 1), weights.T)


@torch.no_grad()
def merge(sets: Sequence[Chosen]) -> Chosen:
    """Sets of K weighted futures of the same agents as one such set; see `_merged`."""
    rows = torch.cat([one.samples for one in sets]).transpose(0, 1)
    weights = torch.cat([one.weights for one in sets]).T / len(sets)
    middle = rows.mean(1, keepdim=True)
    futures, shares = merged(rows - middle, weights, len(sets[0].samples))
    return Chosen((futures + middle).transpose(0, 1), shares.T)
