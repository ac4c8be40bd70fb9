"""Facts about social attention: whose view it is, who counts, and what must not matter."""

import math

import pytest
import torch

from trajflow.errors import ConfigError
from trajflow.nn.social_attention import SocialAttention, _geometry

B, A, H = 5, 9, 12


def make(dims=2, **options):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return SocialAttention(H, dims=dims, **{"limit": 4, **options}).double()


def some_scenes(dims=2, agents=A):
    """Contexts, positions, headings, velocities and who is present."""
    chance = torch.Generator().manual_seed(7)
    context = torch.randn(B, agents, H, generator=chance, dtype=torch.float64)
    origin = 4 * torch.randn(B, agents, dims, generator=chance, dtype=torch.float64)
    heading = 2 * math.pi * torch.rand(B, agents, generator=chance, dtype=torch.float64)
    velocity = torch.randn(B, agents, dims, generator=chance, dtype=torch.float64)
    present = torch.rand(B, agents, generator=chance) < 0.7
    present[0], present[1] = True, False
    return context, origin, heading, velocity, present


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def turned(vectors, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    flat = torch.stack((cos * x - sin * y, sin * x + cos * y), -1)
    return torch.cat((flat, vectors[..., 2:]), -1)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_scene_may_be_moved_and_turned(dims):
    social, (context, origin, heading, velocity, present) = make(dims), some_scenes(dims)
    shift = torch.randn(B, 1, dims, dtype=torch.float64) * 100
    close(
        social(context, turned(origin, 0.7) + shift, heading + 0.7, turned(velocity, 0.7), present),
        social(context, origin, heading, velocity, present),
    )


@pytest.mark.parametrize("part", ["origin", "heading", "velocity", "context"])
def test_a_neighbor_is_seen_with_all_it_shows(part):
    social, (context, origin, heading, velocity, _) = make(), some_scenes(agents=2)
    present = torch.ones(B, 2, dtype=torch.bool)
    given = {"context": context, "origin": origin, "heading": heading, "velocity": velocity}
    before = social(**given, present=present)[:, 0]
    change = torch.linspace(0.2, 0.9, given[part][:, 1].numel()).view_as(given[part][:, 1])
    given[part] = torch.stack((given[part][:, 0], given[part][:, 1] + change), 1)
    after = social(**given, present=present)[:, 0]
    assert (before - after).abs().amax(1).min() > 1e-4


def test_left_is_not_right_and_ahead_is_not_behind():
    social, (context, _, _, _, _) = make(), some_scenes(agents=2)
    still = torch.zeros(B, 2, 2, dtype=torch.float64)
    present = torch.ones(B, 2, dtype=torch.bool)
    answers = []
    for side in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)]:
        origin = still.clone()
        origin[:, 1] = torch.tensor(side).double()
        answers.append(social(context, origin, still[..., 0], still, present)[:, 0])
    gaps = [(a - b).abs().amax(1).min() for i, a in enumerate(answers) for b in answers[:i]]
    assert min(gaps) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("way", ["weights", "values"])
def test_place_enters_the_weights_and_the_values(way):
    social, (context, origin, heading, velocity, _) = make(), some_scenes(agents=2)
    if way == "weights":
        social.merge.weight[:, H:] = 0
    else:
        social.place.weight[:], social.place.bias[:] = 0, 0
    present = torch.ones(B, 2, dtype=torch.bool)
    before = social(context, origin, heading, velocity, present)[:, 0]
    origin[:, 1] += torch.tensor([1.0, -0.5])
    after = social(context, origin, heading, velocity, present)[:, 0]
    assert (before - after).abs().amax(1).min() > 1e-5


def test_up_is_not_down():
    social, (context, origin, heading, velocity, _) = make(3), some_scenes(3, agents=2)
    present, lift = torch.ones(B, 2, dtype=torch.bool), torch.tensor([[0.0], [1.0]])
    above, below = origin.clone(), origin.clone()
    above[..., 2:], below[..., 2:] = lift, -lift
    before = social(context, above, heading, velocity, present)[:, 0]
    after = social(context, below, heading, velocity, present)[:, 0]
    assert (before - after).abs().amax(1).min() > 1e-5


def test_the_order_of_agents_does_not_matter():
    social, scenes = make(), some_scenes()
    order = torch.randperm(A, generator=torch.Generator().manual_seed(1))
    close(social(*(x[:, order] for x in scenes)), social(*scenes)[:, order])


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_what_an_absent_agent_holds_changes_no_bit(junk):
    social, (*shown, present) = make(), some_scenes()
    spoiled = [x.clone() for x in shown]
    for x in spoiled:
        x[~present] = junk
    assert torch.equal(social(*spoiled, present), social(*shown, present))


def test_an_absent_agent_leaves_the_gradients_finite():
    social, (*shown, present) = make(), some_scenes()
    for x in shown:
        x[~present] = float("nan")
        x.requires_grad_()
    social(*shown, present).square().sum().backward()
    assert all(x.grad.isfinite().all() for x in shown)
    assert all(p.grad.isfinite().all() for p in social.parameters())


def test_an_absent_agent_has_no_context():
    social, scenes = make(), some_scenes()
    result, present = social(*scenes), scenes[-1]
    assert (result[~present] == 0).all()
    assert (result[present].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("limit", [2, 16])
def test_padding_adds_nothing(limit):
    social, (*shown, present) = make(limit=limit), some_scenes()
    padded = [torch.cat((x, x[:, :4].clone() * float("nan")), 1) for x in shown]
    nobody = torch.zeros(B, 4, dtype=torch.bool)
    close(social(*padded, torch.cat((present, nobody), 1))[:, :A], social(*shown, present))


def test_an_agent_alone_does_not_depend_on_where_it_is():
    social, (context, origin, heading, velocity, _) = make(), some_scenes()
    alone = torch.zeros(B, A, dtype=torch.bool)
    alone[:, 3] = True
    result = social(context, origin, heading, velocity, alone)[:, 3]
    moved = social(context, origin + 50, heading + 1, velocity * 3, alone)[:, 3]
    assert result.isfinite().all()
    assert torch.equal(result, moved)
    only = social(*(x[:, 3:4] for x in (context, origin, heading, velocity, alone)))[:, 0]
    close(only, result)


def test_only_the_nearest_are_looked_at():
    social, (context, origin, heading, velocity, _) = make(limit=3), some_scenes()
    present = torch.ones(B, A, dtype=torch.bool)
    distance = (origin - origin[:, :1]).norm(dim=-1)
    rank = distance.argsort(1).argsort(1)  # 0 is the agent itself
    before = social(context, origin, heading, velocity, present)[:, 0]
    for place in range(1, A):
        other = context.where((rank != place)[..., None], context.flip(-1))
        after = social(other, origin, heading, velocity, present)[:, 0]
        assert ((after - before).abs().amax(1) > 1e-6).all() == (place <= 3)
        assert torch.equal(after, before) == (place > 3)


def test_nobody_beyond_the_radius_is_looked_at():
    social, (context, origin, heading, velocity, _) = make(radius=5.0), some_scenes(agents=2)
    present = torch.ones(B, 2, dtype=torch.bool)
    for distance, matters in [(4.9, True), (5.1, False)]:
        origin[:, 1] = origin[:, 0] + torch.tensor([0.6, 0.8]).double() * distance
        before = social(context, origin, heading, velocity, present)[:, 0]
        other = torch.stack((context[:, 0], context[:, 1].flip(-1)), 1)
        after = social(other, origin, heading, velocity, present)[:, 0]
        assert torch.equal(before, after) != matters


def test_scenes_do_not_see_each_other():
    social, scenes = make(), some_scenes()
    close(social(*(x[2:3] for x in scenes)), social(*scenes)[2:3])


def test_only_targets_are_changed_and_as_without_the_others():
    social, scenes = make(), some_scenes()
    present = scenes[-1]
    target = torch.rand(B, A, generator=torch.Generator().manual_seed(9)) < 0.4
    result, full = social(*scenes, target), social(*scenes)
    asked = target & present
    assert asked.any()
    assert (present & ~target).any()
    close(result[asked], full[asked])
    assert torch.equal(result[present & ~target], scenes[0][present & ~target])
    assert (result[~present] == 0).all()


def test_a_heading_is_an_angle_or_a_direction():
    social, (context, origin, heading, velocity, present) = make(), some_scenes()
    axis = torch.stack((heading.cos(), heading.sin()), -1)
    assert torch.equal(
        social(context, origin, axis, velocity, present),
        social(context, origin, heading, velocity, present),
    )


def test_agents_on_one_spot_are_well_defined():
    social, (context, _, heading, velocity, present) = make(), some_scenes()
    origin = torch.zeros(B, A, 2, dtype=torch.float64)
    assert social(context, origin, heading, velocity, present).isfinite().all()


@pytest.mark.parametrize("rows", [(slice(0), slice(None)), (slice(None), slice(0))])
@pytest.mark.parametrize("chosen", [False, True])
def test_nobody_at_all_is_no_error(rows, chosen):
    scenes = [x[rows] for x in some_scenes()]
    target = (scenes[-1],) if chosen else ()
    assert make()(*scenes, *target).shape == scenes[0].shape


def test_every_parameter_and_every_present_context_gets_a_gradient():
    social, (context, *others, present) = make(), some_scenes()
    context.requires_grad_()
    social(context, *others, present).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in social.parameters())
    assert torch.equal(context.grad.abs().sum(-1) > 0, present)


def test_the_gradient_agrees_with_finite_differences():
    social, (context, *others, present) = make(), some_scenes()
    few = [x[2:4, :3] for x in others]
    assert torch.autograd.gradcheck(
        lambda c: social(c, *few, present[2:4, :3]), context[2:4, :3].requires_grad_()
    )


def test_it_runs_in_mixed_precision():
    social, scenes = make().float(), some_scenes()
    scenes = [x.float() if x.is_floating_point() else x for x in scenes]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = social(*scenes)
    torch.testing.assert_close(result.float(), social(*scenes), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("options", [{"heads": 5}, {"heads": 0}, {"limit": 0}])
def test_sizes_that_do_not_fit_are_refused(options):
    with pytest.raises(ConfigError, match="width must be a multiple of heads, got width=12"):
        SocialAttention(H, **options)


def test_the_geometry_of_two_that_will_meet_is_known_by_hand():
    place = torch.tensor([[[1.0, 1.0, 5.0], [1.0, 4.0, 5.0]]]).double()
    axis = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]]).double()  # north, and west: to its left
    velocity = torch.tensor([[[0.0, 0.5, 0.0], [0.0, -0.5, 0.0]]]).double()
    rows, near = torch.tensor([[0]]), torch.tensor([[[1]]])
    drawn, motion, facing, soft = _geometry(place, axis, velocity, rows, near)[0, 0, 0].split(
        (3, 3, 2, 4)
    )
    close(drawn, torch.tensor([math.log(4), 0, 0], dtype=torch.float64))
    close(motion, torch.tensor([-1.0, 0, 0]).double())
    close(facing, torch.tensor([0, 1.0]).double())
    wait = 3 / (1 + 1e-4)
    known = [math.log(4), 1 / 4, 1 / (1 + wait), 1 / (1 + 3 - wait)]
    close(soft, torch.tensor(known, dtype=torch.float64))
