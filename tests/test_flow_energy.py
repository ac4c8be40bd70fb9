"""The energy objective: a score of one-step draws whose minimiser is the data's distribution."""

import itertools

import pytest
import torch

from trajflow.flow import LogitNormalTimes
from trajflow.flow.objectives import Curriculum, EnergyObjective
from trajflow.flow.path import beside


def objective(share=0.0):
    return EnergyObjective(LogitNormalTimes(0.5, rows=True), Curriculum(0, 1), flow_share=share)


def test_it_is_the_energy_score_of_the_draws_without_bias():
    """Draws that are known, against sums over all pairs by hand; all sizes differ."""
    torch.manual_seed(3)
    count, agents, size = 5, 4, 3
    drawn = torch.randn(count, agents, size, dtype=torch.float64)
    truth = torch.randn(agents, size, dtype=torch.float64)
    counts = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)

    def u(x, r, t):
        return x - drawn if len(x) == count else torch.zeros_like(x)

    loss = objective()(u, truth.expand_as(drawn), 0.5, 2, counts)
    weight = counts**4 / (counts**4).sum()
    for agent in range(agents):

        def distance(one, other):
            return float((weight * (one - other).square()).sum().sqrt())

        own = drawn[:, agent]
        away = sum(distance(one, truth[agent]) for one in own) / count
        pairs = [distance(one, other) for one, other in itertools.permutations(own, 2)]
        expected = away - sum(pairs) / len(pairs) / 2
        assert float(loss[:, agent].mean()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_its_minimiser_has_the_two_modes_of_the_data(share):
    """Data is -1 or 1; the best map of noise to data is its sign, not its mean."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 48), torch.nn.Tanh(), torch.nn.Linear(48, 48), torch.nn.Tanh(),
        torch.nn.Linear(48, 1),
    )  # fmt: skip

    def u(x, r, t):
        return net(torch.cat([x, beside(r, x), beside(t, x)], -1))

    optimiser = torch.optim.Adam(net.parameters(), 6e-3)
    for step in range(300):
        data = torch.randint(0, 2, (1, 200, 1)).float().mul(2).sub(1).expand(4, 200, 1)
        loss = objective(share)(u, data, step / 300, axes=2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    noise = torch.randn(2000, 1)
    with torch.no_grad():
        drawn = noise - u(noise, torch.zeros(2000), torch.ones(2000))
    near = (drawn.abs() - 1).abs() < 0.35
    assert float(near.float().mean()) > 0.85
    assert abs(float((drawn > 0).float().mean()) - 0.5) < 0.06


def test_one_draw_has_no_pairs_and_is_refused_before_anything_is_written(
    trajflow, fork, tiny, tmp_path
):
    words = ["train", fork, "--out", tmp_path / "run", *tiny, "--preset", "energy"]
    code, _, said = trajflow(*words, "--set", "train.noise_samples=1")
    assert code == 2
    assert "train.noise_samples=2" in said
    assert not (tmp_path / "run").exists()
    assert trajflow(*words)[0] == 0
