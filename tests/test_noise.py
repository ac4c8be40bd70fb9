"""Even noise: every draw normal, all draws together more even than chance."""

import torch

from trajflow.inference.choosing import even_noise

S, N, SIZE = 512, 40, 6


def even(seed=0, draws=S, agents=N):
    return even_noise(draws, agents, SIZE, torch.Generator().manual_seed(seed))


def test_a_single_draw_is_normal():
    first = torch.stack([even(seed, draws=2, agents=300)[0] for seed in range(10)]).flatten(0, 1)
    assert first.shape == (3000, SIZE)
    assert first.mean(0).abs().max() < 0.08
    torch.testing.assert_close(first.T.cov(), torch.eye(SIZE), atol=0.1, rtol=0)
    level = torch.special.ndtr(first).sort(0).values
    expected = torch.linspace(0, 1, 3000)[:, None]
    assert (level - expected).abs().max() < 0.04


def test_means_over_an_agents_draws_err_less_than_independent_ones():
    noise = even()
    independent = torch.randn(noise.shape, generator=torch.Generator().manual_seed(1))
    for moment in (lambda z: z, torch.square, lambda z: z[..., :1] * z[..., 1:]):
        err, usual = (moment(z).mean(0).sub(moment(z).mean()).std() for z in (noise, independent))
        assert err < 0.7 * usual


def test_agents_have_noise_of_their_own_and_seeds_repeat_it():
    noise = even()
    assert noise.isfinite().all()
    assert (noise[:, 0] - noise[:, 1]).abs().min(0).values.max() > 0
    assert torch.equal(noise, even())
    assert not torch.allclose(noise, even(seed=1))
