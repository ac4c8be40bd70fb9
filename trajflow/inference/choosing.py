"""How samples are chosen from more draws: the rules, and which numbers go together."""

from collections.abc import Sequence
from dataclasses import dataclass

from trajflow.errors import ConfigError, did_you_mean

RULES = ("kmeans",)
LEARNED = "learned"
"""Not a choice from draws: noises that `trajflow fit RUN DATA samples` has learned."""
DRAWS_EACH = 20
"""Draws for each sample, unless set otherwise."""


def rules() -> list[str]:
    """Names of all ways to choose."""
    return [*RULES, LEARNED]


def check_rule(name: str, names: Sequence[str] = (*RULES, LEARNED)) -> None:
    """Refuse an unknown rule.

    Raises:
        ConfigError: There is no such rule.

    Examples:
        >>> from trajflow.inference.choosing import check_rule
        >>> check_rule("kmean")
        Traceback (most recent call last):
        ...
        trajflow.errors.ConfigError: no selection 'kmean'; did you mean 'kmeans'? \
(there are kmeans, learned)
    """
    if name not in names:
        raise ConfigError(did_you_mean("selection", name, names))


def draws_of(rule: str, count: int, draws: int | None = None) -> int:
    """Draws that `count` samples are chosen from, unless set otherwise."""
    if rule == LEARNED:
        return count
    return DRAWS_EACH * count if draws is None else draws


@dataclass(frozen=True)
class Selection:
    """`count` samples of each agent, chosen by a rule from a number of draws.

    Raises:
        ConfigError: There is no such rule, or there are fewer draws than samples.
    """

    count: int
    rule: str
    draws: int

    def __post_init__(self) -> None:
        check_rule(self.rule)
        if not 1 <= self.count <= self.draws:
            raise ConfigError(
                f"cannot choose {self.count} samples of {self.draws} draws; choose at least one, "
                "and draw as many"
            )


def selection_of(rule: str | None, samples: int, draws: int | None) -> Selection | None:
    """How samples are chosen from draws; None for plain draws.

    Raises:
        ConfigError: There is no such rule, or the numbers do not fit.
    """
    if rule is not None:
        return Selection(samples, rule, draws_of(rule, samples, draws))
    if draws not in (None, samples):
        raise ConfigError(
            f"{samples} samples of {draws} draws: say by `select` (--select) how to choose them, "
            "or leave draws out"
        )
    return None
