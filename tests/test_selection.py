"""Chosen sets: what each rule minimises, what must not change it, and weights that sum to one."""

import pytest
import torch

from trajflow.errors import ConfigError
from trajflow.selection import choose, kmeans


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def fans(agents=3, draws=60, horizon=5, dims=2, seed=0):
    """Draws [S, N, F, D] that wander off from the origin, wider with every step."""
    shape = (draws, agents, horizon, dims)
    return torch.randn(shape, generator=chance(seed), dtype=torch.float64).cumsum(2)


def expected_errors(draws, futures):
    """E min ADE and E min FDE of futures [K, N, F, D] over draws [S, N, F, D], each [N]."""
    apart = (draws[:, None] - futures[None]).norm(dim=-1)
    return apart.mean(-1).amin(1).mean(0), apart[..., -1].amin(1).mean(0)


def test_weights_are_shares_of_the_draws():
    draws = fans()
    chosen = choose(draws, 7)
    assert chosen.samples.shape == (7, 3, 5, 2)
    assert chosen.weights.shape == (7, 3)
    apart = (draws[:, None] - chosen.samples[None]).flatten(3).norm(dim=-1)
    nearest = torch.nn.functional.one_hot(apart.argmin(1), 7).double().mean(0)
    torch.testing.assert_close(chosen.weights, nearest.T)
    torch.testing.assert_close(chosen.weights.sum(0), torch.ones(3).double())


def test_a_set_moves_and_turns_with_the_draws():
    draws = fans()
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    shift = torch.tensor([300.0, -70.0], dtype=torch.float64)
    there = choose(draws @ turn + shift, 6)
    here = choose(draws, 6)
    torch.testing.assert_close(there.samples, here.samples @ turn + shift)
    torch.testing.assert_close(there.weights, here.weights)


def test_an_agents_set_does_not_depend_on_the_others(monkeypatch):
    draws = fans(agents=5)
    together = choose(draws, 4)
    alone = choose(draws[:, 2:3], 4)
    torch.testing.assert_close(together.samples[:, 2:3], alone.samples)
    monkeypatch.setattr("trajflow.selection.BLOCK", 2 * draws[:, 0].numel())
    blocks = choose(draws, 4)
    torch.testing.assert_close(blocks.samples, together.samples)
    torch.testing.assert_close(blocks.weights, together.weights)


def test_distant_single_precision_draws_lose_nothing():
    draws = fans()
    far = choose((draws + 4096).float(), 5).samples.double() - 4096
    torch.testing.assert_close(far, choose(draws, 5).samples, atol=2e-2, rtol=0)


def test_as_many_as_there_are_draws_are_the_draws():
    draws = fans(draws=6)
    chosen = choose(draws, 6)
    for agent in range(3):
        apart = (draws[:, None, agent] - chosen.samples[None, :, agent]).flatten(2).norm(dim=-1)
        assert apart.amin(1).max() < 1e-6
        torch.testing.assert_close(chosen.weights[:, agent], torch.full((6,), 1 / 6).double())


def test_draws_that_are_all_alike_are_no_trouble():
    draws = torch.ones(9, 2, 5, 3)
    chosen = choose(draws, 4)
    torch.testing.assert_close(chosen.samples, torch.ones(4, 2, 5, 3))
    torch.testing.assert_close(chosen.weights.sum(0), torch.ones(2))


def test_chosen_futures_beat_plain_draws_on_draws_not_seen():
    draws, fresh = fans(draws=300), fans(draws=400, seed=1)
    path, end = expected_errors(fresh, choose(draws, 10).samples)
    plain_path, plain_end = expected_errors(fresh, draws[:10])
    assert path.mean() < 0.95 * plain_path.mean()
    assert end.mean() < 0.95 * plain_end.mean()


def test_clear_clusters_are_found_with_their_shares():
    goals = torch.tensor([[-30.0, 0.0], [0.0, 50.0], [40.0, 10.0]])
    share = torch.tensor([10, 20, 30])
    steps = torch.linspace(0.2, 1, 5)[:, None]
    paths = torch.cat(
        [(goal * steps).expand(n, 5, 2) for goal, n in zip(goals, share, strict=True)]
    )
    mixed = paths[torch.randperm(60, generator=chance(3))]
    start = torch.cat([paths[[0, 10, 30]], mixed])[:, None]
    chosen = choose(start + 0.01 * torch.randn(start.shape, generator=chance()), 3)
    order = chosen.samples[:, 0, -1, 0].argsort()
    torch.testing.assert_close(chosen.samples[order, 0, -1], goals, atol=0.1, rtol=0)
    expected = (share + 1) / 63
    torch.testing.assert_close(chosen.weights[order, 0], expected)


def test_a_mean_that_nobody_is_nearest_to_stays_where_it_was():
    draws = fans(agents=1, draws=30) + 40
    draws[1] = draws[0]
    means = kmeans(draws.transpose(0, 1), 5)
    apart = (means[0, :, None] - draws[None, :, 0]).flatten(2).norm(dim=-1)
    assert apart.amin(1).max() < 15


def test_one_mean_is_the_mean():
    draws = fans(draws=201)
    torch.testing.assert_close(choose(draws, 1).samples[0], draws.mean(0))


def test_a_count_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="cannot choose 61 of 60"):
        choose(fans(), 61)
    with pytest.raises(ConfigError, match="cannot choose 0 of 60"):
        choose(fans(), 0)
