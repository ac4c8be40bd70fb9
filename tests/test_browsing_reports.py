"""The windows behind an OOD report are made again as they were."""

import numpy as np
import pytest
from ood_support import untrained

from trajflow.browse.corrupted import CorruptedBrowser
from trajflow.browse.view import ReportWindow
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError
from trajflow.ood.corruptions import available
from trajflow.ood.report import OODTerms


@pytest.fixture(scope="module")
def browser(fork):
    return CorruptedBrowser(untrained(fork), open_store(fork), Config.load(), OODTerms(windows=60))


def test_a_window_of_a_report_is_made_again(browser):
    graded = available(browser._windows.world)["noise-3"]
    batch = browser._windows.corrupted(graded)[0]
    row, column = (int(one) for one in np.argwhere(batch.target)[1])
    view = browser.view(ReportWindow("noise-3", 0, row, column), samples=4)
    agent = int(view.target.argmax())
    assert view.target.sum() == 1
    assert np.allclose(view.past[agent], batch.past[row, column])
    assert view.labels[agent] == browser.store.labels([int(batch.agent[row, column])])[0]
    assert view.samples.shape[0] == 4
    assert 0 < view.ood_score[agent] <= 1
    plain = browser.view(ReportWindow("", 0, row, column))
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
