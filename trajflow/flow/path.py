"""The straight path from data to noise."""

from collections.abc import Callable

from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""u(x [*, ...], r [*], t [*]) -> [*, ...]: each event of x has its own pair of times."""


def beside(time: Tensor, x: Tensor) -> Tensor:
    """Times [*] with trailing axes of size one, to broadcast with x [*, ...]."""
    return time.reshape(time.shape + (1,) * (x.ndim - time.ndim))


def linear_path(data: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Point x_t = (1 - t) data + t noise and the velocity of the path, noise - data.

    Source: Lipman et al., Flow Matching for Generative Modeling, 2023, eq. 22, with time reversed.

    Args:
        data: Events at t = 0, [*, ...].
        noise: Events at t = 1, [*, ...].
        t: Time of each event, [*].

    Returns:
        x_t and v_t, both [*, ...].

    Example:
        >>> import torch
        >>> from trajflow.flow import linear_path
        >>> linear_path(torch.zeros(1), torch.tensor([2.0]), torch.tensor([0.25]))
        (tensor([0.5000]), tensor([2.]))
    """
    time = beside(t, data)
    return (1 - time) * data + time * noise, noise - data
