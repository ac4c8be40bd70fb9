"""Calibrated regions: they hold for new people as often as they say, whatever the people are."""

import json
from dataclasses import replace

import numpy as np
import pytest

from trajflow.calibration import (
    FILE,
    FLOOR,
    GRID,
    LEVELS,
    Calibration,
    CalibrationOrigin,
    Evidence,
    calibration_bytes,
    digest,
    fit,
    gather,
    median_spread,
    person_means,
    person_quantiles,
    read_calibration,
)
from trajflow.errors import ConfigError, DataError, RunError, TrajflowError, TrajflowWarning
from trajflow.forecast import Forecast
from trajflow.regions import region_of
from trajflow.reliability import check, cross_check
from trajflow.types import Batch

S, F, D = 11, 3, 2


def drawn(windows, seed=0, off=0.0):
    """Samples [S, N, F, D], what happened [N, F, D] and whose it was, 2 to 4 windows each."""
    chance = np.random.default_rng(seed)
    person = np.repeat(np.arange(windows), chance.integers(2, 5, windows))
    width = chance.uniform(0.3, 3, (len(person), 1, 1)) * np.arange(1, F + 1)[:, None]
    samples = chance.normal(size=(S, len(person), F, D)) * width
    own = chance.normal(size=(windows, F, D))[person]
    return samples, (own + off) * width, person


def evidence(people=40, seed=0, off=0.0):
    return Evidence.of(*drawn(people, seed, off))


def crowd(chance, people, most):
    """Scores [N] that are the person's own but for a hundredth, and whose they are; the restless
    are far off and soon gone, the others stay for many windows."""
    restless = chance.random(people) < 0.3
    windows = np.where(restless, 1 + chance.integers(0, 2, people), most)
    person = np.repeat(np.arange(people), windows)
    own = np.where(restless, 5, 0) + chance.exponential(size=people)
    return own[person] + 0.01 * chance.random(len(person)), person


@pytest.mark.parametrize(("people", "level"), [(19, 0.5), (19, 0.8), (33, 0.9)])
def test_bounds_hold_for_a_window_of_a_new_person_with_the_level_and_hardly_more(people, level):
    chance = np.random.default_rng([people, int(10 * level)])
    draws, ours, pooled = 1500, 0, 0
    for _ in range(draws):
        scores, person = crowd(chance, people + 1, most=20)
        known = person < people
        new = chance.choice(scores[~known])
        ours += new <= person_quantiles(scores[known], person[known], level)[0]
        pooled += new <= person_quantiles(scores[known], np.arange(known.sum()), level)[0]
    error = 3 * np.sqrt(level * (1 - level) / draws)
    assert level - error <= ours / draws <= level + 2 / (people + 1) + error
    assert pooled / draws < level - 2 * error


def test_many_windows_of_few_people_are_few_people():
    """Pooled, they hold as the highest of 5 people does: 5 times in 6, and 0.9 was asked for."""
    chance = np.random.default_rng(3)
    level, people, each, draws = 0.9, 5, 20, 1500
    ours, pooled = 0, 0
    for _ in range(draws):
        own = chance.exponential(size=people + 1)
        scores = np.repeat(own[:people], each)
        person = np.repeat(np.arange(people), each)
        ours += own[people] <= person_quantiles(scores, person, level)[0]
        pooled += own[people] <= person_quantiles(scores, np.arange(len(scores)), level)[0]
    assert ours == draws
    assert pooled / draws == pytest.approx(people / (people + 1), abs=0.03)


@pytest.mark.parametrize("people", [9, 10, 29])
def test_one_window_each_is_the_rank_of_split_conformal(people):
    scores = np.random.default_rng(people).permutation(people) + 1.0
    bounds = person_quantiles(scores, np.arange(people), GRID)
    rank = np.ceil(np.round(GRID * (people + 1), 6))
    np.testing.assert_array_equal(bounds, np.where(rank <= people, rank, np.inf))


def test_a_persons_windows_may_be_doubled_and_people_renamed():
    scores, person = crowd(np.random.default_rng(1), 12, most=7)
    bounds = person_quantiles(scores, person, GRID)
    twice = np.flatnonzero(person == 4)
    more = np.append(np.arange(len(scores)), twice)
    np.testing.assert_array_equal(person_quantiles(scores[more], 99 - person[more], GRID), bounds)
    order = np.random.default_rng(2).permutation(len(scores))
    np.testing.assert_array_equal(person_quantiles(scores[order], person[order], GRID), bounds)


def test_means_count_everybody_once():
    values = np.array([[1.0, 0.0], [3.0, 0.0], [8.0, 5.0]])
    np.testing.assert_allclose(person_means(values, np.array([7, 7, 2])), [5.0, 2.5])


def test_fitted_regions_hold_on_others_where_the_samples_own_do_not():
    calibration = fit(evidence(people=900), median_spread(evidence(50, seed=1)))
    found = check(calibration, evidence(people=900, seed=2))
    for kind in ("endpoint", "each", "path"):
        shares = found.inside[kind]["calibrated"]["people"]
        np.testing.assert_allclose(shares, LEVELS, atol=0.06)
    biased = evidence(people=900, seed=3, off=1.5)
    own = check(calibration, biased).inside["endpoint"]["own"]["people"]
    again = cross_check(biased, median_spread(biased))
    assert (own[5:-1] < LEVELS[5:-1] - 0.1).all()
    assert own[-1] == pytest.approx(1)  # of 11 samples none is beyond 0.95: the radius is infinite
    np.testing.assert_allclose(again.inside["path"]["calibrated"]["people"], LEVELS, atol=0.06)
    np.testing.assert_array_equal(again.inside["endpoint"]["own"]["people"], own)


def test_the_halves_of_a_check_share_nobody():
    """A half of 15 people promises nothing at 0.95; all 30, some windows of each, would."""
    people = 30
    person = np.repeat(np.arange(people), 4)
    samples = np.repeat(np.random.default_rng(0).normal(size=(S, 1, F, D)), len(person), 1)
    future = samples.mean(0) + 1.0 + person[:, None, None]
    found = cross_check(Evidence.of(samples, future, person), np.ones(F))
    share = found.inside["endpoint"]["calibrated"]["people"][LEVELS.tolist().index(0.9)]
    assert 0.7 < share <= (people - 1) / people
    assert np.isinf(found.radius["calibrated"]).tolist() == [level > 15 / 16 for level in LEVELS]
    assert (found.people, found.windows) == (people, len(person))
    with pytest.raises(DataError, match="two people"):
        cross_check(Evidence.of(samples, future, 0 * person), np.ones(F))


@pytest.mark.parametrize("scale", [1e-3, 2048.0])
def test_a_unit_changes_radii_by_itself(scale):
    samples, future, person = drawn(25)
    one = Evidence.of(samples, future, person)
    other = Evidence.of(scale * samples, scale * future, person)
    first, second = (fit(known, median_spread(known)) for known in (one, other))
    np.testing.assert_allclose(second.each, first.each, rtol=1e-12)
    np.testing.assert_allclose(second.path, first.path, rtol=1e-12)
    radius = region_of(scale * samples, 0.8, "path", replace_samples(second)).radius
    near = region_of(samples, 0.8, "path", replace_samples(first)).radius
    np.testing.assert_allclose(radius, scale * near, rtol=1e-12)


@pytest.mark.parametrize("steps", ["each", "path"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_regions_turn_and_shift_with_the_world(steps, calibrated):
    samples, future, person = drawn(25)
    known = replace_samples(fit(Evidence.of(samples, future, person), np.ones(F)))
    turn, shift = np.array([[0.6, -0.8], [0.8, 0.6]]), np.array([300.0, -7.0])
    here, there = (
        region_of(s, 0.7, steps, known if calibrated else None)
        for s in (samples, samples @ turn.T + shift)
    )
    np.testing.assert_allclose(there.radius, here.radius, rtol=1e-9)
    np.testing.assert_allclose(there.centre, here.centre @ turn.T + shift, atol=1e-9)
    points = 1.01 * future
    moved = there.contains(points @ turn.T + shift)
    np.testing.assert_array_equal(moved, here.contains(points))
    assert 0 < moved.sum() < moved.size
    assert here.calibrated is calibrated


def replace_samples(calibration, samples=S):
    return replace(calibration, origin=replace(calibration.origin, samples=samples))


@pytest.mark.parametrize("steps", ["each", "path"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "count", [10, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 50)), 400]
)
def test_the_samples_own_regions_hold_a_truth_of_the_samples_own_law(count, dims, steps):
    """A radius ends at a sample, so it holds the next rank above the level, at most 1 / (S + 1)
    more; few samples of two far modes are further from their mean than it can tell."""
    chance = np.random.default_rng([count, dims])
    agents = {10: 16_000, 20: 16_000, 50: 4_000, 400: 1_000}[count]
    for law in ("gaussian", "heavy", "bimodal"):
        points = chance.normal(size=(count + 1, agents, 2, dims))
        if law == "heavy":
            points = chance.standard_t(3, size=points.shape)
        if law == "bimodal":
            points[..., 0] = 0.3 * points[..., 0] + np.sign(
                chance.random((*points.shape[:2], 1)) - 0.5
            )
        region = region_of(points[1:], 0.9, steps)
        inside = region.contains(points[0])
        share = inside.all(-1).mean() if steps == "path" else inside.mean()
        error = {10: 0.005, 20: 0.005, 50: 0.01, 400: 0.03}[count]
        more = 0.06 if law == "bimodal" and count < 50 else 1 / (count + 1)
        assert 0.9 - error <= share <= 0.9 + more + error, law


def test_the_samples_own_regions_are_infinite_where_they_are_too_few_for_the_level():
    samples = np.random.default_rng(0).normal(size=(40, 2, 5, F, D))
    each, path = (region_of(samples, 0.75, steps) for steps in ("each", "path"))
    assert (path.radius.mean((0, 1)) > each.radius.mean((0, 1))).all()
    assert each.radius.shape == (2, 5, F)
    assert not each.calibrated
    for count, infinite in ((9, False), (8, True), (2, True), (1, True)):
        radius = region_of(samples[:count], 0.9).radius
        assert np.isinf(radius).all() == infinite
        assert np.isinf(radius).any() == infinite
    still = region_of(0 * samples, 0.9, "path")
    np.testing.assert_array_equal(still.radius, 0)


def test_weights_count_samples_as_if_they_were_so_many():
    samples = np.random.default_rng(0).normal(size=(4, 5, F, D))
    times = np.array([3, 1, 4, 2])
    weights = np.broadcast_to((times / times.sum())[:, None], (4, 5))
    told = region_of(samples, 0.65, weights=weights)
    full = np.repeat(samples, times, 0)
    np.testing.assert_allclose(told.centre, full.mean(0), atol=1e-12)
    away = np.sort(np.linalg.norm(full - full.mean(0), axis=-1), 0)
    np.testing.assert_allclose(told.radius, away[6], rtol=1e-9)
    known = replace_samples(fit(evidence(), np.ones(F)), 4)
    assert region_of(samples, 0.65, calibration=known).calibrated
    assert not region_of(samples, 0.65, calibration=known, weights=weights).calibrated


def test_the_standing_have_a_region_as_wide_as_the_floor_says():
    samples, future, person = drawn(30)
    still = person < 5
    samples[:, still], future[still] = 4.0, 4.001
    known = Evidence.of(samples, future, person)
    calibration = replace_samples(fit(known, np.full(F, 2.0)))
    assert np.isfinite(calibration.factor(0.9)).all()
    radius = region_of(samples, 0.9, "each", calibration).radius
    wide = np.tile(2.0 * FLOOR * calibration.factor(0.9), (still.sum(), 1))
    np.testing.assert_allclose(radius[still], wide)
    own = region_of(samples, 0.9, "path")
    assert (own.radius[still] == 0).all()
    assert own.contains(samples[0])[still].all()


def test_nobody_moves_and_nothing_is_infinite_but_what_is_missed():
    person = np.arange(20)
    samples, future = np.zeros((S, 20, F, D)), np.zeros((20, F, D))
    assert (fit(Evidence.of(samples, future, person), np.zeros(F)).path == 0).sum() == 95
    future[0, -1] = 1
    assert np.isinf(fit(Evidence.of(samples, future, person), np.zeros(F)).factor(0.95)[-1])


def test_too_few_people_promise_nothing_beyond_their_number():
    calibration = fit(evidence(people=12), np.ones(F))
    assert calibration.highest == 0.92
    assert np.isfinite(calibration.factor(0.92)).all()
    assert np.isinf(calibration.factor(0.93)).all()
    assert np.isinf(calibration.factor(0.93, "path")).all()
    samples, future, _ = drawn(3)
    region = region_of(samples, 0.95, "each", replace_samples(calibration))
    assert np.isinf(region.radius).all()
    assert region.contains(future + 1e9).all()


def test_levels_between_those_kept_take_the_next_higher():
    calibration = fit(evidence(), np.ones(F))
    np.testing.assert_array_equal(calibration.factor(0.891), calibration.factor(0.9))
    assert (calibration.factor(0.89) < calibration.factor(0.9)).any()
    assert calibration.factor(0.9).tolist() != calibration.factor(0.91).tolist()
    for level in (0, 0.991, 1, 1.5):
        with pytest.raises(ConfigError, match=r"up to 0.99, got"):
            calibration.factor(level)


@pytest.mark.parametrize("words", [(0.0,), (1.0,), (-1,), (0.5, "all")])
def test_regions_of_nonsense_are_refused(words):
    with pytest.raises(ConfigError, match="got"):
        region_of(drawn(3)[0], *words)


def test_a_forecast_answers_with_its_calibration_if_it_has_enough_draws():
    samples, future, person = drawn(30)
    calibration = replace_samples(fit(Evidence.of(samples, future, person), np.ones(F)))
    forecast = Forecast(samples, 0.4, calibration=calibration)
    region = forecast.region(0.8, "path")
    assert region.calibrated
    np.testing.assert_allclose(
        region.radius, np.maximum(forecast.spread(), FLOOR) * calibration.factor(0.8, "path")
    )
    np.testing.assert_allclose(region.centre, forecast.mean())
    assert not Forecast(samples[:-1], 0.4, calibration=calibration).region(0.8).calibrated
    assert not Forecast(samples, 0.4).region(0.8).calibrated


class Reader:
    """A forecaster that would draw the future exactly, were it shown."""

    def forecast(self, batch, samples, seed):
        chance = np.random.default_rng(seed)
        around = np.nan_to_num(batch.future)
        return around + chance.normal(size=(samples, *around.shape))


def test_evidence_is_of_the_targets_and_hides_what_happened():
    chance = np.random.default_rng(0)
    target = np.array([[True, False, True], [False, True, False]])
    batch = Batch(
        past=chance.normal(size=(2, 3, 4, D)),
        future=chance.normal(size=(2, 3, F, D)) + 100,
        target=target,
        scene=np.zeros(2, int),
        start=np.zeros(2, int),
        agent=np.arange(6).reshape(2, 3),
    )
    found = gather(Reader(), [batch, replace(batch, target=~target & False), batch], S, 5)
    assert found.person.tolist() == [0, 2, 4, 0, 2, 4]
    assert found.people == 3
    assert (found.away > 90).all()
    assert (found.away[:3] != found.away[3:]).all()
    with pytest.raises(DataError, match="no windows"):
        gather(Reader(), [], S, 5)


def test_what_is_not_finite_is_not_calibrated():
    samples, future, person = drawn(3)
    samples[0, 0, 0, 0] = np.nan
    with pytest.raises(TrajflowError, match="not finite"):
        Evidence.of(samples, future, person)


@pytest.fixture
def kept(tmp_path):
    """A folder with a calibration of 12 people that belongs to the weights b"ours"."""
    origin = CalibrationOrigin(
        samples=S, evaluations=2, seed=3, store="abc", weights=digest(b"ours")
    )
    calibration = fit(evidence(people=12), np.ones(F), origin)
    (tmp_path / FILE).write_bytes(calibration_bytes(calibration))
    return tmp_path, calibration


def test_a_file_brings_back_what_was_kept(kept):
    folder, calibration = kept
    found = read_calibration(folder, b"ours", 2)
    assert isinstance(found, Calibration)
    assert found.origin == calibration.origin
    assert found.origin.people == 12
    for name in ("each", "path", "floor"):
        np.testing.assert_array_equal(getattr(found, name), getattr(calibration, name))
    assert np.isinf(found.path[-1])


def test_forecasts_of_another_kind_have_no_calibration(kept, tmp_path):
    assert read_calibration(kept[0], b"ours", 1) is None
    assert read_calibration(kept[0] / "nothing", b"ours", 2) is None
    assert read_calibration(kept[0] / FILE, b"ours", 2) is None


def test_a_calibration_of_other_weights_is_ignored_with_a_warning(kept):
    with pytest.warns(TrajflowWarning, match=f"{FILE} belongs to other weights"):
        assert read_calibration(kept[0], b"theirs", 2) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: said.pop("path"),
        lambda said: said.update(format=2),
        lambda said: said.update(levels=said["levels"][:-1]),
        lambda said: said.update(floor=[1.0]),
        lambda said: said.update(floor=[None] * F),
        lambda said: said.update(people="12"),
        lambda said: said.update(path=said["path"][::-1]),
        lambda said: said.update(each=[[-1.0] * F] * len(GRID)),
        lambda said: said.update(each="wide"),
    ],
)
def test_a_damaged_file_is_named(kept, damage):
    path = kept[0] / FILE
    said = json.loads(path.read_bytes())
    damage(said)
    path.write_text(json.dumps(said))
    with pytest.raises(RunError, match=rf"{FILE} is damaged: .*trajflow fit RUN DATA calibration"):
        read_calibration(kept[0], b"ours", 2)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2]", b"{"])
def test_a_file_of_something_else_is_named(kept, content):
    (kept[0] / FILE).write_bytes(content)
    with pytest.raises(RunError, match=f"{FILE} is damaged"):
        read_calibration(kept[0], b"ours", 2)
