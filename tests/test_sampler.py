"""The folded model that forecasts and is exported is the trained one."""

import numpy as np
import pytest
import torch

from trajflow.inference.predictor import TorchPredictor
from trajflow.models.sampler import Sampler, traced
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

T, F = 8, 12
KINDS = {
    "gru": {},
    "two layers": {"encoder_options": (("depth", 2),)},
    "transformer": {"encoder": "transformer"},
    "tcn": {"encoder": "tcn"},
    "alone": {"social": False},
    "three coordinates": {"dims": 3},
    "own speed and clock": {"own_speed": True, "condition_on_dt": True, "heading_steps": 3},
    "flow matching": {"average": False},
    "joint": {"joint": True},
    "memory": {"memory": 3},
    "types": {"types": ("car", "ship")},
    "memory and types": {"memory": 3, "types": ("car", "ship")},
}


def network(**options):
    """A model with random weights everywhere, in double precision."""
    torch.manual_seed(0)
    model = TrajectoryModel(
        Architecture(history=T, horizon=F, width=32, decoder_width=32, **options)
    )
    for value in (*model.parameters(), model.normalizer.mean, model.normalizer.axes):
        value.data.normal_(std=0.3)
    model.normalizer.deviation.uniform_(0.5, 2)
    model.normalizer.displacement_scale.fill_(0.7)
    return model.double().eval().requires_grad_(False)


def scenes(model, shape, count, samples, seed=0):
    """Ragged pasts with gaps and absent agents, noise, clocks, memory and types for a sampler."""
    a, rng = model.architecture, torch.Generator().manual_seed(seed)
    past = torch.randn(*shape, T, a.dims, generator=rng).double().cumsum(2)
    past[torch.rand(*shape, T, generator=rng) < 0.2] = torch.nan
    past[:, count:][torch.rand(shape[0], shape[1] - count, generator=rng) < 0.3] = torch.nan
    past[:, 0, :3] = torch.nan
    past[:, :count, 4] = 1.5
    noise = torch.randn(samples, shape[0], count, F * a.dims, generator=rng).double()
    ratio = 0.8 + 0.4 * torch.rand(shape[0], generator=rng).double()
    given = {"past": past, "noise": noise, "dt_ratio": ratio}
    if a.memory:
        size = (shape[0], count, a.memory, T + F, a.dims + 1)
        given["memory"] = torch.randn(*size, generator=rng).double()
    if a.types:
        given["types"] = torch.randint(1 + len(a.types), (shape[0], count), generator=rng)
    return given


def by_the_model(model, temperature, steps, past, noise, dt_ratio, memory=None, types=None):
    """Futures [S, B, K, F, D] of the first agents as the trained modules give them."""
    count = noise.shape[2]
    target = torch.zeros(past.shape[:2], dtype=torch.bool)
    target[:, :count] = True
    context, frame = model.context(past, target, dt_ratio)
    if memory is not None:
        full = past.new_full((*past.shape[:2], *memory.shape[2:]), torch.nan)
        full[:, :count] = memory
        memory = full
    reminded = model.with_memory(context, frame, memory)
    if types is not None:
        full = types.new_zeros(past.shape[:2])
        full[:, :count] = types
        reminded = model.with_types(reminded, full)
    wide = torch.zeros(*noise.shape[:2], past.shape[1], noise.shape[-1]).double()
    wide[:, :, :count] = temperature * noise
    wide = wide if model.architecture.joint else wide[:, target]
    futures = model.futures_of(target, reminded, frame, wide, steps, target)
    return futures.unflatten(1, noise.shape[1:3]), context[:, :count]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sampler_draws_what_its_model_draws(kind, steps):
    model = network(**KINDS[kind])
    sampler = Sampler(model, 1.3, steps)
    for shape, count, samples in (((1, 1), 1, 2), ((1, 30), 2, 4), ((3, 6), 6, 3), ((2, 23), 5, 1)):
        given = scenes(model, shape, count, samples)
        right = by_the_model(model, 1.3, steps, **given)
        for values, truth in zip(sampler(**given), right, strict=True):
            torch.testing.assert_close(values, truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["gru", "memory", "types", "memory and types"])
def test_a_recorded_sampler_draws_the_same_at_other_sizes(kind):
    model = network(**KINDS[kind]).float()
    sampler = Sampler(model)
    graph = traced(sampler, torch.device("cpu"))
    assert graph is not sampler
    for agents, count in ((1, 1), (9, 4), (40, 30)):
        given = scenes(model, (1, agents), count, 5, seed=agents)
        given |= {name: one.float() for name, one in given.items() if one.is_floating_point()}
        torch.testing.assert_close(graph(**given), sampler(**given))


def test_an_encoder_that_looks_at_its_input_is_not_recorded():
    class Branching(torch.nn.Module):
        width = 32

        def forward(self, past, seen):
            rows = past.new_ones(len(past), self.width)
            return rows if len(past) > 4 else 2 * rows

    sampler = Sampler(network().float())
    sampler.encoder = Branching()
    assert traced(sampler, torch.device("cpu")) is sampler


@pytest.mark.parametrize("kind", ["gru", "types", "memory and types"])
def test_a_scene_alone_and_one_of_two_are_forecast_the_same_on_equal_seeds(kind):
    model = network(**KINDS[kind])
    predictor = TorchPredictor(model.float(), {"dt": 0.4, "unit": "m"})
    past = np.random.default_rng(0).normal(size=(1, 3, T, 2)).cumsum(2)
    past[0, 1, 2:] = np.nan
    others = np.random.default_rng(1).normal(size=(1, 40, T, 2)).cumsum(2)
    others[0, ::3, -1] = np.nan
    types = ["ship", "", "car"] if model.types is not None else None
    one = predictor.predict(past, others, seed=3, types=types)
    two = predictor.predict(past.repeat(2, 0), others.repeat(2, 0), seed=3, types=types)
    np.testing.assert_allclose(
        one.samples[:, 0], two.samples[:, 0], atol=1e-5 * np.abs(two.samples).max()
    )
