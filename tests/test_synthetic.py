import numpy as np
import pytest

from trajflow.datasets.store import open_store
from trajflow.datasets.synthetic import available, make, options
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import ConfigError

SMALL = {
    "fork": {"train": 5, "val": 3, "test": 2},
    "crossing": {"train": 5, "val": 3, "test": 2},
    "ode": {"train": 3, "val": 1, "test": 1, "ood": 2, "steps": 21},
    "crowd": {"place": "corridor", "train": 1, "val": 0, "test": 1, "seconds": 10.0},
}


def small(name, seed=0, **chosen):
    if name == "crowd":
        pytest.importorskip("jupedsim")
    return make(name, seed, **SMALL.get(name, {}) | chosen)


@pytest.mark.parametrize("name", available())
def test_a_seed_gives_the_same_tracks_again(name):
    one, again, other = (list(small(name, seed).blocks) for seed in (1, 1, 2))
    for a, b in zip(one, again, strict=True):
        assert a.scene == b.scene
        assert a.labels == b.labels
        np.testing.assert_array_equal(a.position, b.position)
        np.testing.assert_array_equal(a.time, b.time)
    assert not np.array_equal(one[0].position, other[0].position)


@pytest.mark.parametrize("name", available())
def test_a_store_takes_the_tracks(name, tmp_path):
    made = small(name)
    about = {"dims": made.dims, "dt": made.dt, "unit": made.unit, "folds": made.folds}
    with StoreWriter(tmp_path / "made.zarr", source=made.source, **about) as writer:
        rows = 0
        for block in made.blocks:
            writer.append(block)
            rows += len(block.time)
    store = open_store(tmp_path / "made.zarr")
    assert store.rows == rows > 0
    assert {"train", "test"} <= set(store.splits)
    assert all(set(scenes) <= set(store.scenes) and scenes for scenes in made.folds.values())


def test_options_may_be_texts():
    assert options("ode")["system"] == "all"
    texts = small("ode", system="spiral", train="2", noise="0")
    assert len(list(texts.blocks)) == 2 + 1 + 1 + 2


@pytest.mark.parametrize(
    ("name", "chosen", "match"),
    [
        ("forks", {}, "no generator 'forks'; did you mean 'fork'"),
        ("_paths", {}, "no generator"),
        ("fork", {"agents": 3}, r"no option of fork 'agents' \(there are train, val, test\)"),
        ("fork", {"train": "many"}, "must be int, got 'many'"),
        ("fork", {"train": 2.5}, "must be int, got 2.5"),
        ("fork", {"train": -1}, "must be 0 or more"),
        ("fork", {"seed": -1}, "seed must be 0 or more"),
        ("ode", {"noise": "inf"}, "must be 0 or more"),
        ("ode", {"system": "xyz"}, r"no system 'xyz' \(there are all, spiral"),
        ("ode", {"steps": 1}, "at least 2"),
        ("crossing", {"agents": 4}, "must be 2 or 3, got 4"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(name, chosen, match):
    with pytest.raises(ConfigError, match=match):
        make(name, **chosen)


@pytest.mark.parametrize("name", ["ode", "crowd"])
def test_one_kind_is_left_out_by_its_fold(name):
    if name == "crowd":
        pytest.importorskip("jupedsim")
    kind = {"ode": "system", "crowd": "place"}[name]
    folds = make(name, 0, train=3, val=1, test=2).folds
    strange = folds.pop("ood", [])
    assert all(" ood-" in scene for scene in strange)
    for fold, scenes in folds.items():
        assert len(scenes) == 3 + 1 + 2
        alone = make(name, 0, train=3, val=1, test=2, **{kind: fold}).folds
        assert set(alone[fold]) < set(scenes)
        assert len(alone[fold]) == 2
        assert all("test" in scene for scene in alone[fold])


def test_no_fold_is_empty():
    assert make("fork", train=1, val=1, test=0).folds == {}
    assert set(make("fork", train=1, val=1, test=2).folds) == {"fork"}
