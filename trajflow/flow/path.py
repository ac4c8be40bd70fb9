"""The straight path from data to noise: a point on it and its velocity."""

from collections.abc import Callable

from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""u(x [*, ...], r [*], t [*]) -> [*, ...]: one pair of times for each event of x."""


def beside(time: Tensor, x: Tensor) -> Tensor:
    """Times [*] with the trailing axes that let them multiply x [*, ...]."""
    return time.reshape(time.shape + (1,) * (x.ndim - time.ndim))


def linear_path(data: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Point x_t = (1 - t) data + t noise and the path's own velocity noise - data.

    Args:
        data: Events at t = 0, [*, ...].
        noise: Events at t = 1, [*, ...].
        t: Time of each event, [*].

    Returns:
        x_t and v_t, both [*, ...].
    """
    time = beside(t, data)
    return (1 - time) * data + time * noise, noise - data
