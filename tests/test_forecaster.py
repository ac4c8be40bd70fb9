"""Facts about the forecaster with scikit-learn's manners."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from trajflow import TrajectoryForecaster
from trajflow.errors import TrajflowError

QUICK = (
    "train.epochs=1",
    "train.batch=32",
    "model.width=16",
    "model.decoder_width=16",
    "model.decoder_depth=1",
)


def frame(agents=4, steps=80):
    rng = np.random.default_rng(0)
    path = rng.normal(size=(agents, steps, 2)).cumsum(1)
    agent, step = np.indices((agents, steps)).reshape(2, -1)
    return pd.DataFrame(
        {
            "who": [f"p{a}" for a in agent],
            "t": step * 0.5,
            "x": path[agent, step, 0],
            "y": path[agent, step, 1],
        }
    )


def forecaster(**options):
    columns = {"agent": "who", "time": "t"}
    return TrajectoryForecaster(
        columns=columns, unit="m", history=5, horizon=3, settings=QUICK, **options
    )


def test_it_is_cloned_with_its_parameters():
    original = forecaster(dt=0.5, seed=4)
    assert clone(original).get_params() == original.get_params()


def test_a_fitted_frame_gives_a_frame_of_futures():
    model = forecaster().fit(frame())
    futures = model.predict(frame(), samples=7)
    assert len(futures) == 4 * 7 * 3
    assert set(futures["agent"]) == {"p0", "p1", "p2", "p3"}
    assert futures["time"].min() == pytest.approx(80 * 0.5)
    assert np.isfinite(futures[["x", "y"]]).all(None)
    assert futures.equals(model.predict(frame(), samples=7))


def test_predict_before_fit_and_a_frame_without_positions_are_refused():
    with pytest.raises(NotFittedError, match="call fit"):
        forecaster().predict(frame())
    with pytest.raises(TrajflowError, match="x"):
        forecaster().fit(frame().drop(columns="x"))
