"""Facts about the map between futures and events."""

import pytest
import torch

from trajflow.models.frames import present_frame
from trajflow.models.normalizer import FutureNormalizer


def tracks(dims=2):
    torch.manual_seed(2)
    points = (0.5 + 0.1 * torch.randn(700, 20, dims).double()).cumsum(-2)
    return present_frame(points[:, :8]), points[:, 8:]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_future_comes_back_from_its_components(dims):
    frame, future = tracks(dims)
    normalizer = FutureNormalizer(12, dims, components=99).double()
    normalizer.fit([(frame, future)])
    event = normalizer.normalize(frame, future)
    assert torch.allclose(normalizer.unnormalize(frame, event, event), future, atol=1e-8)


def test_events_of_the_training_tracks_are_white():
    frame, future = tracks()
    normalizer = FutureNormalizer(12, 2, components=7).double()
    normalizer.fit([(frame, future)])
    event = normalizer.normalize(frame, future)
    assert torch.allclose(event.mean(0), torch.zeros(7).double(), atol=1e-6)
    assert torch.allclose(torch.cov(event.T), torch.eye(7).double(), atol=1e-5)


def test_the_components_left_out_are_the_small_ones_and_come_from_noise():
    frame, future = tracks()
    normalizer = FutureNormalizer(12, 2, components=7).double()
    normalizer.fit([(frame, future)])
    assert (normalizer.deviation.diff() <= 0).all()
    event = normalizer.normalize(frame, future)
    quiet = normalizer.unnormalize(frame, event, torch.zeros(700, 24).double())
    loud = normalizer.unnormalize(frame, event, torch.randn(700, 24).double())
    assert not torch.allclose(quiet, loud)
    assert torch.allclose(
        normalizer.normalize(frame, quiet), normalizer.normalize(frame, loud), atol=1e-8
    )


def test_agents_that_stand_still_have_finite_events():
    still = torch.full((9, 20, 2), 3.0).double()
    normalizer = FutureNormalizer(12, 2).double()
    normalizer.fit([(present_frame(still[:, :8]), still[:, 8:])])
    event = normalizer.normalize(present_frame(still[:, :8]), still[:, 8:])
    assert torch.isfinite(event).all()
