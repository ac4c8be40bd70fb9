import sys

import numpy as np
import pytest

from trajflow.datasets.synthetic import make
from trajflow.datasets.synthetic.crowd import PLACES
from trajflow.errors import ConfigError, MissingExtra


@pytest.mark.parametrize("place", list(PLACES))
def test_people_walk_inside_the_walls_without_running_into_each_other(place):
    pytest.importorskip("jupedsim")
    shapely = pytest.importorskip("shapely")
    made = make("crowd", 1, place=place, train=1, val=0, test=0, seconds=20.0, noise=0.0)
    (block,) = made.blocks
    found = PLACES[place](np.random.default_rng([1, 0, *place.encode()]))
    area = shapely.Polygon(found.outline)
    for obstacle in found.obstacles:
        area = area.difference(shapely.Polygon(obstacle))
    assert shapely.contains_xy(area, *block.position.T).all()
    paths = np.split(block.position, block.rowsize.cumsum()[:-1])
    speed = np.concatenate([np.linalg.norm(np.diff(p, axis=0), axis=1) for p in paths]) / made.dt
    assert 1.0 < np.median(speed) < 1.6
    assert speed.max() < 4.0
    for moment in np.unique(block.time):
        spots = block.position[block.time == moment]
        apart = np.linalg.norm(spots[:, None] - spots, axis=-1)
        assert apart[np.triu_indices(len(spots), 1)].min(initial=1.0) > 0.15
    assert len(paths) > 8


def test_without_the_simulator_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupedsim", None)
    with pytest.raises(MissingExtra, match=r"pip install trajflow\[sim\]"):
        make("crowd")


def test_a_crowd_that_does_not_exist_is_refused():
    pytest.importorskip("jupedsim")
    with pytest.raises(ConfigError, match=r"no place 'beach' \(there are all, corridor"):
        make("crowd", place="beach")
    with pytest.raises(ConfigError, match="at least 10, got 3"):
        make("crowd", seconds=3)
