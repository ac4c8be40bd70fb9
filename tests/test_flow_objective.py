"""Facts about the objective, against fields whose answers are known by hand."""

import pytest
import torch
from torch import nn

from trajflow.flow import (
    PRESETS,
    AnchoredTimes,
    Curriculum,
    LogitNormalTimes,
    MeanFlowObjective,
    UniformTimes,
    implied_velocity,
    linear_path,
    modulate,
)
from trajflow.flow.path import beside

LAMBDAS = [0.0, 0.3, 1.0]


class Field(nn.Module):
    """A small smooth u(x, r, t) in double precision."""

    def __init__(self, dims=3):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(dims + 2, 7), nn.Tanh(), nn.Linear(7, dims)).double()

    def forward(self, x, r, t):
        times = torch.stack([r, t], -1)
        return self.net(torch.cat([x, times], -1))


def gaussian_average(deviation):
    """Exact u for data N(0, deviation^2): x_t = s(t) / s(1) x_1 with s(t) as below."""

    def scale(t):
        return ((1 - t) ** 2 * deviation**2 + t**2).sqrt()

    def u(x, r, t):
        gap = (t - r).clamp_min(1e-12)
        return x * beside((1 - scale(r) / scale(t)) / gap, x)

    return u


def batch(size=5, dims=3):
    torch.manual_seed(1)
    return torch.randn(size, dims, dtype=torch.float64)


@pytest.mark.parametrize("weight", LAMBDAS)
def test_modulation_keeps_the_value_and_scales_the_gradient(weight):
    z = batch().requires_grad_()
    out = modulate(z**2, weight)
    assert torch.allclose(out, z**2)
    if weight:
        out.sum().backward()
        assert torch.allclose(z.grad, weight * 2 * z)
    else:
        assert not out.requires_grad


def test_the_path_runs_from_data_to_noise():
    data, noise = batch(), batch() + 1
    start, v = linear_path(data, noise, torch.zeros(5, dtype=torch.float64))
    end, _ = linear_path(data, noise, torch.ones(5, dtype=torch.float64))
    assert torch.equal(start, data)
    assert torch.equal(end, noise)
    assert torch.equal(v, noise - data)


def test_the_exact_average_velocity_of_a_gaussian_satisfies_the_identity():
    u, sigma = gaussian_average(0.7), 0.7
    x = batch()
    r, t = torch.tensor([0.0, 0.1, 0.2, 0.4, 0.5]).double(), torch.linspace(0.6, 1, 5).double()
    slope = (t - (1 - t) * sigma**2) / ((1 - t) ** 2 * sigma**2 + t**2)
    velocity = x * slope[:, None]
    claimed = implied_velocity(u, x, r, t, velocity, 1.0)
    assert torch.allclose(claimed, velocity, atol=1e-10)


def test_equal_times_are_flow_matching():
    field = Field()
    objective = MeanFlowObjective(UniformTimes(flow_ratio=1.0), Curriculum())
    generator = torch.Generator().manual_seed(4)
    loss = objective(field, batch(), 0.5, generator=generator)
    again = torch.Generator().manual_seed(4)
    noise = torch.randn(5, 3, dtype=torch.float64, generator=again)
    _, t = UniformTimes(flow_ratio=1.0)(torch.empty(5, dtype=torch.float64), again)
    x, v = linear_path(batch(), noise, t)
    assert torch.allclose(loss, (field(x, t, t) - v).square().mean(-1))


@pytest.mark.parametrize("tangent", ["marginal", "path"])
@pytest.mark.parametrize("weight", LAMBDAS)
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_the_gradient_is_that_of_finite_differences(weight, tangent, power):
    """At every lambda: the share lambda of the derivative's gradient, and not more, is there."""
    field, data = Field(), batch()
    parameter = field.net[0].weight
    start = parameter.detach().clone()
    objective = MeanFlowObjective(
        UniformTimes(0.2), Curriculum(weight, weight), tangent=tangent, power=power
    )

    def loss():
        return objective(field, data, 0.0, generator=torch.Generator().manual_seed(9)).sum()

    loss().backward()
    analytic = parameter.grad[2, 1].item()
    numeric = _surrogate_slope(field, parameter, start, data, tangent, weight, power)
    assert analytic == pytest.approx(numeric, rel=1e-6)


def _surrogate_slope(field, parameter, start, data, tangent, weight, power, step=1e-5):
    """Slope of the loss by finite differences, with every stopped part held at `start`."""
    chance = torch.Generator().manual_seed(9)
    noise = torch.randn(data.shape, dtype=data.dtype, generator=chance)
    r, t = UniformTimes(0.2)(data[:, 0], chance)
    x, v = linear_path(data, noise, t)

    def parts(shift):
        with torch.no_grad():
            parameter.copy_(start)
            w = field(x, t, t) if tangent == "marginal" else v
            parameter[2, 1] += shift
            here = (torch.zeros_like(r), torch.ones_like(t))
            out = torch.func.jvp(field, (x, r, t), (w, *here))
            parameter.copy_(start)
            return out

    _, still = parts(0.0)

    def error(shift):
        value, slope = parts(shift)
        mixed = weight * slope + (1 - weight) * still
        return value + (t - r)[:, None] * mixed - v

    kept = (error(0.0).square().mean(-1) + 1e-3) ** -power
    low, high = ((kept * error(s).square().mean(-1)).sum() for s in (-step, step))
    return ((high - low) / (2 * step)).item()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_gives_one_finite_loss_per_event_with_a_gradient(name):
    field = Field()
    loss = PRESETS[name].objective()(field, batch(), 0.9)
    assert loss.shape == (5,)
    assert torch.isfinite(loss).all()
    loss.mean().backward()
    assert field.net[0].weight.grad.abs().sum() > 0


def test_a_masked_entry_does_not_count():
    field, data = Field(), batch()
    mask = torch.ones(5, 3, dtype=torch.bool)
    mask[1, 2] = False
    objective = MeanFlowObjective(UniformTimes(1.0), Curriculum())

    def loss(events):
        return objective(
            lambda x, r, t: x * 0, events, 0.0, 1, mask, torch.Generator().manual_seed(0)
        )

    changed = data.clone()
    changed[1, 2] = 1e6
    assert torch.allclose(loss(changed), loss(data))
    assert objective(field, data, 0.0, 1, mask).shape == (5,)


@pytest.mark.parametrize("sampler", [UniformTimes(0.4), LogitNormalTimes(0.4)])
def test_times_are_ordered_and_the_share_of_equal_ones_is_kept(sampler):
    r, t = sampler(torch.empty(4000, 5), torch.Generator().manual_seed(0))
    assert ((r >= 0) & (r <= t) & (t <= 1)).all()
    assert (r == t).float().mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(("draws", "share", "rows"), [(1, 0.4, 0), (3, 0.5, 1), (4, 0.5, 2)])
def test_the_share_of_equal_times_is_that_of_all_draws_in_every_call(draws, share, rows):
    sampler, chance = LogitNormalTimes(share, rows=True), torch.Generator().manual_seed(0)
    same = [torch.eq(*sampler(torch.empty(draws, 10), chance)) for _ in range(400)]
    assert {int(s.sum()) for s in same} == {round(10 * draws * share)}
    assert all(s[:rows].all() and not s[rows + 1 :].any() for s in same)
    mixed = torch.stack([s[rows] for s in same]).float().mean(0)
    assert mixed.numpy() == pytest.approx(draws * share - rows, abs=0.12)


def test_anchored_times_end_at_the_data():
    r, t = AnchoredTimes()(torch.empty(50))
    assert (r == 0).all()
    assert (t > 0).all()


def test_the_curriculum_rises_from_start_to_end_and_stays():
    rise = Curriculum(0.0, 1.0, hold=0.2, warmup=0.4)
    assert [rise(p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert Curriculum(0.3, 0.3)(0.9) == pytest.approx(0.3)
    assert Curriculum(0.0, 1.0, hold=0.5, warmup=0.0)(0.6) == 1.0
