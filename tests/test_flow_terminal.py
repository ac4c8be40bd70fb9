"""Facts about terminal velocity matching, against a flow known by hand."""

import pytest
import torch

from trajflow.flow import LogitNormalTimes, TerminalObjective, sample, terminal_velocity
from trajflow.flow.objectives import Curriculum
from trajflow.flow.path import beside

DEVIATION = 0.6


def scale(t):
    """Deviation at time t of data N(0, DEVIATION^2) on its way to N(0, 1)."""
    return ((1 - t) ** 2 * DEVIATION**2 + t**2).sqrt()


def exact(x, r, t):
    """Average velocity of that flow; its limit where the times meet."""
    slope = (t - (1 - t) * DEVIATION**2) / scale(t) ** 2
    gap = t - r
    average = (1 - scale(r) / scale(t)) / torch.where(gap > 0, gap, 1)
    return x * beside(torch.where(gap > 0, average, slope), x)


def events(count=7, dims=3):
    torch.manual_seed(2)
    return torch.randn(count, dims, dtype=torch.float64)


def test_the_exact_flow_ends_where_and_as_it_should():
    x, r, t = events(), torch.linspace(0.0, 0.5, 7).double(), torch.linspace(0.6, 1.0, 7).double()
    end, moving = terminal_velocity(exact, x, r, t)
    assert torch.allclose(end, x * beside(scale(r) / scale(t), x))
    assert torch.allclose(moving, exact(end, r, r))


def test_the_motion_of_the_end_is_the_difference_of_ends():
    def u(x, r, t):
        return torch.sin(x + 2 * beside(r, x)) * beside(t, x)

    x, r, t = events(), torch.full((7,), 0.3).double(), torch.full((7,), 0.9).double()
    _, moving = terminal_velocity(u, x, r, t)
    step = 1e-6
    ends = [terminal_velocity(u, x, r + s, t)[0] for s in (-step, step)]
    assert torch.allclose(moving, (ends[1] - ends[0]) / (2 * step), atol=1e-8)


@pytest.mark.parametrize(
    ("equal", "draws"), [(0.0, 4), pytest.param(0.5, 4, marks=pytest.mark.slow), (0.5, 1)]
)
def test_training_on_it_finds_the_deviation_in_one_step(equal, draws):
    torch.manual_seed(1)
    powers = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))

    def u(x, r, t):
        one = torch.ones_like(t)
        basis = [one, t, r, t * t, t * r, r * r, t**3, t * t * r, t * r * r, r**3]
        return x * beside(torch.stack(basis, -1) @ powers, x)

    times = LogitNormalTimes(equal, rows=True)
    objective = TerminalObjective(times, Curriculum(0.0, 0.0))
    optimiser = torch.optim.Adam([powers], 0.05)
    # Without a row where r = t nothing says what the velocity is, so u stays what it was: 0.
    for _ in range(500):
        data = DEVIATION * torch.randn(draws, 800 // draws, 1, dtype=torch.float64)
        loss = objective(u, data, 0.0, axes=2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    deviation = float(sample(u, torch.ones(1, 1, dtype=torch.float64)).detach())
    assert deviation == pytest.approx(DEVIATION if equal else 1.0, abs=0.1)
