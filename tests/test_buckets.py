"""Forecasts of static shapes: padding changes nothing, few buckets serve many sizes."""

import numpy as np
import pytest
import torch

from trajflow.bench.network import FACTS, new_predictor
from trajflow.bench.scenes import scene, walkers
from trajflow.buckets import KEPT, Bucket, BucketedPredictor, rounded
from trajflow.errors import TrajflowError
from trajflow.model import Architecture, TrajectoryModel
from trajflow.predictor import Predictor


def tiny(**options):
    torch.manual_seed(0)
    shape = {"width": 16, "decoder_width": 24, "decoder_depth": 2, "components": 6}
    model = TrajectoryModel(Architecture(8, 12, **(shape | options)))
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Predictor(model, dict(FACTS) | {"temperature": 1.2})


def scenes(count, agents, seed=0):
    return np.stack([walkers(agents, 8, 2, seed + k) for k in range(count)])


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("social", [False, True])
@pytest.mark.parametrize("sizes", [(3, 5, 2), (1, 1, 0), (5, 2, 21)])
def test_a_bucket_gives_what_the_predictor_gives(joint, social, sizes):
    count, agents, around = sizes
    predictor = tiny(joint=joint, social=social)
    past, others = scenes(count, agents), scenes(count, around, seed=50)
    past[0, 0, :3] = np.nan
    if around:
        others[0, -1] = np.nan
    right = predictor.predict(past, others, samples=7, seed=4).samples
    found = BucketedPredictor(predictor).predict(past, others, samples=7, seed=4)
    np.testing.assert_allclose(found.samples, right, atol=2e-5)
    assert found.dt == predictor.dt


def test_one_scene_needs_no_axis_of_scenes():
    predictor, at = tiny(), scene(3, 4, 8, 2)
    right = predictor.predict(at.past, at.neighbours, samples=5, seed=1)
    found = BucketedPredictor(predictor).predict(at.past, at.neighbours, samples=5, seed=1)
    assert found.samples.shape == (5, 3, 12, 2)
    np.testing.assert_allclose(found.samples, right.samples, atol=2e-5)


def test_many_sizes_share_few_buckets_and_old_ones_go():
    some = BucketedPredictor(tiny())
    for agents in (5, 6, 7, 8):
        some.predict(scenes(1, agents), samples=2)
    assert list(some._calls) == [Bucket(1, 8, 0, 2)]
    for samples in range(1, KEPT + 3):
        some.predict(scenes(1, 2), samples=samples)
    assert len(some._calls) == KEPT
    assert Bucket(1, 8, 0, 2) not in some._calls


def test_sizes_are_rounded_up():
    assert [rounded(n) for n in range(10)] == [0, 1, 2, 4, 4, 8, 8, 8, 8, 16]


def test_brain_floats_are_near():
    predictor, at = new_predictor(), scene(3, 4, 8, 2)
    right = predictor.predict(at.past, at.neighbours, samples=5, seed=1).samples
    low = BucketedPredictor(predictor, "bf16").predict(at.past, at.neighbours, 5, seed=1).samples
    assert 0 < abs(low - right).max() < 0.05 * right.std(0).max()


def test_what_no_predictor_takes_is_refused():
    some = BucketedPredictor(tiny())
    with pytest.raises(TrajflowError, match="past must be"):
        some.predict(np.zeros((2, 7, 2)))
    with pytest.raises(TrajflowError, match="not seen at any"):
        some.predict(np.full((2, 8, 2), np.nan))
    with pytest.raises(TrajflowError, match="samples must be"):
        some.predict(np.zeros((2, 8, 2)), samples=0)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_captured_graph_gives_what_single_operations_give(precision):
    predictor = new_predictor("cuda")
    some = BucketedPredictor(predictor, precision)
    for agents in (3, 4, 3):
        at = scene(agents, 9, 8, 2)
        right = predictor.predict(at.past, at.neighbours, samples=5, seed=agents).samples
        found = some.predict(at.past, at.neighbours, samples=5, seed=agents).samples
        bound = 1e-4 if precision == "fp32" else 0.05 * right.std(0).max()
        assert abs(found - right).max() < bound
    assert not any(call == some._eager for call in some._calls.values())
