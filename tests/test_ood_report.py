"""The OOD report: its numbers are known ones, and people, not windows, are observations."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from ood_support import length_scores
from sklearn.metrics import roc_auc_score

from trajflow.baselines import load
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, RunError
from trajflow.ood.corruptions import available
from trajflow.ood.evaluate import (
    BaselineDetectors,
    evaluate_ood,
    report_bytes,
    turned_steps,
)
from trajflow.ood.plots import draw
from trajflow.ood.report import (
    OOD_SCORE,
    OODTerms,
    by_hidden_cost,
    hidden_summary,
    is_hidden,
    newest_report,
    read_report,
    report_name,
)
from trajflow.ood.statistics import (
    INDEX_80,
    KEPT_SHARES,
    Rates,
    bootstrap_weights,
    drop80,
    interval,
    retained,
    weighted_mean,
)
from trajflow.ood.windows import OrdinaryWindows, metre_of

N, M = 70, 53


@dataclass
class LengthPredictor:
    """Goes on as before, and takes long steps for out of distribution."""

    calibration: object = None

    def forecast(self, batch, samples, seed):
        return load("cv-sampled")([batch], samples, seed).forecast(batch, samples, seed)

    def ood(self, batch):
        return length_scores(batch.past[batch.target])


def once(count):
    return np.ones((1, count))


@pytest.fixture(scope="module")
def evaluated(fork):
    """The store, the settings of a run of it, and a report of few corruptions."""
    store, config = open_store(fork), Config.load()
    names = ("noise-2", "slow-2", "mirrored", "unit-3")
    terms = OODTerms(windows=150, samples=5, names=names)
    return store, config, terms, evaluate_ood("it", LengthPredictor(), store, config, terms)


def test_rates_are_those_of_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    ordinary, corrupted = rng.normal(size=N).round(1), rng.normal(size=M).round(1) + 0.5
    found = Rates.of(ordinary, corrupted, (once(N), once(M)))
    truth, scores = np.repeat([0, 1], [N, M]), np.concatenate([ordinary, corrupted])
    assert found.auroc[0] == pytest.approx(roc_auc_score(truth, scores))
    limit = np.sort(corrupted)[::-1][int(np.ceil(0.95 * M)) - 1]
    assert found.fpr95[0] == pytest.approx((ordinary >= limit).mean())


def test_weighted_rates_are_those_of_repeated_windows():
    rng = np.random.default_rng(1)
    ordinary, corrupted = rng.normal(size=N).round(1), rng.normal(size=M).round(1)
    times = rng.integers(0, 4, N)[None].astype(float), rng.integers(0, 4, M)[None].astype(float)
    found = Rates.of(ordinary, corrupted, times)
    more = (
        np.repeat(s, t[0].astype(int)) for s, t in zip((ordinary, corrupted), times, strict=True)
    )
    one, other = more
    expected = Rates.of(one, other, (once(len(one)), once(len(other))))
    for kind in ("auroc", "fpr95"):
        assert getattr(found, kind) == pytest.approx(getattr(expected, kind))


def test_equal_scores_tell_nothing_and_separate_ones_everything():
    found = Rates.of(np.zeros(N), np.zeros(M), (once(N), once(M)))
    assert found.auroc[0] == 0.5
    assert found.fpr95[0] == 1
    apart = Rates.of(np.arange(N) / N, 2 + np.arange(M), (once(N), once(M)))
    assert apart.auroc[0] == 1
    assert apart.fpr95[0] == 0


def test_people_are_drawn_and_not_windows():
    person = np.repeat(np.arange(6), [1, 50, 3, 7, 20, 2])
    values = person.astype(float)
    (times,) = bootstrap_weights((person,), seed=3, resamples=200)
    assert (times[0] == 1).all()
    assert (times[1:].reshape(200, -1)[:, np.flatnonzero(np.diff(person)) + 1].sum(1) <= 6).all()
    for one in range(6):
        assert (times[:, person == one] == times[:, person == one][:, :1]).all()
    low, high = interval(weighted_mean(values, times))["interval"]
    assert high - low > 3 * 2 * 1.96 * values.std() / np.sqrt(len(values))


def test_a_corrupted_window_is_resampled_with_its_own_person():
    ordinary, corrupted = np.arange(9).repeat(2), np.array([3, 3, 5, 20])
    one, other = bootstrap_weights((ordinary, corrupted), seed=0, resamples=50)
    assert (other[:, 0] == one[:, 6]).all()
    assert (other[:, 2] == one[:, 10]).all()
    assert (other[:, 3] == 1).all()


def test_a_perfect_score_keeps_as_the_errors_do_and_a_constant_one_keeps_the_mean():
    rng = np.random.default_rng(2)
    error, (times,) = rng.random(N), bootstrap_weights((np.arange(N) % 9,), 0, 20)
    oracle = retained(error, error, times)
    flat = retained(np.zeros(N), error, times)
    assert flat[0] == pytest.approx(error.mean())
    fifths = np.sort(error)[: round(0.8 * N)].mean()
    assert oracle[0, INDEX_80] == pytest.approx(fifths)
    assert KEPT_SHARES[INDEX_80] == 0.8
    assert drop80(flat) == pytest.approx(0, abs=1e-9)
    assert (drop80(oracle) > 0).all()
    assert (drop80(retained(-error, error, times)) < 0).all()


@dataclass
class PerfectPredictor:
    """Draws of the law that futures are of too, each scene as wide as its number says."""

    calibration: object = None

    def forecast(self, batch, samples, seed):
        shape = (samples, *batch.target.shape, 12, 2)
        width = 0.1 * (1 + batch.start)[:, None, None, None]
        return width * np.random.default_rng(seed).normal(size=shape)

    def ood(self, batch):
        return length_scores(batch.past[batch.target])


def test_the_ceiling_is_what_a_right_forecast_says_of_its_own_error(evaluated):
    store, config, _, _ = evaluated
    terms = OODTerms(windows=600, samples=20, names=("mirrored",))
    report = evaluate_ood("it", PerfectPredictor(), store, config, terms)
    batches = OrdinaryWindows.of(store, config, terms).batches
    width = np.sort(np.concatenate([1 + b.start[np.nonzero(b.target)[0]] for b in batches]))
    expected = 1 - width[: round(0.8 * len(width))].mean() / width.mean()
    found = report["ordinary"]["ceiling"]["drop80"]["value"]
    assert found == pytest.approx(expected, abs=0.03)


def test_the_report_says_how_well_error_could_be_foretold(evaluated):
    ordinary = evaluated[-1]["ordinary"]
    kept = {name: one["drop80"]["value"] for name, one in ordinary["retention"].items()}
    assert kept["oracle"] == max(kept.values())
    assert {"ood_score", "expected_error", "self_expected", "oracle", "baseline speed"} <= set(kept)
    assert 0 < ordinary["ceiling"]["drop80"]["value"] < 1
    assert set(ordinary["alarms"]) >= {"ood_score", "typical_score"}


def test_turned_steps_do_not_know_where_somebody_goes():
    rng = np.random.default_rng(4)
    past = rng.normal(size=(N, 8, 2)).cumsum(1)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert np.allclose(turned_steps(past), turned_steps(past @ turn + 7))
    steps = turned_steps(past).reshape(N, 7, 2)
    assert np.allclose(steps.sum(1)[:, 1], 0)
    assert (turned_steps(np.ones((3, 8, 2))) == 0).all()
    assert turned_steps(past[..., :1]).shape == (N, 7)


def test_baseline_detectors_score_what_is_far_and_what_was_not_seen():
    rng = np.random.default_rng(5)
    past = rng.normal(size=(400, 8, 2)).cumsum(1)
    detectors = BaselineDetectors.fit(past)
    for name, usual in detectors.scores(past).items():
        assert (detectors.scores(20 * past)[name] > np.median(usual)).mean() > 0.95
    past[:, 2:4], past[:, 0] = np.nan, np.nan
    assert all(np.isfinite(values).all() for values in detectors.scores(past).values())


def test_the_report_holds_its_options(evaluated):
    store, _, _, report = evaluated
    assert [one["key"] for one in report["corruptions"]] == [
        "noise-2",
        "slow-2",
        "unit-3",
        "mirrored-1",
    ]
    assert report["protocol"]["fingerprint"] == store.fingerprint()
    assert report["ordinary"]["people"] == 9
    for one in report["corruptions"]:
        assert set(one["detection"]) == set(report["scores"])
        for kinds in one["detection"].values():
            low, high = kinds["auroc"]["interval"]
            assert 0 <= low <= kinds["auroc"]["value"] <= high <= 1
    noise, slow, unit, mirror = report["corruptions"]
    assert unit["detection"][OOD_SCORE]["auroc"]["value"] == 1
    assert (
        unit["accuracy"]["energy_score"]["value"] > 50 * noise["accuracy"]["energy_score"]["value"]
    )
    assert mirror["detection"][OOD_SCORE]["auroc"]["value"] == pytest.approx(0.5)
    usual = report["ordinary"]["accuracy"]["min_ade"]["value"]
    assert mirror["accuracy"]["min_ade"]["value"] == pytest.approx(usual, rel=0.2)
    assert slow["detection"][OOD_SCORE]["auroc"]["value"] < 0.5


def test_the_report_is_the_same_each_time_and_survives_the_disk(evaluated, tmp_path):
    store, config, terms, report = evaluated
    again = evaluate_ood("it", LengthPredictor(), store, config, terms)
    assert {**again, "seconds": 0} == {**report, "seconds": 0}
    path = tmp_path / report_name(report["protocol"])
    path.write_bytes(report_bytes(report))
    assert read_report(path) == json.loads(json.dumps(report))
    assert newest_report(tmp_path)["name"] == "it"
    assert newest_report(tmp_path, "another") is None
    (tmp_path / "ood-broken.json").write_text("{}")
    assert newest_report(tmp_path)["name"] == "it"
    path.unlink()
    with pytest.raises(RunError, match=r"ood-broken\.json"):
        newest_report(tmp_path)


def test_examples_are_of_different_people_and_can_be_found_again(evaluated):
    store, config, terms, report = evaluated
    ordinary = OrdinaryWindows.of(store, config, terms)
    corruption = report["corruptions"][0]
    batches = ordinary.corrupted(available(ordinary.world)[corruption["key"]])
    for kind in ("most", "least"):
        windows = corruption["examples"][kind]
        assert len({one["agent"] for one in windows}) == len(windows)
        for one in windows:
            batch = batches[one["batch"]]
            assert batch.agent[one["row"], one["column"]] == one["agent"]
            assert batch.start[one["row"]] == one["start"]
            assert store.labels([one["agent"]]) == [one["label"]]
    order = [one["ood_score"] for one in corruption["examples"]["most"]]
    assert order == sorted(order, reverse=True)
    assert (
        corruption["examples"]["most"][0]["ood_score"]
        > corruption["examples"]["least"][0]["ood_score"]
    )


def test_the_future_is_hidden_from_who_is_judged(evaluated):
    store, config, terms, _ = evaluated

    class Peeking(LengthPredictor):
        def forecast(self, batch, samples, seed):
            assert np.isnan(batch.future).all()
            assert batch.around is None
            return super().forecast(batch, samples, seed)

    ordinary = OrdinaryWindows.of(store, config, terms)
    assert any(batch.around is not None for batch in ordinary.batches)
    report = evaluate_ood("it", Peeking(), store, config, terms)
    assert report["ordinary"]["windows"] > 0


def test_other_tracks_are_a_corruption_of_their_own(evaluated, store_of):
    store, config, _, _ = evaluated
    other = store_of({"elsewhere": ("test", [range(40), range(40), range(5, 40)])})
    terms = OODTerms(windows=60, samples=4, names=("against",))
    report = evaluate_ood("it", LengthPredictor(), store, config, terms, other)
    (against,) = report["corruptions"]
    assert against["people"] == 3
    assert {one["scene"] for one in against["examples"]["most"]} == {"elsewhere"}
    assert "as it stands" in report["notes"][0] or other.dt == store.dt
    with pytest.raises(ConfigError, match="--against"):
        evaluate_ood("it", LengthPredictor(), store, config, terms)


def test_places_are_other_recordings_and_marked_if_learned_from(store_of):
    walks = [range(60)] * 3
    scenes = {name: (part, walks) for name, part in (("a", "train"), ("b", "train"), ("c", "test"))}
    store = store_of({**scenes, "d": ("val", walks)})
    ordinary = OrdinaryWindows.of(store, Config.load(), OODTerms(windows=40))
    assert [name for name in ordinary.world.pools if name != "crowd"] == ["place a", "place b"]
    assert ordinary.trained_on("place a")
    terms = OODTerms(windows=40, samples=3, names=("place", "mirrored", "skip-3"))
    report = evaluate_ood("it", LengthPredictor(), store, Config.load(), terms)
    assert [one["level"] for one in report["corruptions"] if one["name"] == "place"] == ["a", "b"]
    assert draw(report).axes


def test_a_metre_is_one_in_metres_and_else_what_a_walker_tells(fork, tmp_path):
    from trajflow.datasets.loader import TrackData

    store = open_store(fork)
    data = TrackData(store, history=8, horizon=12)
    assert metre_of(data) == 1
    store.unit = "px"
    path = np.concatenate([b.past[b.target] for b in data.validation(256, 5000, "train")])
    paces = np.linalg.norm(np.diff(path, axis=1), axis=-1).mean(1)
    assert metre_of(data) == pytest.approx(np.quantile(paces, 0.9) / (1.3 * store.dt))


def test_nothing_left_is_said(store_of):
    walks = [range(20)] * 4
    store = store_of({part: (part, walks) for part in ("train", "val", "test")})
    terms = OODTerms(windows=20, samples=3, names=("skip",))
    with pytest.raises(RunError, match="no window is left"):
        evaluate_ood("it", LengthPredictor(), store, Config.load(), terms)


def corruption(key, energy, coverage, flagged, **more):
    """A corruption as a report holds it, with narrow intervals."""

    def narrow(value):
        return {"value": value, "interval": [value - 0.01, value + 0.01]}

    accuracy = {"energy_score": narrow(energy), "coverage_90": narrow(coverage)}
    row = {"key": key, "name": key, "level": "all", "windows": 9, "trained_on": False}
    return row | {"accuracy": accuracy, "alarms": {"ood_score": narrow(flagged)}} | more


def test_what_hurts_and_is_not_flagged_comes_first():
    rows = [
        corruption("harmless", 0.3, 0.9, 0.0),
        corruption("flagged", 9.0, 0.2, 1.0),
        corruption("hidden", 3.0, 0.1, 0.05),
        corruption("partly", 3.0, 0.1, 0.6),
        corruption("another recording", 3.0, 0.1, 0.1, trained_on=True),
        {"key": "nobody", "name": "nobody", "level": "all", "windows": 0},
    ]
    report = {"ordinary": corruption("", 0.3, 0.9, 0.05), "corruptions": rows}
    order = [row["key"] for row in by_hidden_cost(report)]
    assert order[:3] == ["hidden", "another recording", "partly"]
    assert order[-1] == "nobody"
    assert [row["key"] for row in rows if is_hidden(row, report["ordinary"])] == ["hidden"]
    assert hidden_summary(report) == (
        "1 of 6 corruptions hurts and is flagged in less than half of the windows"
    )
    safe = {"ordinary": report["ordinary"], "corruptions": rows[:2]}
    assert hidden_summary(safe).startswith("0 of 2 corruptions hurt and are flagged")


def test_each_stage_has_the_corruptions_so_far(evaluated):
    store, config, _, whole = evaluated
    terms = OODTerms(windows=60, samples=4, names=("noise-2", "mirrored"))
    stages = []
    evaluate_ood("it", LengthPredictor(), store, config, terms, progress=stages.append)
    assert [len(one.report["corruptions"]) if one.report else 0 for one in stages] == [0, 0, 1]
    assert stages[-1].report.keys() == whole.keys()
