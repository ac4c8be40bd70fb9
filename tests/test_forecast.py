"""What a forecast can be turned into: a labelled dataset and a picture."""

from dataclasses import replace

import numpy as np
import pytest

from trajflow.datasets.projection import project
from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast


@pytest.fixture
def forecast():
    """Five samples of 2 x 3 windows of four agents, seven steps of half a second."""
    samples = np.random.default_rng(0).normal(size=(5, 2, 3, 4, 7, 2))
    return Forecast(samples, dt=0.5, agents=("a", "b", "c", "d"), ood_score=np.full((2, 3, 4), 0.1))


def test_a_dataset_is_labelled_by_agent_and_seconds_ahead(forecast):
    data = forecast.to_xarray()
    assert data.samples.dims == ("sample", "window", "agent", "lead", "axis")
    there = data.samples.sel(agent="c", lead=1.5, axis="y").isel(window=4)
    assert (there.values == forecast.samples[:, 1, 1, 2, 2, 1]).all()
    assert data.ood_score.dims == ("window", "agent")
    assert "weight" not in data


def test_one_scene_has_no_windows_and_chosen_samples_have_weights():
    weights = np.full((5, 4), 0.2)
    data = Forecast(np.zeros((5, 4, 7, 3)), dt=0.1, weights=weights).to_xarray()
    assert data.samples.dims == ("sample", "agent", "lead", "axis")
    assert data.weight.dims == ("sample", "agent")
    assert data.axis.values.tolist() == ["x", "y", "z"]
    assert data.agent.values.tolist() == [0, 1, 2, 3]


def drawn(figure, axes=0):
    """All points of the samples in a panel."""
    return np.concatenate(
        [p.vertices for c in figure.axes[axes].collections for p in c.get_paths()]
    )


def test_a_picture_has_a_panel_for_each_window_with_all_samples(forecast):
    past = np.random.default_rng(1).normal(size=(2, 3, 4, 6, 2))
    figure = forecast.plot(past, level=0.5)
    assert len(figure.axes) == 6
    points = drawn(figure, 4)
    ends = forecast.samples[:, 1, 1, :, -1].reshape(-1, 2)
    assert all((np.abs(points - end).sum(1) < 1e-12).any() for end in ends)
    lines = [line.get_xydata() for line in figure.axes[4].lines]
    assert any(len(line) == 6 and (line == past[1, 1, 3]).all() for line in lines)
    assert len(figure.axes[4].patches) == 4


def test_samples_can_be_drawn_without_a_past(forecast):
    legend = forecast.plot().legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["samples"]


def test_a_past_of_other_agents_is_refused(forecast):
    with pytest.raises(TrajflowError, match=r"\[2, 3, 4, 'T', 2\], got \[3, 6, 2\]"):
        forecast.plot(np.zeros((3, 6, 2)))
    with pytest.raises(ConfigError, match="level must lie between"):
        forecast.plot(level=90)


def test_a_forecast_says_what_it_is_on_one_line_and_in_a_notebook():
    scores, faults = np.array([0.2, 0.97]), np.array([None, "never <seen>"], object)
    forecast = Forecast(np.zeros((20, 2, 12, 2)), dt=0.4, ood_score=scores, faults=faults)
    assert repr(forecast) == (
        "Forecast(samples=20, agents=2, steps=12, dims=2, dt=0.4 s, calibrated=no, "
        "highest ood_score=0.97, quarantined=1)"
    )
    assert "<th>agents</th><td>2</td>" in forecast._repr_html_()
    assert "windows=3" in repr(Forecast(np.zeros((5, 3, 2, 12, 2)), dt=0.4))


def test_a_map_has_a_path_of_each_sample_and_agent_in_longitude_and_latitude():
    pytest.importorskip("geopandas", reason="the extra geo is not installed")
    centre = np.array([8.0, 51.0])
    degrees = centre + 0.01 * np.random.default_rng(0).normal(size=(3, 2, 4, 2))
    forecast = Forecast(project(degrees, centre), dt=10.0, agents=("ferry", "tug"))
    frame = forecast.to_geopandas(centre)
    assert list(frame.columns) == ["sample", "agent", "geometry"]
    assert frame.crs.to_epsg() == 4326
    row = frame[(frame["sample"] == 2) & (frame["agent"] == "tug")].geometry.iloc[0]
    np.testing.assert_allclose(np.array(row.coords), degrees[2, 1], atol=1e-9)
    plain = replace(forecast, samples=forecast.samples[..., :1, :]).to_geopandas()
    assert plain.crs is None
    np.testing.assert_allclose(plain.geometry[1].coords[0], forecast.samples[0, 1, 0])
    lost = forecast.samples.copy()
    lost[:, 0] = np.nan
    assert replace(forecast, samples=lost).to_geopandas(centre).geometry.isna().sum() == 3
