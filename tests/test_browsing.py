"""Windows beside their forecasts: what a view holds, who else forecasts it, and how all rank."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trajflow.browse.browser import Session
from trajflow.browse.scores import RANKINGS
from trajflow.browse.view import SamplingOptions
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import ConfigError, DataError, RunError


@pytest.fixture(scope="module")
def session():
    return Session()


@pytest.fixture(scope="module")
def browser(session, trained, fork):
    return session.browser(trained[0], fork, "test")


def test_a_view_is_the_window_and_its_forecast(browser, session, trained):
    view = browser.view(2, SamplingOptions(samples=6, seed=4))
    batch = browser.windows.gather(np.array([2]))
    assert np.array_equal(view.past, batch.past[0], equal_nan=True)
    assert np.array_equal(view.future, batch.future[0], equal_nan=True)
    assert (view.target == batch.target[0]).all()
    drawn = session.predictor(trained[0]).forecast(batch, 6, 4)[:, 0]
    assert np.array_equal(view.samples, drawn, equal_nan=True)
    assert (view.index, view.count) == (2, len(browser))
    assert view.labels[0] == browser.store.labels(batch.agent[0])[0]
    assert view.forecaster == trained[0].name
    assert view.edited is None


def test_equal_questions_have_equal_answers(browser):
    one, other = (browser.view(1, SamplingOptions(samples=5, seed=seed)) for seed in (3, 3))
    assert np.array_equal(one.samples, other.samples, equal_nan=True)
    third = browser.view(1, SamplingOptions(samples=5, seed=4))
    assert not np.array_equal(one.samples, third.samples, equal_nan=True)


@pytest.mark.parametrize(
    "how",
    [
        SamplingOptions(samples=1),
        SamplingOptions(steps=2),
        SamplingOptions(samples=3, select="kmeans"),
    ],
)
def test_every_way_to_forecast_is_shown(browser, how):
    view = browser.view(0, how)
    assert view.samples.shape[0] == how.samples
    assert np.isfinite(view.samples[:, view.target]).all()
    assert (view.weights is None) == (how.select is None)
    assert {"min_ade", "min_fde", "energy_score", "miss_rate", "spread"} <= set(view.metrics)
    for name, values in view.metrics.items():
        # One sample has no rank for the truth to take, so its coverage is not defined.
        defined = not (name == "coverage_90" and how.samples == 1)
        assert np.isfinite(values[view.target]).all() == defined


def test_regions_of_a_higher_level_are_wider(browser):
    view = browser.view(0)
    (centre, inner), (same, outer) = view.regions[0.5], view.regions[0.9]
    assert np.array_equal(centre, same, equal_nan=True)
    assert (outer[view.target] >= inner[view.target]).all()


def test_a_view_travels_between_processes(browser):
    view = browser.view(0)
    again = pickle.loads(pickle.dumps(view))
    assert np.array_equal(again.samples, view.samples, equal_nan=True)


def test_another_past_gives_another_forecast_and_says_what_changed(browser):
    view = browser.view(0)
    past = view.past.copy()
    past[0, -1] += 0.5
    edited = browser.view(0, SamplingOptions(), past)
    assert edited.edited.sum() == 1
    assert edited.edited[0, -1]
    assert not np.allclose(edited.samples[:, 0], view.samples[:, 0])
    same = browser.view(0, SamplingOptions(), view.past.copy())
    assert not same.edited.any()
    assert np.array_equal(same.samples, view.samples, equal_nan=True)


def test_a_missing_step_is_forecast_from_too(browser):
    past = browser.view(0).past.copy()
    past[0, 2] = np.nan
    assert np.isfinite(browser.view(0, SamplingOptions(), past).samples[:, 0]).all()


def test_a_past_that_cannot_be_is_refused(browser):
    past = browser.view(0).past
    with pytest.raises(ConfigError, match="must be"):
        browser.view(0, SamplingOptions(), past[:, 1:])
    with pytest.raises(ConfigError, match="no agent is observed"):
        browser.view(0, SamplingOptions(), np.full_like(past, np.nan))
    with pytest.raises(ConfigError, match="the last is"):
        browser.view(len(browser))


def test_constant_velocity_stands_beside_a_run(browser):
    view = browser.view(0, SamplingOptions(samples=3), forecaster=browser.other("cv"))
    step = view.past[0, -1] - view.past[0, -2]
    ahead = view.past[0, -1] + step * np.arange(1, view.horizon + 1)[:, None]
    assert view.forecaster == "cv"
    assert view.samples[:, 0] == pytest.approx(np.broadcast_to(ahead, view.samples[:, 0].shape))
    assert view.ood_score is None


def test_a_run_stands_beside_itself(browser, trained):
    other = browser.view(0, forecaster=browser.other(str(trained[0])))
    assert np.array_equal(other.samples, browser.view(0).samples, equal_nan=True)


def test_nobody_is_no_rival(browser):
    with pytest.raises(RunError, match="not a run folder"):
        browser.other("no/such/run")


def test_a_ranking_is_the_mean_score_of_every_window(browser):
    *chunks, (done, total, ranked) = browser.rank("energy_score")
    assert (done, total) == (len(browser), len(browser))
    assert [done for done, _, _ in chunks] == sorted({done for done, _, _ in chunks})
    assert all(scores_ is None for _, _, scores_ in chunks)
    assert ranked.shape == (len(browser),)
    assert np.isfinite(ranked).all()
    assert len(list(browser.rank("energy_score"))) == 1, "a second time it is known"


def test_a_ranking_can_be_left_and_begun_again(browser):
    begun = browser.rank("min_fde")
    next(begun)
    begun.close()
    assert list(browser.rank("min_fde"))[-1][2] is not None


def test_an_unknown_ranking_is_refused(browser):
    with pytest.raises(ConfigError, match="did you mean 'min_fde'"):
        next(browser.rank("min_fda"))
    assert "ood_score" in RANKINGS


def test_what_is_browsed_is_told_in_plain_values(browser):
    summary = browser.summary()
    assert summary.count == len(browser)
    assert len(summary.scene) == summary.count
    assert "kmeans" in summary.selections
    assert "learned" not in summary.selections


@pytest.mark.parametrize(("unit", "pace"), [("px", 8.0), ("degree", 1e-5)])
def test_a_window_misses_by_the_distance_that_evaluate_chooses(
    trajflow, tiny, tmp_path, unit, pace
):
    """Constant velocity misses two of four by more than a quarter of the way of a fast agent.

    A third one is ahead by half a step, which is more than 2 px and less than 2 degrees.
    """
    store, run = tmp_path / "turns.zarr", tmp_path / "run"
    with StoreWriter(store, dims=2, dt=0.4, unit=unit) as writer:
        for split, turn in {"train": 0.0, "val": 0.0, "test": np.pi / 2}.items():
            step = np.zeros((4, 20, 2))
            step[..., 0] = pace
            step[:2, 8:] = pace * np.array([np.cos(turn), np.sin(turn)])
            step[2, 8, 0] += pace / 2
            writer.append(
                TrackBlock(
                    scene=split,
                    labels=list(range(4)),
                    types=["walker"] * 4,
                    rowsize=np.full(4, 20),
                    time=np.tile(np.arange(20) * 0.4, 4),
                    position=(step.cumsum(1) + pace * np.arange(4)[:, None, None]).reshape(-1, 2),
                    split=split,
                )
            )
    code, _, said = trajflow("train", store, "--out", run, *tiny)
    assert code == 0, said
    _, out, _ = trajflow("evaluate", "--baseline", "cv", store, "--json")
    report, browser = json.loads(out), Session().browser(run, store, "test")
    view = browser.view(0, forecaster=browser.other("cv"))
    assert len(browser) == 1
    assert report["mean"]["miss_rate"] == 0.5
    assert view.mean("miss_rate") == report["mean"]["miss_rate"]
    assert (view.miss, view.unit) == (report["miss"], unit)
    for name in ("energy_score", "min_ade", "min_fde", "mean_ade"):
        assert view.mean(name) == pytest.approx(report["mean"][name])


def test_a_session_opens_once(session, trained, fork):
    assert session.browser(trained[0], fork, "test") is session.browser(trained[0], fork, "test")
    assert session.browser(trained[0], fork, "val") is not session.browser(trained[0], fork, "test")
    assert session.predictor(trained[0], 2) is session.predictor(trained[0], 2)


def test_a_session_refuses_what_is_not_there(session, trained, fork, tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        session.browser(tmp_path, fork, "test")
    with pytest.raises(DataError):
        session.browser(trained[0], tmp_path / "none.zarr", "test")
    with pytest.raises(ConfigError):
        session.browser(trained[0], fork, "tets")


def test_a_run_is_not_asked_about_other_steps(session, trained, store_of):
    store = store_of({"a": ("test", [range(30)])})
    with pytest.raises(RunError, match="every"):
        session.browser(trained[0], Path(store.path), "test")


def test_the_present_is_where_one_was_last_seen(browser):
    view = browser.view(0)
    past = view.past.copy()
    past[0, -2:] = np.nan
    assert replace(view, past=past).present[0] == pytest.approx(past[0, -3])
    past[0] = np.nan
    assert np.isnan(replace(view, past=past).present[0]).all()
    assert view.mean("no such score") != view.mean("no such score")
