"""Distances of a miss and of a collision follow the unit and the speed of the training tracks."""

import json

import numpy as np
import pytest

from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.writer import StoreWriter

STEPS, DT = 40, 0.4


@pytest.fixture
def walkers(tmp_path):
    """Writes a store of three rooms, four agents each who walk side by side and turn."""

    def make(unit="m", speed=1.3, apart=1.0, test_speed=None):
        path = tmp_path / f"{unit}-{speed:g}-{apart:g}-{test_speed or speed:g}.zarr"
        rng = np.random.default_rng(0)
        with StoreWriter(path, dims=2, dt=DT, unit=unit) as writer:
            for split in ("train", "val", "test"):
                fast = test_speed if split == "test" and test_speed else speed
                turn = rng.normal(0, 0.2, (4, STEPS)).cumsum(1)
                step = fast * DT * np.stack([np.cos(turn), np.sin(turn)], -1)
                place = step.cumsum(1) + apart * speed * np.arange(4)[:, None, None]
                writer.append(
                    TrackBlock(
                        scene=split,
                        labels=list(range(4)),
                        types=["walker"] * 4,
                        rowsize=np.full(4, STEPS),
                        time=np.tile(np.arange(STEPS) * DT, 4),
                        position=place.reshape(-1, 2),
                        split=split,
                    )
                )
        return path

    return make


@pytest.fixture
def evaluate(trajflow):
    """Evaluates a baseline: the report as JSON."""

    def run(path, *words):
        code, out, said = trajflow("evaluate", "--baseline", "cv-sampled", path, "--json", *words)
        assert code == 0, said
        return json.loads(out)

    return run


def bounds(report):
    return report["miss"], report["collide"]


def test_people_in_metres_keep_the_distances_of_the_field(walkers, evaluate, trajflow):
    path = walkers()
    assert bounds(evaluate(path)) == (2.0, 0.2)
    out = trajflow("evaluate", "--baseline", "cv", path)[1]
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert {"miss rate > 2 m", "collisions < 0.2 m", "true collisions < 0.2 m"} <= set(names)
    assert "misses are beyond 2 m: as in the field, for people in metres" in out.splitlines()


def test_in_another_unit_both_distances_grow_with_the_tracks(walkers, evaluate):
    small, large = evaluate(walkers("px", 20.0)), evaluate(walkers("px", 2000.0))
    assert bounds(large) == pytest.approx([100 * bound for bound in bounds(small)])
    assert small["miss"] == pytest.approx(20.0 * DT * 12 / 4, rel=0.05)
    assert small["collide"] == pytest.approx(20.0 * 0.2 / 1.3, rel=0.05)
    for name in ("miss_rate", "collision_rate", "energy_score"):
        scale = 100 if name == "energy_score" else 1
        assert large["mean"][name] == pytest.approx(scale * small["mean"][name])


def test_what_is_faster_than_people_has_wider_distances_also_in_metres(walkers, evaluate):
    report = evaluate(walkers("m", 13.0))
    assert report["miss"] == pytest.approx(13 * DT * 12 / 4, rel=0.05)
    assert report["collide"] == pytest.approx(2.0, rel=0.05)


def test_the_test_split_has_no_part_in_the_distances(walkers, evaluate):
    slow, fast = walkers("px", 20.0), walkers("px", 20.0, test_speed=80.0)
    assert bounds(evaluate(slow)) == bounds(evaluate(fast))


@pytest.mark.parametrize(
    ("unit", "apart", "why"),
    [
        ("degree", 1.0, "a degree of longitude is shorter than one of latitude"),
        ("unknown", 1.0, "the unit of the tracks is not known"),
        ("m", 100.0, "0 % of the training agents have another one within 2 m"),
    ],
)
def test_collisions_that_mean_nothing_are_left_out_with_the_reason(
    walkers, evaluate, trajflow, unit, apart, why
):
    path = walkers(unit, 1.3, apart)
    report = evaluate(path)
    assert report["collide"] is None
    assert report["mean"]["collision_rate"] is None
    assert why in report["protocol"]["thresholds"]["collide"]
    out = trajflow("evaluate", "--baseline", "cv", path)[1]
    assert f"collisions are left out: {why}" in out
    assert not [line for line in out.splitlines() if line.startswith("collisions <")]
    joint = trajflow("evaluate", "--baseline", "cv-sampled", path, "--joint")
    assert joint[0] == 0
    assert "collisions in the data" not in joint[1]


def test_the_options_win(walkers, evaluate):
    report = evaluate(walkers("degree"), "--miss", 0.5, "--collide", 0.25)
    assert bounds(report) == (0.5, 0.25)
    assert report["mean"]["collision_rate"] is not None
    assert report["protocol"]["thresholds"] == {
        "miss": "set by the user",
        "collide": "set by the user",
    }


def test_a_comparison_names_the_distance_of_a_miss(walkers, trajflow, tmp_path):
    path = walkers()
    for name, words in {"near": ("--miss", 1), "far": ("--miss", 3)}.items():
        out = trajflow("evaluate", "--baseline", "cv", path, "--json", *words)[1]
        (tmp_path / f"{name}.json").write_text(out.replace('"name": "cv"', f'"name": "{name}"'))
    near, far = tmp_path / "near.json", tmp_path / "far.json"
    assert "miss rate > 1 m" in trajflow("compare", near, near)[1]
    out = trajflow("compare", near, far)[1]
    assert "near: miss rate > 1 m; far: miss rate > 3 m" in out
