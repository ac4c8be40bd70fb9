"""A velocity and its slope along a direction, by its own hand where it can, else by forward AD."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from trajflow.flow.path import Velocity


class Along(NamedTuple):
    """A velocity and its derivative along a direction, both [*, ...]."""

    value: Tensor
    slope: Tensor


@runtime_checkable
class Differentiable(Protocol):
    """An average velocity that knows its own forward derivative."""

    def along(
        self,
        point: tuple[Tensor, Tensor, Tensor],
        direction: tuple[Tensor, Tensor, Tensor],
        still: bool,
    ) -> Along | None:
        """The velocity at (x, r, t) and its slope along (dx, dr, dt); None where it cannot.

        Args:
            point: x [*, ...], r [*], t [*].
            direction: How they move, of the same shapes.
            still: Whether nobody will ask for the gradient of the slope.
        """


def along(
    u: Velocity,
    point: tuple[Tensor, Tensor, Tensor],
    direction: tuple[Tensor, Tensor, Tensor],
    still: bool = False,
) -> Along:
    """The velocity at (x, r, t) and its slope along (dx, dr, dt).

    Args:
        u: Average velocity.
        point: x [*, ...], r [*], t [*].
        direction: How they move, of the same shapes.
        still: Whether nobody will ask for the gradient of the slope, which saves work.
    """
    known = u.along(point, direction, still) if isinstance(u, Differentiable) else None
    return known or Along(*torch.func.jvp(u, point, direction))
