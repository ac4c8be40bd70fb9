"""Facts about bad input at the predictor's door, and about too little memory behind it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from trajflow.errors import TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

A, T, F, S, BAD = 60, 8, 12, 7, 17


def network(**changes):
    torch.manual_seed(0)
    shape = {"width": 16, "decoder_width": 24, "decoder_depth": 1, **changes}
    model = TrajectoryModel(Architecture(T, F, **shape))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


@pytest.fixture(scope="module")
def predictor():
    return network()


def crowd(*lead):
    return np.random.default_rng(0).normal(size=(*lead, A, T, 2)).cumsum(-2)


def spoil(past, how):
    past = past.copy()
    past[..., BAD, :, :] = how(past[..., BAD, :, :])
    return past


FAULTS = {
    "not seen": lambda p: p * np.nan,
    "infinite": lambda p: np.where(p == p.max(), np.inf, p),
    "times the typical step": lambda p: p * 1e6,
    "typical steps from": lambda p: p + 1e12,
    "moves more": lambda p: p * 1e300,
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_bad_agent_is_refused_by_name_or_counts_as_missing(predictor, words):
    past, ids = spoil(crowd(), FAULTS[words]), [f"p{i}" for i in range(A)]
    with pytest.raises(ValueError, match=f"agent p{BAD} of scene 0 .*{words}"):
        predictor.predict(past, samples=S, seed=1, agents=ids)
    told = predictor.predict(past, samples=S, seed=1, agents=ids, on_bad="quarantine")
    others = np.arange(A) != BAD
    missing = spoil(crowd(), FAULTS["not seen"])
    alone = predictor.predict(missing, samples=S, seed=1, on_bad="quarantine")
    assert told.samples.shape == (S, A, F, 2)
    assert np.array_equal(told.samples[:, others], alone.samples[:, others])
    assert np.isnan(told.samples[:, BAD]).all()
    assert words in told.faults[BAD]
    assert all(fault is None for fault in told.faults[others])


@pytest.mark.parametrize("joint", [False, True])
def test_a_bad_agent_of_a_batch_leaves_the_noise_of_all_others_as_it_is(joint):
    alone = network(social=False, joint=joint)
    past = crowd(4)
    clean = alone.predict(past, samples=S, seed=1).samples
    past[1, BAD] = np.inf
    told = alone.predict(past, samples=S, seed=1, on_bad="quarantine").samples
    others = np.ones((4, A), bool)
    others[1] = not joint  # jointly drawn agents see each other's noise
    others[1, BAD] = False
    np.testing.assert_allclose(told[:, others], clean[:, others], atol=1e-5)
    assert np.isfinite(told[:, 1, :BAD]).all()


def test_where_all_agents_are_bad_all_are_named(predictor):
    told = predictor.predict(crowd() * np.nan, samples=S, on_bad="quarantine")
    assert np.isnan(told.samples).all()
    assert all("not seen" in fault for fault in told.faults)


@pytest.mark.parametrize("name", ["points", "list", "whole numbers"])
def test_a_masked_position_is_missing(predictor, name):
    past, around = crowd()[:6], crowd()[6:12]
    past[2, 3:5], around[1, :4] = np.nan, np.nan
    past, around = np.round(past), np.round(around)
    expected = predictor.predict(past, around, samples=S, seed=1).samples
    kind = int if name == "whole numbers" else float
    hidden = [
        np.ma.masked_array(np.nan_to_num(one, nan=9e9).astype(kind), np.isnan(one))
        for one in (past, around)
    ]
    if name == "list":
        hidden = [[row[:] for row in one] for one in hidden]
    assert np.array_equal(predictor.predict(*hidden, samples=S, seed=1).samples, expected)


def test_an_agent_of_masked_positions_was_never_seen(predictor):
    past = np.ma.masked_array(crowd(), False)
    past[BAD] = np.ma.masked
    with pytest.raises(TrajflowError, match=f"agent {BAD} of scene 0 was not seen"):
        predictor.predict(past)


def test_an_id_that_cannot_be_hashed_is_refused(predictor):
    with pytest.raises(TrajflowError, match="agent id 1 is a list"):
        predictor.predict(crowd()[:2], agents=["a", ["b"]])


def test_scenes_with_bad_agents_keep_their_axes(predictor):
    past = crowd(3, 2)
    past[1, 1, BAD] = np.inf
    past[2, 0] = np.nan
    told = predictor.predict(past, samples=S, seed=1, on_bad="quarantine", select="kmeans")
    bad = np.zeros((3, 2, A), bool)
    bad[1, 1, BAD] = bad[2, 0] = True
    assert np.array_equal(np.isnan(told.samples).any((0, 4, 5)), bad)
    assert np.array_equal(np.isnan(told.weights).all(0), bad)
    assert np.array_equal(told.faults.astype(bool), bad)


def test_without_a_bad_agent_quarantine_changes_nothing(predictor):
    plain = predictor.predict(crowd(), samples=S, seed=1)
    told = predictor.predict(crowd(), samples=S, seed=1, on_bad="quarantine")
    assert np.array_equal(plain.samples, told.samples)
    assert plain.faults is None
    assert not told.faults.astype(bool).any()


def test_a_bad_neighbor_is_refused_or_absent(predictor):
    past, around = crowd()[:3], crowd()[3:8]
    around[2, 4] = 1e30
    with pytest.raises(ValueError, match="neighbor 2 of scene 0"):
        predictor.predict(past, around, samples=S, seed=1)
    told = predictor.predict(past, around, samples=S, seed=1, on_bad="quarantine")
    around[2] = np.nan
    absent = predictor.predict(past, around, samples=S, seed=1)
    assert np.array_equal(told.samples, absent.samples)


def test_an_id_that_is_there_twice_is_refused_or_quarantined(predictor):
    ids = ["a", "b", "a"]
    with pytest.raises(ValueError, match="agent a of scene 0 has the id of an agent before it"):
        predictor.predict(crowd()[:3], agents=ids)
    told = predictor.predict(crowd()[:3], samples=S, agents=ids, on_bad="quarantine")
    assert np.isnan(told.samples).any((0, 2, 3)).tolist() == [False, False, True]


@pytest.mark.parametrize(
    "past",
    [crowd().astype(str), crowd() > 0, crowd().astype(complex), crowd().astype("M8[s]"), ["x"]],
)
def test_what_is_no_array_of_numbers_is_refused(predictor, past):
    with pytest.raises(TrajflowError, match="must be an array of numbers"):
        predictor.predict(past)


def test_a_scene_of_too_many_agents_is_refused(predictor):
    with pytest.raises(TrajflowError, match="at most 10000 agents, got 10001"):
        predictor.predict(np.zeros((10_001, T, 2)))
    with pytest.raises(TrajflowError, match="at most 10000 agents, got 10001"):
        predictor.predict(np.zeros((1, T, 2)), np.zeros((10_000, T, 2)))


@pytest.mark.parametrize("joint", [False, True])
def test_with_too_little_memory_the_batch_is_computed_in_parts(monkeypatch, joint):
    asked = network(joint=joint)
    whole = asked.predict(crowd(5), samples=S, seed=1).samples
    forecast, futures = asked.model.forecast, asked.model.futures

    def scarce(past, target, *rest):
        if int(target.sum()) > 120:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forecast(past, target, *rest)

    def few(context, *rest):
        if len(context) > 120:
            raise MemoryError
        return futures(context, *rest)

    monkeypatch.setattr(asked.model, "forecast", scarce)
    monkeypatch.setattr(asked.model, "futures", few)
    parts = asked.predict(crowd(5), samples=S, seed=1).samples
    assert parts.shape == whole.shape
    if not joint:
        assert np.abs(parts - whole).max() < 1e-4
    monkeypatch.setattr(asked.model, "forecast", lambda *_: (_ for _ in ()).throw(MemoryError()))
    monkeypatch.setattr(asked.model, "context", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(TrajflowError, match="out of memory for 7 samples of one agent"):
        asked.predict(crowd(5), samples=S, seed=1)


LIMITED = """
import resource, sys
import numpy as np
sys.path.insert(0, "tests")
from test_faults_inputs import crowd, network

asked = network(decoder_width=256)
past = crowd(20)
asked.predict(past[:1], samples=2, seed=1)
used = 4096 * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + (250 << 20), resource.RLIM_INFINITY))
told = asked.predict(past, samples=100, seed=1).samples
print(told.shape, bool(np.isfinite(told).all()))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
whole = asked.predict(past, samples=100, seed=1).samples
print(bool(np.abs(whole - told).max() < 1e-3))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_under_a_real_limit_of_memory_a_large_call_succeeds():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n")[:2] == [f"(100, 20, {A}, {F}, 2) True", "True"], done.stderr
