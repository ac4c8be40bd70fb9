"""Joint futures against the same ones shuffled: agreement is what is lost, and nothing else."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from trajflow import metrics
from trajflow.cli import main
from trajflow.datasets.synthetic import crossing
from trajflow.errors import ConfigError
from trajflow.evaluation import EvaluationOptions, evaluate_forecaster
from trajflow.evaluation.scores import JOINT, NAMES, PAIRS, independent_scores, shuffled
from trajflow.types import Batch

S, B, A, T, F, D = 7, 5, 3, 8, 12, 2


@dataclass(frozen=True)
class Law:
    """The exact law of a crossing, each walker on its own if not together."""

    together: bool = True

    def forecast(self, batch, samples, seed):
        chance = np.random.default_rng(seed)
        law = crossing.conditional(batch.past)
        if self.together:
            return law.sample(samples, chance)
        alone = [law.sample(samples, chance)[:, :, k] for k in range(batch.past.shape[1])]
        return np.stack(alone, 2)


def meetings(count, seed=0):
    """Windows in which two walkers meet."""
    chance = np.random.default_rng(seed)
    past = crossing.draw_pasts(count, 2, chance)
    future = crossing.conditional(past).sample(1, chance)[0]
    both = np.ones((count, 2), bool)
    agent = np.arange(2 * count).reshape(count, 2)
    return Batch(past, future, both, np.zeros(count, int), np.arange(count), agent)


def test_a_shuffle_keeps_all_draws_of_each_agent():
    chance = np.random.default_rng(0)
    samples = chance.normal(size=(S, B, A, F, D))
    mixed = shuffled(samples, chance)
    np.testing.assert_array_equal(np.sort(mixed[..., 0, 0], 0), np.sort(samples[..., 0, 0], 0))
    whole = {tuple(path.ravel()) for path in samples[:, 2, 1]}
    assert {tuple(path.ravel()) for path in mixed[:, 2, 1]} == whole
    future = chance.normal(size=(B, A, F, D))
    for score in (metrics.min_ade, metrics.energy_score, metrics.spread):
        given = (samples,) if score is metrics.spread else (samples, future)
        again = (mixed,) if score is metrics.spread else (mixed, future)
        np.testing.assert_allclose(score(*again), score(*given))


def test_every_agent_has_an_order_of_its_own():
    number = np.arange(20.0)[:, None, None, None, None]
    samples = np.broadcast_to(number, (20, B, A, F, D))
    orders = shuffled(samples, np.random.default_rng(1))[..., 0, 0].reshape(20, -1).T
    assert len({tuple(order) for order in orders}) == B * A
    assert (
        len({tuple(o) for o in shuffled(samples, np.random.default_rng(1))[:, 0, 0, :, 0].T}) == 1
    )


def test_who_is_alone_loses_nothing():
    chance = np.random.default_rng(2)
    samples = chance.normal(size=(S, B, A, F, D))
    lone = np.zeros((B, A), bool)
    lone[np.arange(B), chance.integers(0, A, B)] = True
    past, future = chance.normal(size=(B, A, T, D)), chance.normal(size=(B, A, F, D))
    batch = Batch(past, future, lone, np.zeros(B, int), np.arange(B), np.zeros((B, A), int))
    scores = independent_scores(
        samples, batch, EvaluationOptions(samples=S, shuffles=3, collide=0.2), 0
    )
    np.testing.assert_allclose(scores[:, 3:], 0, atol=1e-12)
    jade = metrics.joint_ade(samples, future, lone)[lone]
    np.testing.assert_allclose(scores[:, JOINT.index("jade_independent")], jade)


def test_walkers_who_agree_lose_by_a_shuffle_and_others_do_not():
    batch, terms = meetings(400), EvaluationOptions(shuffles=3, collide=0.5, resamples=200)
    joint = evaluate_forecaster(Law(), [batch], {"all": [0]}, terms)
    alone = evaluate_forecaster(Law(together=False), [batch], {"all": [0]}, terms)
    assert joint.mean["collision_rate"] < 0.01
    assert joint.mean["true_collision_rate"] < 0.01
    assert joint.mean["collision_rate_independent"] > 0.3
    assert joint.overall.intervals["jade_gain"][0] > 0
    low, high = alone.overall.intervals["collision_rate_gain"]
    assert low - 0.01 < 0 < high + 0.01
    for name in PAIRS:
        gain = joint.mean[PAIRS[name]] - joint.mean[name]
        assert joint.mean[f"{name}_gain"] == pytest.approx(gain)
        both = (joint.mean[PAIRS[name]], alone.mean[name])
        assert both[0] == pytest.approx(both[1], rel=0.08)


def test_shuffles_are_asked_for_and_change_no_other_score():
    terms = EvaluationOptions(samples=S, resamples=20, miss=2.0, collide=0.2)
    batch = meetings(30)
    plain = evaluate_forecaster(Law(), [batch], {"all": [0]}, terms)
    more = evaluate_forecaster(Law(), [batch], {"all": [0]}, replace(terms, shuffles=2))
    again = evaluate_forecaster(Law(), [batch], {"all": [0]}, replace(terms, shuffles=2))
    assert set(plain.mean) == {*NAMES, "spread_ratio"}
    assert set(more.mean) == {*NAMES, *JOINT, "spread_ratio"}
    assert {name: more.mean[name] for name in plain.mean} == plain.mean
    assert again.mean == more.mean
    with pytest.raises(ConfigError, match="shuffles"):
        EvaluationOptions(shuffles=-1)


@pytest.fixture(scope="module")
def crossings(tmp_path_factory):
    """A small store of crossings."""
    path = tmp_path_factory.mktemp("data") / "crossing.zarr"
    sizes = [word for part in ("train=60", "val=5", "test=40") for word in ("--set", part)]
    with pytest.raises(SystemExit) as left:
        main(["data", "make", "crossing", "-o", str(path), "--seed", "1", *sizes])
    assert not left.value.code
    return path


def test_the_command_shows_agreement_with_its_option(trajflow, crossings):
    words = ("evaluate", "--baseline", "cv-sampled", crossings)
    code, plain, _ = trajflow(*words)
    assert code == 0
    assert "agreement" not in plain
    code, out, _ = trajflow(*words, "--joint")
    assert code == 0
    assert "agreement between agents, whose samples were drawn alone" in out
    assert out.count("joint ADE") == 2
    assert "_independent" not in out
    told = json.loads(trajflow(*words, "--joint", "--json")[1])
    assert set(JOINT) < set(told["mean"])
    assert told["shuffles"] == 5
    assert not set(JOINT) & set(json.loads(trajflow(*words, "--json")[1])["mean"])
