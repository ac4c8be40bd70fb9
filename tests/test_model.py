"""Facts about the whole model: what its forecasts move with, and what they never hear of."""

import math

import pytest
import torch

from trajflow.flow import PRESETS
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

B, A, T, F, S = 5, 3, 8, 12, 7


def tiny(**options):
    torch.manual_seed(0)
    shape = {"width": 16, "decoder_width": 24, "decoder_depth": 2, "components": 6}
    model = TrajectoryModel(Architecture(T, F, **(shape | options))).double()
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def scenes(agents=A, dims=2):
    torch.manual_seed(1)
    return torch.randn(B, agents, T, dims, dtype=torch.float64).cumsum(-2)


def everyone(past):
    return torch.ones(past.shape[:2], dtype=torch.bool)


def draw(model, past, target=None, seed=3, steps=1):
    generator = torch.Generator().manual_seed(seed)
    target = everyone(past) if target is None else target
    with torch.no_grad():
        return model.forecast(past, target, S, steps, generator)


def turn(points, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[cos, -sin], [sin, cos]], dtype=points.dtype)
    return points @ matrix.T


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("social", [False, True])
def test_shifting_and_turning_the_world_shifts_and_turns_the_forecast(joint, social):
    model, past = tiny(joint=joint, social=social), scenes()
    moved = draw(model, turn(past, 0.8) + 40.0)
    assert moved.shape == (S, B * A, F, 2)
    assert torch.allclose(turn(draw(model, past), 0.8) + 40.0, moved, atol=1e-8)


@pytest.mark.parametrize("joint", [False, True])
def test_absent_agents_with_any_content_change_nothing(joint):
    model, past = tiny(joint=joint), scenes()
    padded = torch.cat([past, torch.full((B, 2, T, 2), torch.nan).double()], 1)
    context, _ = model.context(past, everyone(past))
    more, _ = model.context(padded, padded.isfinite().all(-1).any(-1))
    assert torch.allclose(context, more[:, :A], atol=1e-12)
    u = model.velocity(context, everyone(past))
    v = model.velocity(more, padded.isfinite().all(-1).any(-1))
    x = torch.randn(S, B, A + 2, 6, dtype=torch.float64)
    r, t = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    if not joint:
        r, t = r.unsqueeze(-1), t.unsqueeze(-1)
    assert torch.allclose(u(x[:, :, :A], r, t), v(x, r, t)[:, :, :A], atol=1e-12)


def test_the_order_of_agents_does_not_matter():
    model, past = tiny(), scenes()
    context, _ = model.context(past, everyone(past))
    swapped, _ = model.context(past.flip(1), everyone(past))
    assert torch.allclose(context, swapped.flip(1), atol=1e-12)


def test_joint_samples_hear_of_the_other_agents_noise_and_plain_ones_do_not():
    past = scenes()
    for joint in (False, True):
        model = tiny(joint=joint)
        context, _ = model.context(past, everyone(past))
        u = model.velocity(context, everyone(past))
        x = torch.randn(S, B, A, 6, dtype=torch.float64)
        other = x.clone()
        other[:, :, 0] += 1
        r, t = (torch.full((1, 1) if joint else (1, 1, 1), v).double() for v in (0.0, 1.0))
        same = torch.allclose(u(x, r, t)[:, :, 1:], u(other, r, t)[:, :, 1:])
        assert same is not joint


def test_neighbors_matter_to_a_social_model_only():
    past = scenes()
    alone = past.clone()
    alone[:, 1:] = torch.nan
    target = torch.zeros(B, A, dtype=torch.bool)
    target[:, 0] = True
    for social in (False, True):
        model = tiny(social=social)
        same = torch.allclose(draw(model, past, target), draw(model, alone, target), atol=1e-9)
        assert same is not social


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("joint", [False, True])
def test_every_preset_trains_every_part(name, joint):
    model = tiny(joint=joint, average=PRESETS[name].average)
    past, future = scenes(), torch.randn(B, A, F, 2, dtype=torch.float64)
    target = everyone(past)
    target[2, 1] = False
    future[2, 1] = torch.nan
    loss = model(past, future, target, PRESETS[name].objective(), 1.0, draws=2)
    loss.backward()
    assert torch.isfinite(loss)
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_flow_preset_never_looks_at_the_start_of_the_interval():
    model, past = tiny(average=False), scenes()
    context, _ = model.context(past, everyone(past))
    u = model.velocity(context)
    x, t = torch.randn(B, A, 6).double(), torch.full((1, 1), 0.7).double()
    assert torch.equal(u(x, t * 0, t), u(x, t, t))


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_equal_seeds_give_equal_forecasts_and_other_seeds_do_not(steps):
    model, past = tiny(), scenes()
    assert torch.equal(draw(model, past, steps=steps), draw(model, past, steps=steps))
    assert not torch.allclose(draw(model, past, steps=steps), draw(model, past, None, 4, steps))


def test_a_future_never_reaches_the_context():
    """The loss may hear of the future, the context may not: it takes the past alone."""
    model, past = tiny(), scenes()
    before, _ = model.context(past, everyone(past))
    model(
        past,
        past[:, :, :1] + torch.randn(B, A, F, 2).double(),
        everyone(past),
        PRESETS["mmf"].objective(),
        0.5,
    ).backward()
    after, _ = model.context(past, everyone(past))
    assert torch.equal(before, after)


def test_a_model_of_several_rates_scales_with_the_seconds_per_step():
    """At half the seconds per step usual lengths are half as long; only the channel tells them."""
    model, past = tiny(condition_on_dt=True, social=False), scenes()
    model.encoder.gru.weight_ih_l0.data[:, 4] = 0
    dt_ratio = torch.tensor([0.5, 1.0, 0.25, 2.0, 1.5], dtype=torch.float64)
    slower = past * dt_ratio[:, None, None, None]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        drawn = model.forecast(slower, everyone(past), S, 1, generator, dt_ratio=dt_ratio)
    expected = draw(model, past) * dt_ratio.repeat_interleave(A)[None, :, None, None]
    assert torch.allclose(drawn, expected, atol=1e-9)


def test_a_model_of_one_rate_does_not_hear_of_it():
    model, past = tiny(), scenes()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        told = model.forecast(past, everyone(past), S, 1, generator, dt_ratio=torch.full((B,), 0.5))
    assert torch.equal(told, draw(model, past))


def test_relative_to_their_own_pace_runners_are_forecast_as_walkers():
    """Far above the usual pace only the channel with the pace tells two scales apart."""
    model, past = tiny(own_speed=True, social=False), scenes()
    model.encoder.gru.weight_ih_l0.data[:, 4] = 0
    fast = 1e5 * past
    assert torch.allclose(draw(model, 3 * fast) / 3e5, draw(model, fast) / 1e5, atol=1e-6)
    usual = tiny(social=False)
    assert not torch.allclose(draw(usual, 3 * past) / 3, draw(usual, past), atol=1e-3)


@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_temperature_widens_what_is_drawn_without_moving_its_middle(temperature):
    """A decoder that gives zero velocity draws the noise itself."""
    model, past = tiny(), scenes()
    for parameter in model.velocity_net.out_proj.parameters():
        torch.nn.init.zeros_(parameter)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        cold = model.forecast(past, everyone(past), S, 1, generator, temperature=0.0)
        generator.manual_seed(3)
        warm = model.forecast(past, everyone(past), S, 1, generator, temperature=temperature)
    assert torch.allclose(warm - cold, temperature * (draw(model, past) - cold), atol=1e-9)


def test_dropping_half_of_the_contexts_numbers_follows_the_generator():
    model, past = tiny(), scenes()
    future = torch.randn(B, A, F, 2, dtype=torch.float64)
    objective = PRESETS["mmf"].objective()

    def loss(seed, dropout):
        generator = torch.Generator().manual_seed(seed)
        return model(past, future, everyone(past), objective, 0.5, 2, generator, dropout)

    assert loss(1, 0.5) == loss(1, 0.5)
    assert loss(1, 0.5) != loss(1, 0.0)
    assert loss(1, 0.0) == loss(1, 0.0)


@pytest.mark.parametrize("joint", [False, True])
def test_a_forecast_encodes_only_those_its_targets_hear_and_says_the_same(joint):
    model, past = tiny(joint=joint), scenes(agents=41)
    past[2, 7] = torch.nan
    target = torch.zeros(B, 41, dtype=torch.bool)
    target[:, 3] = target[1, 30] = True
    rows = []
    model.encoder.register_forward_hook(lambda _, given, out: rows.append(len(given[0])))
    with torch.no_grad():
        few, frame = model.context(past, target)
    every, same = model.context(past, target)
    torch.testing.assert_close(few[target], every[target])
    torch.testing.assert_close(frame.origin, same.origin)
    most = 6 * (1 + model.social.limit)
    assert 6 < rows[0] <= most < rows[1] == B * 41 - 1


def test_a_scene_full_of_targets_is_encoded_as_it_is():
    model, past = tiny(), scenes(agents=5)
    rows = []
    model.encoder.register_forward_hook(lambda _, given, out: rows.append(len(given[0])))
    draw(model, past)
    assert rows == [B * 5]
