"""Surprise: what is strange is told from what is ordinary, by the right share, and with the why."""

from dataclasses import replace

import numpy as np
import pytest
import surprise_support
import torch

from trajflow.calibration import digest
from trajflow.errors import ConfigError, DataError, RunError, TrajflowWarning
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.surprise import FILE, Origin, disagreement, fit, read_surprise, stored
from trajflow.surprise.faults import FAULTS
from trajflow.surprise.forest import Forest
from trajflow.surprise.ranks import Ranks
from trajflow.surprise.scores import available, load
from trajflow.surprise.viewing import NetworkViewer
from trajflow.types import Batch

A, T, F, D = 3, 8, 9, 2
WEIGHTS = b"weights"


def walkers(people, seed, windows=4):
    return surprise_support.walkers(people, seed, T, F, windows)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    shape = Architecture(T, F, D, width=12, decoder_width=16, decoder_depth=1, components=5)
    model = TrajectoryModel(shape).eval().requires_grad_(False)
    model.fit_normalizer(
        (
            torch.as_tensor(b.past, dtype=torch.float32),
            torch.as_tensor(b.future, dtype=torch.float32),
            torch.as_tensor(b.target),
        )
        for b in walkers(30, 9)
    )
    return model


@pytest.fixture(scope="module")
def surprise(model):
    origin = Origin(weights=digest(WEIGHTS), dt=0.4, unit="m")
    return fit(model, walkers(60, 1, 2), walkers(60, 2, 2), seed=4, origin=origin)


@pytest.fixture(scope="module")
def ordinary():
    batches = walkers(45, 5)
    fields = ("past", "future", "target", "scene", "start", "agent")
    return Batch(**{k: np.concatenate([getattr(b, k) for b in batches]) for k in fields})


def judged(surprise, model, past, target):
    return surprise.of(NetworkViewer(model), past, target)


def of(surprise, model, batch):
    return judged(surprise, model, batch.past, batch.target)


def test_ordinary_people_are_as_strange_as_those_it_was_calibrated_on(surprise, model, ordinary):
    score = of(surprise, model, ordinary).score
    assert ((score > 0) & (score <= 1)).all()
    assert (score > 0.95).mean() < 0.15
    assert 0.35 < score.mean() < 0.65


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_known_faults_are_stranger_than_what_they_are_made_of(name, surprise, model, ordinary):
    chance = np.random.default_rng(8)
    usual = float(model.normalizer.displacement_scale)
    past = FAULTS[name](ordinary.past, ordinary.future, usual, chance)
    target = np.isfinite(past).all(-1).any(-1)
    strange = judged(surprise, model, past, target).score
    assert (strange > np.median(of(surprise, model, ordinary).score)).mean() > 0.8


def test_surprise_grows_with_noise(surprise, model, ordinary):
    noise = np.random.default_rng(1).normal(size=ordinary.past.shape)
    levels = [
        judged(surprise, model, ordinary.past + size * noise, ordinary.target).score.mean()
        for size in (0, 0.03, 0.1, 0.3)
    ]
    assert levels == sorted(levels)
    assert levels[-1] > 0.95


def test_the_world_may_be_turned_and_moved(surprise, model, ordinary):
    cos, sin = np.cos(1.1), np.sin(1.1)
    turned = ordinary.past @ np.array([[cos, sin], [-sin, cos]]) + [300.0, -70.0]
    before, after = of(surprise, model, ordinary), judged(surprise, model, turned, ordinary.target)
    np.testing.assert_allclose(after.score, before.score, atol=2e-3)
    np.testing.assert_allclose(after.risk, before.risk, rtol=0.05)


def test_agents_may_stand_in_any_order(surprise, model, ordinary):
    order = [2, 0, 1]
    before = of(surprise, model, ordinary).score.reshape(-1, A)
    after = judged(surprise, model, ordinary.past[:, order], ordinary.target).score.reshape(-1, A)
    np.testing.assert_allclose(after, before[:, order], atol=1e-3)


def test_only_targets_are_judged_in_their_order(surprise, model, ordinary):
    target = ordinary.target.copy()
    target[::2, 1] = False
    every = of(surprise, model, ordinary)
    some = judged(surprise, model, ordinary.past, target)
    np.testing.assert_allclose(some.score, every.score[target.ravel()], atol=1e-3)
    assert len(some.reasons) == len(some.risk) == len(some.score) == target.sum()


def told(surprise, model, batch, past, **only):
    found = judged(surprise, model, np.where(np.isfinite(past), past, np.nan), batch.target)
    strange = [reason for reason in found.reasons if reason]
    assert len(strange) > 0.7 * len(found.reasons)
    return strange


def test_reasons_name_the_steps_that_were_filled(surprise, model, ordinary):
    past = ordinary.past.copy()
    share = (np.arange(2, 6) - 1)[:, None] / 5
    past[:, :, 2:6] = past[:, :, 1:2] + share * (past[:, :, 6:7] - past[:, :, 1:2])
    reasons = told(surprise, model, ordinary, past)
    named = ["steps 2-7 lie on a straight line" in reason for reason in reasons]
    assert np.mean(named) > 0.9


@pytest.mark.parametrize("step", [0, 4, 7])
def test_reasons_name_the_step_that_jumps(step, surprise, model, ordinary):
    past = ordinary.past.copy()
    past[:, :, step] += [3.0, 2.0]
    reasons = told(surprise, model, ordinary, past)
    assert np.mean([f"m at step {step + 1}" in reason for reason in reasons]) > 0.9


def test_reasons_name_the_steps_that_are_missing_or_repeated(surprise, model, ordinary):
    past = ordinary.past.copy()
    past[:, :, :3] = np.nan
    assert "first seen at step 4 of 8" in told(surprise, model, ordinary, past)[0]
    past = ordinary.past.copy()
    past[:, :, 3:5] = np.nan
    assert "2 of 8 steps are missing: 4, 5" in told(surprise, model, ordinary, past)[0]
    past = ordinary.past.copy()
    past[:, :, :4] = past[:, :, 4:5]
    assert "steps 2, 3, 4, 5 repeat others" in told(surprise, model, ordinary, past)[0]


def test_reasons_tell_a_pace_in_the_unit_of_the_tracks(surprise, model, ordinary):
    reasons = told(surprise, model, ordinary, ordinary.past * 4)
    assert all("m/s: above all but" in reason for reason in reasons)


def test_an_agent_seen_once_is_judged_too(surprise, model, ordinary):
    past = np.full_like(ordinary.past, np.nan)
    past[:, :, -1] = ordinary.past[:, :, -1]
    found = judged(surprise, model, past, ordinary.target)
    assert (found.score > 0.95).all()
    assert np.isfinite(found.risk).all()


def test_what_is_read_back_says_the_same(surprise, model, ordinary, tmp_path):
    content = stored(surprise)
    assert content == stored(surprise)
    assert len(content) < 3e6
    (tmp_path / FILE).write_bytes(content)
    before = of(surprise, model, ordinary)
    after = of(read_surprise(tmp_path, WEIGHTS), model, ordinary)
    np.testing.assert_array_equal(after.score, before.score)
    np.testing.assert_array_equal(after.risk, before.risk)
    assert after.reasons == before.reasons
    assert set(after.parts) == {*available(), "faults"}


@pytest.mark.parametrize("harm", ["cut", "bit", "empty", "text"])
def test_a_damaged_file_is_refused(harm, surprise, tmp_path):
    content = bytearray(stored(surprise))
    content[len(content) // 2] ^= 1
    broken = {"cut": content[:-9], "bit": content, "empty": b"", "text": b"no such thing at all"}
    (tmp_path / FILE).write_bytes(broken[harm])
    with pytest.raises(RunError, match=r"is damaged.*fit RUN DATA ood"):
        read_surprise(tmp_path, WEIGHTS)


def test_a_surprise_of_other_weights_is_ignored(surprise, tmp_path):
    assert read_surprise(tmp_path, WEIGHTS) is None
    (tmp_path / FILE).write_bytes(stored(surprise))
    with pytest.warns(TrajflowWarning, match="other weights"):
        assert read_surprise(tmp_path, b"others") is None


def test_a_predictor_tells_surprise_where_it_is_asked(surprise, model, ordinary):
    facts = {"dt": 0.4, "unit": "m"}
    knowing = TorchPredictor(model, facts, surprise=surprise)
    past = ordinary.past[:5]
    plain = knowing.predict(past, samples=4, seed=1)
    found = knowing.predict(past, samples=4, seed=1, surprise=True)
    assert plain.surprise is None
    assert plain.reasons is None
    np.testing.assert_array_equal(found.samples, plain.samples)
    some = replace(ordinary, past=past, target=ordinary.target[:5])
    np.testing.assert_array_equal(found.surprise.ravel(), knowing.surprise_of(some).score)
    np.testing.assert_array_equal(found.expected_error.ravel(), knowing.surprise_of(some).risk)
    assert found.surprise.shape == found.reasons.shape == (5, A)
    frame = found.to_frame()
    assert (frame.query("window == 3 and agent == 1").surprise == found.surprise[3, 1]).all()
    assert {"surprise", "reason", "expected_error"} <= set(frame) - set(plain.to_frame())


def test_a_predictor_without_surprise_says_how_to_get_it(model, ordinary):
    predictor = TorchPredictor(model, {"dt": 0.4, "unit": "m"})
    with pytest.raises(ConfigError, match="fit RUN DATA ood"):
        predictor.predict(ordinary.past, surprise=True)
    with pytest.raises(ConfigError, match="fit RUN DATA ood"):
        predictor.surprise_of(ordinary)


def test_surprise_wants_people_to_learn_from(model):
    with pytest.raises(DataError, match="6 training people"):
        fit(model, walkers(3, 1), walkers(9, 2))


def test_new_people_are_beyond_a_level_as_often_as_it_says():
    chance = np.random.default_rng(0)
    people, rounds, above = 39, 600, {0.5: 0.0, 0.8: 0.0, 0.95: 0.0}
    for _ in range(rounds):
        own = chance.normal(size=people + 1)
        person = np.repeat(np.arange(people), chance.integers(1, 9, people))
        ranks = Ranks.of(own[person] + 0.3 * chance.normal(size=len(person)), person)
        new = ranks.below(own[-1:] + 0.3 * chance.normal(size=20))
        for level in above:
            above[level] += (new > level).mean() / rounds
    for level, share in above.items():
        assert share == pytest.approx(1 - level, abs=0.03)


def test_everybody_counts_once_in_ranks():
    values, person = np.array([1.0, 5, 5, 5, 5, 5]), np.array([0, 1, 1, 1, 1, 1])
    assert Ranks.of(values, person).below(np.array([3.0])) == pytest.approx(1 / 3 + 0.5 / 15)
    share = Ranks.of(values, person).below(np.linspace(-3, 40, 200))
    assert (np.diff(share) >= 0).all()
    assert share[0] > 0
    assert share[-1] < 1


def test_one_strange_recording_does_not_lift_the_threshold_of_the_others():
    chance = np.random.default_rng(3)
    person, recording = np.arange(150), np.repeat(np.arange(5), 30)
    values = chance.normal(size=150) + 50 * (recording == 4)
    usual, pooled = Ranks.usual(values, person, recording), Ranks.of(values, person)
    new = chance.normal(size=2000)
    assert (pooled.below(new) > 0.95).mean() == 0
    assert (usual.below(new) > 0.95).mean() == pytest.approx(0.05, abs=0.04)
    assert (usual.below(new + 50) > 0.95).all()


def test_ranks_of_one_recording_or_of_few_people_each_are_those_of_all():
    chance = np.random.default_rng(4)
    person = np.repeat(np.arange(45), chance.integers(1, 5, 45))
    values, asked = chance.normal(size=len(person)), np.linspace(-4, 6, 60)
    whole = Ranks.of(values, person).below(asked)
    for recording in (person * 0 + 7, person % 11):
        usual = Ranks.usual(values, person, recording)
        assert usual.people == pytest.approx(45)
        np.testing.assert_allclose(usual.below(asked), whole, atol=1e-9)


def test_expected_errors_are_as_large_as_errors_are(surprise, model):
    from trajflow.surprise.foretelling import Drawing, energy_scores

    batches = walkers(45, 6)
    told = np.concatenate([of(surprise, model, one).risk for one in batches])
    true = energy_scores(model, batches, Drawing(1))
    assert told.mean() == pytest.approx(true.mean(), rel=0.2)


def test_the_stranger_of_two_beyond_all_known_is_told():
    ranks = Ranks.of(np.arange(30.0), np.arange(30))
    far, farther = ranks.below(np.array([40.0, 80.0]))
    assert 30 / 31 < far < farther <= 1


def test_a_forest_of_arrays_is_the_one_that_was_grown():
    from sklearn.ensemble import HistGradientBoostingClassifier

    chance = np.random.default_rng(2)
    rows = chance.normal(size=(300, 5))
    rows[chance.random(rows.shape) < 0.2] = np.nan
    faulty = np.nan_to_num(rows[:, 1]) * np.nan_to_num(rows[:, 3]) > 0.1
    forest = Forest.telling(rows, faulty, np.ones(300))
    grown = HistGradientBoostingClassifier(
        max_iter=120, max_leaf_nodes=31, max_depth=7, learning_rate=0.12, l2_regularization=1.0
    )
    grown.set_params(early_stopping=False, random_state=0).fit(rows, faulty, np.ones(300))
    np.testing.assert_allclose(forest(rows), grown.decision_function(rows), atol=1e-9)
    same = Forest.of(forest.arrays())
    np.testing.assert_array_equal(same(rows), forest(rows))


def test_every_score_is_found_by_its_file():
    assert {"mahalanobis", "neighbours", "consistency", "agreement", "spread"} <= set(available())
    assert all(callable(load(name).values) for name in available())


class Drawing:
    """Draws around a place of its own."""

    def __init__(self, place):
        self.place = place

    def forecast(self, batch, samples, seed):
        chance = np.random.default_rng(seed)
        return self.place + chance.normal(size=(samples, *batch.target.shape, F, D))


def test_runs_that_agree_do_not_disagree(ordinary):
    alike = disagreement([Drawing(0.0)] * 3, ordinary, samples=30)
    apart = disagreement([Drawing(0.0), Drawing(2.0), Drawing(4.0)], ordinary, samples=30)
    assert alike.shape == (ordinary.targets,)
    assert abs(alike.mean()) < 0.01
    assert apart.min() > 1
    with pytest.raises(ConfigError, match="2 runs"):
        disagreement([Drawing(0.0)], ordinary)
