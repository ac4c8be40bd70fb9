"""Facts about an agent's own frame."""

import math

import pytest
import torch

from trajflow.models.frames import present_frame


def pasts(dims=2):
    torch.manual_seed(0)
    return torch.randn(5, 3, 8, dims, dtype=torch.float64).cumsum(-2)


def turn(points, angle):
    matrix = torch.eye(points.shape[-1], dtype=points.dtype)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[0, 1], matrix[1, 0] = -math.sin(angle), math.sin(angle)
    return points @ matrix.T


@pytest.mark.parametrize("dims", [2, 3])
def test_leaving_undoes_entering(dims):
    past = pasts(dims)
    frame = present_frame(past)
    assert torch.allclose(frame.to_world(frame.to_local(past)), past)


def test_the_present_is_the_origin_and_the_last_step_points_along_x():
    past = pasts()
    local = present_frame(past).to_local(past)
    assert torch.allclose(local[..., -1, :], torch.zeros(5, 3, 2).double(), atol=1e-12)
    last = local[..., -1, :] - local[..., -2, :]
    assert torch.allclose(last[..., 1], torch.zeros(5, 3).double(), atol=1e-12)
    assert (last[..., 0] > 0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_local_coordinates_do_not_know_where_the_world_is(dims):
    past = pasts(dims)
    moved = turn(past, 1.1) + 300.0
    a, b = present_frame(past), present_frame(moved)
    assert torch.allclose(a.to_local(past), b.to_local(moved), atol=1e-9)
    assert torch.allclose(turn(a.coast(12), 1.1) + 300.0, b.coast(12), atol=1e-9)


def test_an_agent_that_never_moved_has_a_frame():
    still = torch.full((1, 8, 2), 4.0).double()
    frame = present_frame(still)
    assert torch.equal(frame.heading, torch.tensor([[1.0, 0.0]]).double())
    assert torch.equal(frame.coast(12), torch.full((1, 12, 2), 4.0).double())
    assert frame.speed.item() == 0


def test_two_equal_last_points_turn_by_the_whole_past():
    past = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 2.0]]).double()
    assert torch.equal(present_frame(past).heading, torch.tensor([0.0, 1.0]).double())


def test_missing_steps_are_bridged_and_a_late_gap_is_coasted_over():
    steps = torch.arange(8.0).double()
    past = torch.stack([2 * steps, torch.zeros(8).double()], -1)
    gaps = past.clone()
    gaps[[1, 5, 7]] = torch.nan
    whole, holed = present_frame(past), present_frame(gaps)
    assert torch.allclose(whole.velocity, holed.velocity)
    assert torch.allclose(whole.origin, holed.origin)


def test_what_an_unseen_step_holds_does_not_matter():
    past = pasts()
    past[2, 1, 3] = torch.nan
    other = past.clone()
    other[2, 1, 3] = torch.inf
    for a, b in zip(
        vars(present_frame(past)).values(), vars(present_frame(other)).values(), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("steps", [1, 2, 5, 11])
def test_the_last_displacement_may_span_several_steps(steps):
    """Of a circle walked at one step a unit, a chord; of less than that, all there is."""
    angle = 0.2 * torch.arange(8, dtype=torch.float64)
    past = torch.stack([angle.cos(), angle.sin()], -1)
    frame = present_frame(past, steps)
    spanned = min(steps, 7)
    chord = past[-1] - past[-1 - spanned]
    assert torch.allclose(frame.velocity, chord / spanned)
    assert torch.allclose(frame.heading, chord / chord.norm())
    assert torch.equal(frame.origin, past[-1])


def test_a_span_counts_seen_steps_and_their_distance_in_time():
    past = torch.arange(8, dtype=torch.float64)[:, None] * torch.tensor([0.6, -0.8])
    past[[3, 5, 6]] = torch.nan
    frame = present_frame(past, 2)
    assert torch.allclose(frame.velocity, torch.tensor([0.6, -0.8]).double())
