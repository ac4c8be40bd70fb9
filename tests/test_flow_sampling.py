"""Facts about going from noise to data."""

import pytest
import torch
from test_flow_objective import gaussian_average
from torch import nn

from trajflow.flow import Curriculum, MeanFlowObjective, UniformTimes, instantaneous, sample


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_exact_average_velocity_reaches_the_data_in_any_number_of_steps(steps):
    noise = torch.randn(6, 3, dtype=torch.float64)
    data = sample(gaussian_average(0.7), noise, steps)
    assert torch.allclose(data, 0.7 * noise, atol=1e-9)


def test_one_step_is_the_rule_of_the_paper():
    noise = torch.randn(4, 2, 3)

    def u(x, r, t):
        return x * 0.25 + r.reshape(-1, 1, 1) - t.reshape(-1, 1, 1)

    assert torch.allclose(sample(u, noise), noise - (noise * 0.25 - 1))


def test_an_instantaneous_field_never_hears_of_the_start_of_the_interval():
    heard = []

    def u(x, r, t):
        heard.append(torch.equal(r, t))
        return x

    sample(instantaneous(u), torch.randn(3, 2), steps=4)
    assert heard == [True] * 4


class Slope(nn.Module):
    """u(x, r, t) = a(r, t) x, all that a centred Gaussian needs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1)).double()

    def forward(self, x, r, t):
        return x * self.net(torch.stack([r, t], -1))


@pytest.mark.parametrize(("tangent", "low", "high"), [("marginal", 0.6, 0.8), ("path", 0.2, 0.45)])
def test_lambda_one_keeps_the_spread_only_with_the_marginal_tangent(tangent, low, high):
    """Data N(0, 0.7^2): with the path's own tangent the samples collapse, as derived."""
    field = Slope()
    objective = MeanFlowObjective(UniformTimes(0.5), Curriculum(1.0, 1.0), tangent=tangent)
    optimiser = torch.optim.Adam(field.parameters(), 5e-3)
    chance = torch.Generator().manual_seed(0)
    for _ in range(600):
        data = 0.7 * torch.randn(256, 1, dtype=torch.float64, generator=chance)
        loss = objective(field, data, 1.0, generator=chance).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        noise = torch.randn(4000, 1, dtype=torch.float64, generator=chance)
        r, t = torch.zeros(4000).double(), torch.ones(4000).double()
        spread = (noise - field(noise, r, t)).std().item()
    assert low < spread < high
