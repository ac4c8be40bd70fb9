"""Facts about the training tracks that are laid over another one, and windows made again."""

import numpy as np
import pytest
from ood_support import untrained

from trajflow.browse.corrupted import NEAREST, CorruptedBrowser, ReportWindow
from trajflow.browse.nearest import TrainingTracks, fanned, laid_over
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError
from trajflow.ood.corruptions import available
from trajflow.ood.report import OODTerms

T, F = 8, 12


def paths(count=9, seed=0):
    return np.random.default_rng(seed).normal(size=(count, T + F, 2)).cumsum(1)


def test_tracks_are_laid_over_without_stretching_them():
    tracks, past = paths(), paths(1, seed=5)[0, :T]
    laid = laid_over(tracks, past)
    assert np.allclose(laid[:, T - 1], past[-1])
    for one, other in zip(tracks, laid, strict=True):
        apart = np.linalg.norm(one[:, None] - one, axis=-1)
        assert np.allclose(np.linalg.norm(other[:, None] - other, axis=-1), apart)
    way, wanted = laid[:, T - 1] - laid[:, 0], past[-1] - past[0]
    assert np.allclose(way[:, 0] * wanted[1], way[:, 1] * wanted[0])
    assert (way @ wanted > 0).all()
    assert np.allclose(laid_over(tracks[:1], tracks[0, :T]), tracks[:1])


def test_tracks_are_laid_over_what_was_seen_of_a_past_and_over_who_stands():
    past = paths(1, seed=5)[0, :T]
    past[:3] = np.nan
    assert np.allclose(laid_over(paths(), past)[:, T - 1], past[-1])
    standing = np.ones((T, 2))
    assert np.isfinite(laid_over(paths(), standing)).all()
    line = np.cumsum(np.ones((2, T + F, 1)), 1)
    assert laid_over(line, line[0, :T] + 3)[0, T - 1] == line[0, T - 1] + 3


def test_side_by_side_tracks_keep_their_shapes_and_distances():
    past = paths(1, seed=5)[0, :T]
    laid = laid_over(paths(), past)
    fan = fanned(laid, past)
    assert np.allclose(np.diff(fan, axis=1), np.diff(laid, axis=1))
    moved = (fan - laid)[:, 0]
    assert np.allclose(moved @ (past[-1] - past[0]), 0)
    away = np.linalg.norm(moved, axis=1)
    assert np.allclose(away / away[0], [1, 1, 2, 2, 3, 3, 4, 4, 5])
    assert np.allclose(moved[0], -moved[1])
    assert fanned(laid[..., :1], past[:, :1]) is not None


@pytest.fixture(scope="module")
def browser(fork):
    return CorruptedBrowser(untrained(fork), open_store(fork), Config.load(), OODTerms(windows=60))


def test_the_nearest_of_a_training_window_is_itself(browser):
    contexts = browser.predictor.contexts
    batches = list(browser._windows.spread(30))
    known = TrainingTracks.of(contexts, batches)
    batch = batches[0]
    context = contexts(batch)
    for row, path in zip(range(4), batch.past[batch.target], strict=False):
        found, away = known.nearest(context[row], 3)
        assert away[0] == pytest.approx(0, abs=1e-4)
        assert np.allclose(found[0, :T], path)
        assert (np.diff(away) >= 0).all()


def test_a_window_of_a_report_is_made_again_beside_its_nearest(browser):
    graded = available(browser._windows.world)["noise-3"]
    batch = browser._windows.corrupted(graded)[0]
    row, column = (int(one) for one in np.argwhere(batch.target)[1])
    view, among = browser.view(ReportWindow("noise-3", 0, row, column), samples=4)
    agent = int(view.target.argmax())
    assert view.target.sum() == 1
    assert np.allclose(view.past[agent], batch.past[row, column])
    assert view.labels[agent] == browser.store.labels([int(batch.agent[row, column])])[0]
    assert view.samples.shape[0] == 4
    assert 0 < view.ood_score[agent] <= 1
    assert among.agents == NEAREST + 1
    assert np.allclose(among.past[0], view.past[agent])
    assert among.future is None
    plain, _ = browser.view(ReportWindow("", 0, row, column))
    assert not np.allclose(plain.past[int(plain.target.argmax())], view.past[agent])


def test_windows_that_are_not_there_are_refused(browser):
    with pytest.raises(ConfigError, match="noise"):
        browser.view(ReportWindow("nois-2", 0, 0, 0))
    for place in (
        ReportWindow("", 99, 0, 0),
        ReportWindow("", 0, 10**6, 0),
        ReportWindow("", 0, 0, 10**6),
    ):
        with pytest.raises(ConfigError, match="make the report again"):
            browser.view(place)
