"""The OOD detector: corrupted tracks score higher than ordinary ones, and it says why."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import walkers_support

from trajflow.calibration import digest
from trajflow.errors import ConfigError, DataError, RunError, TrajflowWarning
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import energy_score
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.ood.changes import World
from trajflow.ood.corruptions import trained
from trajflow.ood.detector import FULL, Origin
from trajflow.ood.fitting import fit_detector
from trajflow.ood.forest import Forest
from trajflow.ood.ranks import Ranks
from trajflow.ood.storage import FILE, detector_bytes, read_detector
from trajflow.types import Batch

A, T, F, D = 3, 8, 9, 2
WEIGHTS = b"weights"
FACTS = {"dt": 0.4, "unit": "m"}


def walkers(people, seed, windows=4):
    return walkers_support.walkers(people, seed, T, F, windows)


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
def predictor(model):
    predictor = TorchPredictor(model, FACTS)
    origin = Origin(weights=digest(WEIGHTS), dt=0.4, unit="m")
    predictor.detector = fit_detector(
        predictor, walkers(60, 1, 2), walkers(60, 2, 2), seed=4, origin=origin
    )
    return predictor


@pytest.fixture(scope="module")
def ordinary():
    batches = walkers(45, 5)
    fields = ("past", "future", "target", "scene", "start", "agent")
    return Batch(**{k: np.concatenate([getattr(b, k) for b in batches]) for k in fields})


def score(predictor, past, target):
    zeros = np.zeros(len(past), int)
    future = np.full((*past.shape[:2], F, D), np.nan)
    return predictor.ood(Batch(past, future, target, zeros, zeros, np.zeros(target.shape, int)))


def test_ordinary_people_score_as_the_reference_people_do(predictor, ordinary):
    scores = predictor.ood(ordinary).ood_score
    assert ((scores > 0) & (scores <= 1)).all()
    assert (scores > 0.95).mean() < 0.15
    assert 0.35 < scores.mean() < 0.65


@pytest.mark.parametrize("name", [c.name for c in trained() if c.name != "late"])
def test_known_corruptions_score_higher_than_the_tracks_they_are_made_of(name, predictor, ordinary):
    (corruption,), rng = trained([name]), np.random.default_rng(8)
    severity = corruption.draw(rng, len(ordinary.scene), predictor.displacement_scale)
    corrupted = corruption.apply(ordinary, severity, rng, World())
    assert corrupted.targets > 0.6 * ordinary.targets
    scores = predictor.ood(corrupted).ood_score
    assert (scores > np.median(predictor.ood(ordinary).ood_score)).mean() > 0.8


def test_the_score_grows_with_noise(predictor, ordinary):
    noise = np.random.default_rng(1).normal(size=ordinary.past.shape)
    levels = [
        score(predictor, ordinary.past + size * noise, ordinary.target).ood_score.mean()
        for size in (0, 0.03, 0.1, 0.3)
    ]
    assert levels == sorted(levels)
    assert levels[-1] > 0.95


def test_the_world_may_be_turned_and_moved(predictor, ordinary):
    cos, sin = np.cos(1.1), np.sin(1.1)
    turned = ordinary.past @ np.array([[cos, sin], [-sin, cos]]) + [300.0, -70.0]
    before, after = predictor.ood(ordinary), score(predictor, turned, ordinary.target)
    np.testing.assert_allclose(after.ood_score, before.ood_score, atol=2e-3)
    np.testing.assert_allclose(after.expected_error, before.expected_error, rtol=0.05)


def test_agents_may_stand_in_any_order(predictor, ordinary):
    order = [2, 0, 1]
    before = predictor.ood(ordinary).ood_score.reshape(-1, A)
    after = score(predictor, ordinary.past[:, order], ordinary.target).ood_score.reshape(-1, A)
    np.testing.assert_allclose(after, before[:, order], atol=1e-3)


def test_only_targets_are_scored_in_their_order(predictor, ordinary):
    target = ordinary.target.copy()
    target[::2, 1] = False
    every, some = predictor.ood(ordinary), score(predictor, ordinary.past, target)
    np.testing.assert_allclose(some.ood_score, every.ood_score[target.ravel()], atol=1e-3)
    assert len(some.reasons) == len(some.expected_error) == len(some.ood_score) == target.sum()


def reasons_for(predictor, batch, past):
    scores = score(predictor, np.where(np.isfinite(past), past, np.nan), batch.target)
    given = [reason for reason in scores.reasons if reason]
    assert len(given) > 0.7 * len(scores.reasons)
    return given


def test_reasons_name_the_steps_that_were_filled(predictor, ordinary):
    past = ordinary.past.copy()
    share = (np.arange(2, 6) - 1)[:, None] / 5
    past[:, :, 2:6] = past[:, :, 1:2] + share * (past[:, :, 6:7] - past[:, :, 1:2])
    reasons = reasons_for(predictor, ordinary, past)
    named = ["steps 2-7 lie on a straight line" in reason for reason in reasons]
    assert np.mean(named) > 0.9


@pytest.mark.parametrize("step", [0, 4, 7])
def test_reasons_name_the_step_that_jumps(step, predictor, ordinary):
    past = ordinary.past.copy()
    past[:, :, step] += [3.0, 2.0]
    reasons = reasons_for(predictor, ordinary, past)
    assert np.mean([f"m at step {step + 1}" in reason for reason in reasons]) > 0.9


def test_reasons_name_the_steps_that_are_missing_or_repeated(predictor, ordinary):
    past = ordinary.past.copy()
    past[:, :, 3:5] = np.nan
    assert "2 of 8 steps are missing: 4, 5" in reasons_for(predictor, ordinary, past)[0]
    past = ordinary.past.copy()
    past[:, :, :4] = past[:, :, 4:5]
    assert "steps 2, 3, 4, 5 repeat the one before" in reasons_for(predictor, ordinary, past)[0]


def test_reasons_give_the_speed_in_the_unit_of_the_tracks(predictor, ordinary):
    reasons = reasons_for(predictor, ordinary, ordinary.past * 4)
    assert all("m/s: above all but" in reason for reason in reasons)


@pytest.mark.parametrize("steps", range(1, T))
def test_a_track_that_has_just_begun_is_no_false_alarm(steps, predictor, ordinary):
    past = ordinary.past.copy()
    past[:, :, :-steps] = np.nan
    scores = score(predictor, past, ordinary.target)
    assert (scores.ood_score > 0.95).mean() < 0.15
    assert (scores.typical_score > 0.95).mean() < 0.15
    assert 0.05 < scores.ood_score.mean() < 0.7
    assert not any("just begun" in one or " of 8" in one for one in scores.reasons)
    assert np.isfinite(scores.expected_error).all()


@pytest.mark.parametrize("steps", [3, 5])
def test_a_short_past_that_is_corrupted_scores_higher_than_one_that_is_not(
    steps, predictor, ordinary
):
    short, jumps = ordinary.past.copy(), ordinary.past.copy()
    jumps[:, :, -2] += [3.0, 2.0]
    for past in (short, jumps):
        past[:, :, :-steps] = np.nan
    ordinary_scores, corrupted = (
        score(predictor, past, ordinary.target).ood_score for past in (short, jumps)
    )
    assert (corrupted > ordinary_scores).mean() > 0.9
    assert (corrupted > 0.95).mean() > 0.5


def test_a_detector_without_ranks_of_short_pasts_ranks_them_among_full_ones(
    predictor, ordinary, tmp_path
):
    old = replace(predictor.detector, ranks={FULL: predictor.detector.ranks[FULL]})
    (tmp_path / FILE).write_bytes(detector_bytes(old))
    read = read_detector(tmp_path, WEIGHTS)
    past = ordinary.past[ordinary.target]
    context = predictor.contexts(ordinary)
    new, kept = predictor.detector.score(past, context), read.score(past, context)
    np.testing.assert_allclose(kept.ood_score, new.ood_score)
    past[:, :-2] = np.nan
    assert (read.score(past, context).ood_score > 0.5).mean() > 0.9


def test_a_detector_read_back_scores_the_same(model, predictor, ordinary, tmp_path):
    content = detector_bytes(predictor.detector)
    assert content == detector_bytes(predictor.detector)
    assert len(content) < 1e6
    (tmp_path / FILE).write_bytes(content)
    again = TorchPredictor(model, FACTS, detector=read_detector(tmp_path, WEIGHTS))
    before, after = predictor.ood(ordinary), again.ood(ordinary)
    for name in ("ood_score", "typical_score", "forest", "distance", "expected_error"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.reasons == before.reasons


@pytest.mark.parametrize("harm", ["cut", "bit", "empty", "text"])
def test_a_damaged_file_is_refused(harm, predictor, tmp_path):
    content = bytearray(detector_bytes(predictor.detector))
    content[len(content) // 2] ^= 1
    broken = {"cut": content[:-9], "bit": content, "empty": b"", "text": b"no such thing at all"}
    (tmp_path / FILE).write_bytes(broken[harm])
    with pytest.raises(RunError, match=r"is damaged.*fit RUN DATA ood"):
        read_detector(tmp_path, WEIGHTS)


def test_a_detector_of_other_weights_or_of_an_earlier_version_is_ignored(predictor, tmp_path):
    assert read_detector(tmp_path, WEIGHTS) is None
    (tmp_path / "surprise.safetensors").write_bytes(b"of version 0.1.0")
    with pytest.warns(TrajflowWarning, match=r"earlier version.*fit RUN DATA ood"):
        assert read_detector(tmp_path, WEIGHTS) is None
    (tmp_path / FILE).write_bytes(detector_bytes(predictor.detector))
    with pytest.warns(TrajflowWarning, match="other weights"):
        assert read_detector(tmp_path, b"others") is None


def test_a_predictor_scores_pasts_where_that_is_wanted(predictor, ordinary):
    past = ordinary.past[:5]
    plain = predictor.predict(past, samples=4, seed=1)
    scored = predictor.predict(past, samples=4, seed=1, ood=True)
    assert plain.ood_score is None
    assert plain.ood_reasons is None
    np.testing.assert_array_equal(scored.samples, plain.samples)
    some = predictor.ood(replace(ordinary, past=past, target=ordinary.target[:5]))
    np.testing.assert_allclose(scored.ood_score.ravel(), some.ood_score, atol=1e-9)
    np.testing.assert_allclose(scored.expected_error.ravel(), some.expected_error, rtol=1e-9)
    assert scored.ood_score.shape == scored.ood_reasons.shape == (5, A)
    frame = scored.to_frame()
    assert (frame.query("window == 3 and agent == 1").ood_score == scored.ood_score[3, 1]).all()
    assert {"ood_score", "ood_reason", "expected_error"} <= set(frame) - set(plain.to_frame())


def test_scores_take_no_second_pass_through_the_encoder(predictor, ordinary):
    passes = []
    encoder = predictor.model.encoder
    hook = encoder.register_forward_hook(lambda *_: passes.append(1))
    predictor.predict(ordinary.past[:5], samples=4, seed=1, ood=True)
    hook.remove()
    assert len(passes) == 1


def test_a_predictor_without_a_detector_says_how_to_get_one(model, ordinary):
    bare = TorchPredictor(model, FACTS)
    with pytest.raises(ConfigError, match="fit RUN DATA ood"):
        bare.predict(ordinary.past, ood=True)
    with pytest.raises(ConfigError, match="fit RUN DATA ood"):
        bare.ood(ordinary)


def test_a_detector_needs_people_to_learn_from(model):
    with pytest.raises(DataError, match="6 training people"):
        fit_detector(TorchPredictor(model, FACTS), walkers(3, 1), walkers(9, 2))


def test_new_people_are_beyond_a_level_as_often_as_it_says():
    rng = np.random.default_rng(0)
    people, rounds, above = 39, 600, {0.5: 0.0, 0.8: 0.0, 0.95: 0.0}
    for _ in range(rounds):
        own = rng.normal(size=people + 1)
        person = np.repeat(np.arange(people), rng.integers(1, 9, people))
        ranks = Ranks.of(own[person] + 0.3 * rng.normal(size=len(person)), person)
        new = ranks.below(own[-1:] + 0.3 * rng.normal(size=20))
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


def test_one_unusual_recording_does_not_lift_the_threshold_of_the_others():
    rng = np.random.default_rng(3)
    person, recording = np.arange(150), np.repeat(np.arange(5), 30)
    values = rng.normal(size=150) + 50 * (recording == 4)
    typical, pooled = (
        Ranks.in_typical_recording(values, person, recording),
        Ranks.of(values, person),
    )
    new = rng.normal(size=2000)
    assert (pooled.below(new) > 0.95).mean() == 0
    assert (typical.below(new) > 0.95).mean() == pytest.approx(0.05, abs=0.04)
    assert (typical.below(new + 50) > 0.95).all()


def test_ranks_of_one_recording_or_of_few_people_each_are_those_of_all():
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(45), rng.integers(1, 5, 45))
    values, asked = rng.normal(size=len(person)), np.linspace(-4, 6, 60)
    whole = Ranks.of(values, person).below(asked)
    for recording in (person * 0 + 7, person % 11):
        typical = Ranks.in_typical_recording(values, person, recording)
        assert typical.people == pytest.approx(45)
        np.testing.assert_allclose(typical.below(asked), whole, atol=1e-9)


def test_expected_errors_are_as_large_as_errors_are(predictor):
    expected, errors = [], []
    for batch in walkers(45, 6):
        expected.append(predictor.ood(batch).expected_error)
        drawn = predictor.forecast(batch, 20, 0)[:, batch.target]
        errors.append(energy_score(drawn, batch.future[batch.target]))
    mean = np.concatenate(expected).mean()
    assert mean == pytest.approx(np.concatenate(errors).mean(), rel=0.2)


def test_the_farther_of_two_beyond_all_known_ranks_higher():
    ranks = Ranks.of(np.arange(30.0), np.arange(30))
    far, farther = ranks.below(np.array([40.0, 80.0]))
    assert 30 / 31 < far < farther <= 1


def test_a_forest_of_arrays_is_the_one_that_was_grown():
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(2)
    rows = rng.normal(size=(300, 5))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    corrupted = np.nan_to_num(rows[:, 1]) * np.nan_to_num(rows[:, 3]) > 0.1
    forest = Forest.classifier(rows, corrupted, np.ones(300))
    grown = HistGradientBoostingClassifier(
        max_iter=120, max_leaf_nodes=31, max_depth=7, learning_rate=0.12, l2_regularization=1.0
    )
    grown.set_params(early_stopping=False, random_state=0).fit(rows, corrupted, np.ones(300))
    np.testing.assert_allclose(forest(rows), grown.decision_function(rows), atol=1e-9)
    same = Forest.of(forest.arrays(), 5)
    np.testing.assert_array_equal(same(rows), forest(rows))
