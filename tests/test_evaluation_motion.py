"""Who stands and who moves is told from the past, and each is judged apart."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.evaluation import EvaluationOptions, evaluate_forecaster
from trajflow.evaluation.evaluate import standing_speed
from trajflow.metrics import mean_speed
from trajflow.types import Batch

S, B, A, T, F, D = 7, 5, 3, 8, 12, 2
TERMS = EvaluationOptions(samples=S, resamples=50, standing=0.08, miss=2.0, collide=0.2)


class Guess:
    """Draws around where everyone is."""

    def forecast(self, batch, samples, seed):
        drawn = np.random.default_rng(seed).normal(size=(samples, *batch.future.shape))
        return np.where(batch.target[..., None, None], batch.past[:, :, -1:] + drawn, np.nan)


def crowd(paces, scene=0):
    """Windows of one person each, at these paces on a straight line."""
    paces, count = np.asarray(paces, float), len(paces)
    steps = np.arange(T + F)[:, None] * np.array([0.6, 0.8])
    path = paces[:, None, None, None] * steps
    everyone = np.ones((count, 1), bool)
    agent = 100 * scene + np.arange(count)[:, None]
    scenes = np.full(count, scene)
    return Batch(path[:, :, :T], path[:, :, T:], everyone, scenes, np.arange(count), agent)


def test_pace_is_the_length_of_the_path_not_how_far_it_leads():
    angle = np.linspace(0, 2 * math.pi, T)
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    side = 2 * math.sin(math.pi / (T - 1))
    assert mean_speed(circle) == pytest.approx(side)
    assert mean_speed(np.zeros((A, T, D))).tolist() == [0] * A


def test_pace_does_not_move_with_the_world_and_grows_with_the_unit():
    path = np.random.default_rng(0).normal(size=(B, A, T, D)).cumsum(-2)
    turn = np.array([[math.cos(1), math.sin(1)], [-math.sin(1), math.cos(1)]])
    np.testing.assert_allclose(mean_speed(path @ turn + 7), mean_speed(path))
    np.testing.assert_allclose(mean_speed(100 * path), 100 * mean_speed(path))


def test_steps_that_were_not_seen_do_not_slow_a_walk():
    path = crowd([0.5]).past[0, 0]
    path[2] = np.nan
    assert mean_speed(path) == pytest.approx(0.5)
    path[1:] = np.nan
    assert mean_speed(path) == 0


def test_the_future_does_not_tell_who_stands():
    batch = crowd([0, 0.05, 0.1, 0.5])
    late = replace(batch, future=batch.future + np.arange(1, F + 1)[:, None])
    for one in (batch, late):
        parts = evaluate_forecaster(Guess(), [one], {"all": [0]}, TERMS).by_motion
        assert [(name, score.windows) for name, score in parts.items()] == [
            ("standing", 2),
            ("moving", 2),
        ]


def test_both_parts_together_are_all_windows():
    batch = crowd(np.random.default_rng(1).uniform(0, 0.3, 40))
    report = evaluate_forecaster(Guess(), [batch], {"all": [0]}, TERMS)
    parts = report.by_motion.values()
    assert sum(part.windows for part in parts) == report.overall.windows == 40
    for name in ("energy_score", "jade", "coverage_90"):
        mean = sum(part.windows * part.means[name] for part in parts) / 40
        assert mean == pytest.approx(report.mean[name])


def test_the_mean_of_a_motion_is_over_the_groups_that_have_it():
    still, mixed = crowd([0, 0.01, 0.02], 0), crowd([0, 0.5, 0.6], 1)
    groups = {"square": [0], "street": [1]}
    report = evaluate_forecaster(Guess(), [still, mixed], groups, TERMS)
    lone = evaluate_forecaster(Guess(), [still, mixed], groups, replace(TERMS, standing=10.0))
    assert report.by_motion["standing"].windows == 4
    assert report.by_motion["moving"].windows == 2
    assert list(lone.by_motion) == ["standing"]
    assert lone.by_motion["standing"].means == lone.mean


def test_motion_is_in_json_only_with_its_option():
    batch = crowd([0, 0.5])
    told = json.loads(
        json.dumps(evaluate_forecaster(Guess(), [batch], {"all": [0]}, TERMS).to_json())
    )
    assert told["standing"] == 0.08
    assert set(told["by_motion"]) == {"standing", "moving"}
    assert {"windows", "people", "energy_score", "intervals"} <= told["by_motion"]["moving"].keys()
    plain = evaluate_forecaster(
        Guess(), [batch], {"all": [0]}, replace(TERMS, standing=None)
    ).to_json()
    assert plain["by_motion"] == {}


@pytest.fixture
def walkers(tmp_path):
    """Ten walkers at a tenth to ten tenths of a fastest pace, in a unit of one's own."""

    def make(unit, fastest):
        steps = np.arange(30)
        place = np.concatenate([np.outer(steps, [k / 10 * fastest, 0]) for k in range(1, 11)])
        with StoreWriter(tmp_path / f"{unit}.zarr", dims=2, dt=0.5, unit=unit) as writer:
            writer.append(
                TrackBlock(
                    scene="yard",
                    labels=list(range(10)),
                    types=["walker"] * 10,
                    rowsize=np.full(10, 30),
                    time=np.tile(steps * 0.5, 10),
                    position=place,
                    split="train",
                )
            )
        return TrackData(open_store(tmp_path / f"{unit}.zarr"), history=T, horizon=F, split="time")

    return make


def test_metres_have_a_fixed_bound_and_other_units_one_of_their_own(walkers):
    assert standing_speed(walkers("m", 0.6), "train") == pytest.approx(0.2 * 0.5)
    pixels, parsecs = (
        standing_speed(walkers(u, f), "train") for u, f in (("px", 60), ("pc", 6e-6))
    )
    assert pixels == pytest.approx(1e7 * parsecs)
    assert 0.15 * 0.8 * 60 < pixels <= 0.15 * 60


def test_the_command_shows_who_stood_where_some_did(trajflow, places):
    code, out, _ = trajflow("evaluate", "--baseline", "cv", places)
    assert code == 0
    shown = [line.split() for line in out.splitlines() if line.startswith(("standing", "moving"))]
    assert [row[0] for row in shown] == ["standing", "moving"]
    assert [float(row[1]) for row in shown] == [0.5, 0.5]
    told = json.loads(trajflow("evaluate", "--baseline", "cv", places, "--json")[1])
    assert told["by_motion"]["standing"]["windows"] == told["by_motion"]["moving"]["windows"]


@pytest.fixture
def places(tmp_path):
    """One recording of a walker and one who stands, in time order train, val and test."""
    steps = np.arange(90)
    walk = np.stack([0.5 * steps, np.zeros(90)], -1)
    with StoreWriter(tmp_path / "yard.zarr", dims=2, dt=0.4, unit="m") as writer:
        for part in ("train", "val", "test"):
            writer.append(
                TrackBlock(
                    scene=f"yard-{part}",
                    labels=[1, 2],
                    types=["walker"] * 2,
                    rowsize=np.full(2, 90),
                    time=np.tile(steps * 0.4, 2),
                    position=np.concatenate([walk, np.full((90, 2), 3.0)]),
                    split=part,
                )
            )
    return tmp_path / "yard.zarr"
