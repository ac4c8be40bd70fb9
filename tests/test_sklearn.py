"""Facts about the forecaster with scikit-learn's manners."""

import datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from trajflow import TrajectoryForecaster
from trajflow.errors import TrajflowError

QUICK = (
    "train.epochs=1",
    "train.batch_size=32",
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


@pytest.fixture(scope="module")
def fitted():
    return forecaster(seed=1).fit(frame())


@pytest.fixture(scope="module")
def futures(fitted):
    return fitted.predict(frame(), samples=3)


def test_a_frame_is_split_as_by_the_command(fitted):
    """Its test split is kept out of learning and choice, as `trajflow train` does."""
    assert fitted.split_.startswith("split by time in each recording: train ")
    assert "; test 20 windows of 4 agents in 1 recording" in fitted.split_


def change(**columns):
    """The frame with columns computed from it."""
    table = frame()
    return table.assign(**{name: make(table) for name, make in columns.items()})


def masked(values, where):
    return np.ma.masked_array(values, where)


SAME = {
    "durations, categories, sparse and nullable numbers": change(
        t=lambda f: pd.to_timedelta(f.t, unit="s"),
        who=lambda f: f.who.astype("category"),
        x=lambda f: pd.arrays.SparseArray(f.x),
        y=lambda f: f.y.astype("Float64"),
    ),
    "duration objects, text among numbers": change(
        t=lambda f: pd.Series([datetime.timedelta(seconds=s) for s in f.t], dtype=object),
        x=lambda f: pd.Series([str(f.x[0]), *f.x[1:]], dtype=object),
    ),
    "an index": frame().set_index(["who", "t"]),
    "a repeated index, a doubled column that is not needed": pd.concat(
        [frame().assign(note=1), frame().assign(note=2)[["note"]]], axis=1
    ).set_axis([0] * 320),
}


@pytest.mark.parametrize("table", SAME.values(), ids=SAME)
def test_the_same_tracks_in_another_form_give_the_same_futures(fitted, futures, table):
    assert fitted.predict(table, samples=3).equals(futures)


def test_columns_may_be_named_by_numbers(futures):
    table = frame().set_axis(range(4), axis=1)
    columns = {"agent": 0, "time": 1, "x": 2, "y": 3}
    model = forecaster(seed=1).set_params(columns=columns).fit(table)
    assert model.predict(table, samples=3).equals(futures)


def test_ids_of_several_types_are_read(fitted):
    table = change(who=lambda f: f.who.map({"p0": 0, "p1": 1.5, "p2": "p2", "p3": "p3"}))
    assert set(fitted.predict(table).agent) == {"0", "1.5", "p2", "p3"}


def test_a_missing_or_masked_cell_is_a_row_without_a_position(fitted):
    expected = fitted.predict(frame().drop(index=[0, 7, 80, 319]), samples=3)
    missing = {0: None, 7: np.nan, 80: pd.NA, 319: np.ma.masked}
    cells = change(x=lambda f: pd.Series(list((dict(f.x) | missing).values()), dtype=object))
    assert fitted.predict(cells, samples=3).equals(expected)


def test_masked_and_nullable_arrays_have_missing_cells(fitted):
    hidden = np.arange(320) % 80 == 78
    expected = fitted.predict(frame()[~hidden], samples=3)
    arrays = change(x=lambda f: masked(f.x.to_numpy(), hidden))
    assert fitted.predict(arrays, samples=3).equals(expected)
    # A few rows without an x, the others without an id.
    first = hidden & (np.arange(320) < 160)
    some = change(
        x=lambda f: f.x.astype("Float64").mask(first),
        who=lambda f: f.who.mask(hidden & ~first, None),
    )
    assert fitted.predict(some, samples=3).equals(expected)


REFUSED = {
    "two columns of one name": (pd.concat([frame(), frame()[["x"]]], axis=1), "two columns 'x'"),
    "ids alike as text": (change(who=lambda f: f.who.map({"p0": 7, "p1": "7"})), "7 and '7'"),
    "ids that are lists": (change(who=lambda f: [[1]] * len(f)), "'who'.*a cell is a list"),
    "complex positions": (change(x=lambda f: f.x + 1j), "'x' .*cannot be read as x"),
    "a missing column": (frame().drop(columns="t"), "the data frame has no column 't'"),
    "no frame": ([[1, 2]], "pandas DataFrame, got list"),
    "another unit": (change(x=lambda f: 40 * f.x, y=lambda f: 40 * f.y), "the data frame .*unit"),
    "another step": (change(t=lambda f: 3 * f.t), r"the data frame .*every 1\.5 s.*every 0\.5 s"),
}


@pytest.mark.parametrize(("table", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(fitted, table, said):
    with pytest.raises(TrajflowError, match=said) as refused:
        fitted.predict(table)
    assert "\n" not in str(refused.value)


def test_a_unit_that_is_given_is_believed(fitted):
    fast = change(x=lambda f: 40 * f.x, y=lambda f: 40 * f.y)
    assert len(fitted.predict(fast, samples=2, unit="m")) == 4 * 2 * 3
