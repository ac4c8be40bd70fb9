"""Forecasts that remember a place: what reaches them, what they make of it, and nothing where \
nothing is."""

import json

import numpy as np
import pytest
import torch
from test_tui_forecast import browsed, press
from tui_support import LARGE, lines_of, text_of

from trajflow import OnlinePredictor, Place, Predictor
from trajflow.browse.browser import Session
from trajflow.browse.view import SamplingOptions
from trajflow.cli.tables import score_lines
from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import ConfigError
from trajflow.evaluation.comparison import beside_baselines, validation_verdict
from trajflow.export.onnx import to_onnx
from trajflow.export.verify import check_forecasts
from trajflow.inference.ensemble import Ensemble
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.scenes import Request
from trajflow.models.serialization import pack, unpack, unpack_state
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.nn.memory_attention import MemoryAttention
from trajflow.runs import WEIGHTS, RunFolder, run_data
from trajflow.training.augment import Augmentation
from trajflow.training.start import resume_training, start_training
from trajflow.types import Batch

A, T, F, K = 3, 8, 12, 4
KINDS = (
    {},
    {"own_speed": True, "condition_on_dt": True},
    {"joint": True},
    {"social": False},
)


def model_of(seed=0, memory=K, **kind):
    """A model of random weights, so that all of its parts count."""
    torch.manual_seed(seed)
    sizes = {"width": 16, "decoder_width": 24, "decoder_depth": 1}
    model = TrajectoryModel(Architecture(T, F, memory=memory, **sizes, **kind))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def predictor_of(**options):
    return TorchPredictor(model_of(**options), {"dt": 0.4, "unit": "m"})


def pasts(*lead, agents=A, seed=0):
    return np.random.default_rng(seed).normal(size=(*lead, agents, T, 2)).cumsum(-2)


def busy(past, people=6, steps=40, scene=""):
    """A place where others walked through the present of each agent of [A, T, D], its way."""
    place, rng = Place(1.0), np.random.default_rng(1)
    here, drift = past[:, -1], (past[:, -1] - past[:, -3]) / 2
    who = rng.integers(0, len(past), people)
    middle = rng.integers(15, steps - 15, people)
    offset = rng.normal(0, 0.3, (people, 2))
    for step in range(steps):
        ahead = (step - middle)[:, None]
        place.push(scene, step, [f"old {k}" for k in range(people)], (here + drift * 0)[who] +
                   offset + ahead * drift[who])  # fmt: skip
    return place


def remembering(past, count=K):
    """Memory [A, K, T + F, 3] of pasts [A, T, 2] at a busy place."""
    agents = list(range(len(past)))
    return busy(past).recall("", past, 40, agents, count, F)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_place_changes_no_bit(kind):
    predictor, past = predictor_of(**kind), pasts()
    plain = predictor.predict(past, seed=0).samples
    empty = predictor.predict(past, seed=0, agents="abc", place=Place(1.0)).samples
    assert plain.tobytes() == empty.tobytes()
    full = predictor.predict(past, seed=0, agents="abc", place=busy(past)).samples
    assert not np.allclose(plain, full)


@pytest.mark.parametrize("kind", KINDS)
def test_who_remembers_nothing_is_forecast_as_without_memory(kind):
    """Others in the same scene do remember; only a joint scene passes that on."""
    predictor, past = predictor_of(**kind), pasts()
    place = busy(past[:1])
    past[1:] += 500.0
    plain = predictor.predict(past, seed=0).samples
    some = predictor.predict(past, seed=0, agents="abc", place=place).samples
    assert not np.allclose(plain[:, 0], some[:, 0])
    if not kind.get("joint"):
        assert plain[:, 1:].tobytes() == some[:, 1:].tobytes()


def test_a_model_without_memory_is_the_file_that_it_was():
    model = model_of(memory=0)
    _, facts = unpack_state(pack(model, {"dt": 0.4, "unit": "m"}), "weights")
    assert "memory" not in facts["architecture"]
    again, _ = unpack(pack(model_of(), {"dt": 0.4, "unit": "m"}), "weights")
    assert again.architecture.memory == K


def test_the_other_weights_start_as_they_do_without_memory():
    sizes = {"width": 16, "decoder_width": 24, "decoder_depth": 1}
    states = []
    for memory in (0, K):
        torch.manual_seed(0)
        states.append(TrajectoryModel(Architecture(T, F, memory=memory, **sizes)).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_moving_and_turning_the_world_turns_what_is_remembered():
    predictor, past = predictor_of(), pasts()
    memory = remembering(past)
    turn, shift = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([3e5, -2e5])

    def moved(points):
        return points @ turn + shift

    other = np.concatenate([moved(memory[..., :2]), memory[..., 2:]], -1)
    target = np.ones((1, A), bool)
    one = predictor._draw(Request.of(past[None], target, 1.0, memory[None]), 5, 0)[0]
    two = predictor._draw(Request.of(moved(past)[None], target, 1.0, other[None]), 5, 0)[0]
    np.testing.assert_allclose(moved(one), two, atol=2e-2)


def test_the_order_of_what_is_remembered_does_not_matter():
    predictor, past = predictor_of(), pasts()
    memory, target = remembering(past)[None], np.ones((1, A), bool)
    one, two = (
        predictor._draw(Request.of(past[None], target, 1.0, m), 5, 0)[0]
        for m in (memory, memory[:, :, ::-1])
    )
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-3)


def test_the_reader_is_zero_before_the_first_update_and_for_no_paths():
    reader = MemoryAttention(16, T + F)
    context, path = torch.randn(5, 16), torch.randn(5, K, T + F, 2)
    assert not reader(context, path, torch.ones(5, K)).any()
    torch.nn.init.normal_(reader.merge[-1].weight)
    path[2] = torch.nan
    added = reader(context, path, torch.ones(5, K))
    assert added.any(-1).tolist() == [True, True, False, True, True]


def test_scores_of_the_past_know_nothing_of_memory():
    predictor, past = predictor_of(), pasts()[None]
    target = np.ones((1, A), bool)
    memory = remembering(past[0])[None]
    plain, full = (
        predictor._draw(Request.of(past, target, 1.0, m), 2, 0)[1][0] for m in (None, memory)
    )
    assert plain.tobytes() == full.tobytes()


def test_chosen_samples_and_ensembles_remember():
    members = [predictor_of(seed=seed) for seed in (0, 1)]
    past = pasts()
    for forecaster, options in ((Ensemble(members), {}), (members[0], {"select": "kmeans"})):
        plain = forecaster.predict(past, seed=0, **options).samples
        place = {"agents": "abc", "place": busy(past)}
        assert not np.allclose(plain, forecaster.predict(past, seed=0, **options, **place).samples)


def test_a_place_that_does_not_fit_is_refused():
    past, place = pasts(), Place(1.0)
    with pytest.raises(ConfigError, match=r"without memory; train one with model\.memory=8"):
        predictor_of(memory=0).predict(past, agents="abc", place=place)
    with pytest.raises(ConfigError, match=r"needs agents=, the ids of its 3 agents"):
        predictor_of().predict(past, place=place)
    with pytest.raises(ConfigError, match=r"make it by Place\(1, dims=2\)"):
        predictor_of().predict(past, agents="abc", place=Place(30.0))
    with pytest.raises(ConfigError, match="2 names of scenes for 1 scenes"):
        predictor_of().predict(past, agents="abc", place=place.at(["a", "b"]))


def test_each_scene_has_its_own_name():
    predictor, past = predictor_of(), pasts(2)
    place = busy(past[0], scene="left")
    plain, some = (
        predictor.predict(past, seed=0, agents="abc", place=one).samples
        for one in (None, place.at(["left", "right"]))
    )
    assert not np.allclose(plain[:, 0], some[:, 0])
    assert plain[:, 1].tobytes() == some[:, 1].tobytes()


# Tracing the graph of a joint model with memory takes 20 s.
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k.get("joint") else ()) for k in KINDS]
)
def test_an_export_remembers_as_its_run_does(kind, tmp_path):
    predictor, past = predictor_of(**kind), pasts(2)
    (tmp_path / "model.onnx").write_bytes(to_onnx(predictor))
    exported = Predictor.load(tmp_path / "model.onnx")
    assert isinstance(exported, OnnxPredictor)
    assert check_forecasts(predictor, exported) < 1e-5
    place = busy(past[0], scene="left")
    plain, some, empty = (
        exported.predict(past, seed=0, agents="abc", place=one).samples
        for one in (None, place.at(["left", "right"]), Place(1.0))
    )
    assert plain.tobytes() == empty.tobytes()
    assert not np.allclose(plain[:, 0], some[:, 0])
    assert np.allclose(plain[:, 1], some[:, 1])
    batch = batch_of(past)
    noise = np.random.default_rng(0).normal(size=(5, 6, F * 2)).astype(np.float32)
    mine = exported.carry(Request.of(past, batch.target, 1.0, batch.memory), noise)
    centre = past[:, 0, 0]
    near = Batch.placed(batch, mine) - centre[:, None, None]
    model, points = predictor.model, torch.as_tensor(past - centre[:, None, None]).float()
    memory = batch.memory - np.pad(centre, ((0, 0), (0, 1)))[:, None, None, None]
    target = torch.as_tensor(batch.target)
    context, frame = model.context(points, target)
    context = model.with_memory(context, frame, torch.as_tensor(memory).float())
    noise = torch.as_tensor(noise)
    noise = noise.unflatten(1, (2, A)) if kind.get("joint") else noise
    true = model.futures_of(target, context, frame, noise, 1, target)
    np.testing.assert_allclose(near[:, batch.target], true.detach(), rtol=1e-4, atol=1e-2)


def batch_of(past, reach=1):
    """Scenes [B, A, T, 2] with memory at busy places, whose last agent is a neighbor."""
    scenes = len(past)
    target = np.ones(past.shape[:2], bool)
    future = past[:, :, -1:] + np.zeros((F, 2))
    memory = np.stack([busy(one).recall("", one, 40, [0, 1, 2], K, F) for one in past])
    count = np.zeros(scenes, int)
    return Batch(past, future, target, count, count, np.tile(np.arange(A), (scenes, 1)),
                 memory=memory)  # fmt: skip


def test_what_is_remembered_is_mirrored_and_scaled_with_its_scene():
    before = batch_of(pasts(20))
    how = Augmentation(mirror=True, scale_jitter=0.3)
    after, _ = how(before, np.random.default_rng(0))
    ratio = after.past[:, :1, :1] / before.past[:, :1, :1]
    np.testing.assert_allclose(after.memory[..., :2], before.memory[..., :2] * ratio[:, :, None])
    np.testing.assert_array_equal(after.memory[..., 2], before.memory[..., 2])


def test_a_scene_that_is_played_backwards_remembers_nothing():
    before = batch_of(pasts(40))
    after, _ = Augmentation(reverse_prob=0.5)(before, np.random.default_rng(0))
    back = (np.sign(after.past[:, 0, 0]) != np.sign(before.past[:, 0, 0])).any(1)
    kept = np.isfinite(after.memory).any((1, 2, 3, 4))
    had = np.isfinite(before.memory).any((1, 2, 3, 4))
    assert had.all()
    assert 5 < kept.sum() < 35
    assert not (kept & back & ~np.isclose(np.abs(after.past[:, 0, 0, 0] / before.past[:, 0, 0, 0]),
                1, atol=0.11)).any()  # fmt: skip


def test_what_is_remembered_is_played_at_the_pace_of_its_scene():
    batch = batch_of(pasts(30))
    still = Augmentation(mirror=False, scale_jitter=0.0, time_stretch=(0.5, 1.0),
                         time_stretch_share=1.0)  # fmt: skip
    after, pace = still(batch, np.random.default_rng(0))
    before, slow = batch.memory, after.memory
    present = T - 1
    np.testing.assert_allclose(slow[..., present, :2], before[..., present, :2])
    there = np.isfinite(before[..., present - 1 : present + 2, 0]).all(-1)
    drift = np.diff(before[..., present : present + 2, :2], axis=-2)[..., 0, :]
    less = np.diff(slow[..., present : present + 2, :2], axis=-2)[..., 0, :]
    np.testing.assert_allclose(less[there], (drift * pace[:, None, None, None])[there], atol=1e-9)
    np.testing.assert_allclose(slow[..., present, 2], before[..., present, 2] / pace[:, None, None])
    assert (pace < 0.9).any()


def test_part_of_the_agents_learn_without_memory():
    batch = batch_of(pasts(200))
    after, _ = Augmentation(memory_dropout=0.4)(batch, np.random.default_rng(0))
    left, before = (np.isfinite(one.memory).any((3, 4)).sum(2) for one in (after, batch))
    assert 0.35 < (left[before > 0] == 0).mean() < 0.55
    assert ((left > 0) & (left < before)).mean() > 0.1
    assert (left == before)[before > 0].mean() > 0.25


@pytest.fixture
def street(store_of):
    """Recordings in which people walk the same way one after the other; the end is validation."""
    walks = [np.arange(first, first + 14) for first in range(0, 90, 3)]
    return store_of({"north": ("all", walks), "south": ("all", walks[::2])})


def rows_of(street):
    """Positions by (scene, step) of the training split, and of all rows."""
    data = data_of(street)
    tracks, roles = data._stream._load(0)
    scene = tracks.scene[tracks.track]
    every = list(
        zip(scene.tolist(), tracks.step.tolist(), map(tuple, tracks.position), strict=True)
    )
    agents = tracks.agent[tracks.track].tolist()
    return [dict(zip(("place", "role", "agent"), one, strict=True)) for one in zip(
        every, roles.tolist(), agents, strict=True)]  # fmt: skip


def data_of(street, **options):
    shape = {"history": 3, "horizon": 2, "split": "time", "fractions": (0.6, 0.4, 0.0)}
    return TrackData(street, **shape, **options)


@pytest.mark.parametrize("options", [{}, {"max_rows": 150}, {"fraction": 0.5}])
def test_memory_is_of_earlier_rows_of_others_that_a_training_may_see(street, options):
    data = data_of(street, **options)
    data.watch(6, 5.0)
    known = {row["place"]: row for row in rows_of(street)}
    learned = set(data.windows("train").agents.tolist()) if "max_rows" not in options else None
    for split in ("train", "val"):
        seen = 0
        for batch in data.batches(split, 20):
            now = batch.start + batch.past.shape[2] - 1
            for b, a, k, w in np.argwhere(np.isfinite(batch.memory[..., 0])):
                x, y, ago = batch.memory[b, a, k, w]
                row = known[int(batch.scene[b]), int(now[b] - ago), (x, y)]
                seen += 1
                assert batch.target[b, a]
                assert ago >= 1
                assert row["agent"] != batch.agent[b, a]
                assert split != "train" or row["role"] == 0
                assert split != "train" or learned is None or row["agent"] in learned
        assert seen > 100
    assert data_of(street, **options).memory == 0


def test_training_windows_do_not_remember_earlier_rows_of_another_split(tmp_path):
    with StoreWriter(tmp_path / "tracks.zarr", dims=2, dt=0.5, unit="m") as writer:
        steps = np.concatenate([np.arange(first, first + 14) for first in range(0, 60, 3)])
        block = TrackBlock(
            scene="north",
            labels=list(range(20)),
            types=["walker"] * 20,
            rowsize=np.full(20, 14),
            time=steps * 0.5,
            position=np.random.default_rng(0).normal(size=(len(steps), 2)),
            split=np.where(steps < 30, "val", "train"),
        )
        writer.append(block)
    data = TrackData(open_store(tmp_path / "tracks.zarr"), history=3, horizon=2)
    data.watch(6, 5.0)
    oldest = []
    for batch in data.batches("train", 20):
        now = (batch.start + 2)[:, None, None, None]
        step = now - batch.memory[..., -1]
        oldest.append(np.nanmin(step, initial=np.inf))
    assert 30 <= min(oldest) < 40


def test_validation_windows_remember_what_was_trained_on(street):
    """A camera that hangs there has seen it."""
    data = data_of(street)
    data.watch(6, 5.0)
    known = {row["place"]: row["role"] for row in rows_of(street)}
    roles = set()
    for batch in data.validation(20, 10**6):
        now = batch.start + batch.past.shape[2] - 1
        for b, a, k, w in np.argwhere(np.isfinite(batch.memory[..., 0])):
            x, y, ago = batch.memory[b, a, k, w]
            roles.add(known[int(batch.scene[b]), int(now[b] - ago), (x, y)])
    assert roles == {0, 1}


def test_batches_bring_no_memory_unless_it_is_asked_for(street):
    data = data_of(street)
    assert next(data.batches("train", 20)).memory is None
    data.watch(6, 5.0)
    assert next(data.batches("train", 20)).memory is not None
    data.watch(0, 5.0)
    assert next(data.batches("train", 20)).memory is None


def walking(online, seconds, people=5, dt=0.4, seed=0):
    """Push people who pass the same way one after the other, at irregular times."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.15) + rng.uniform(0, 0.1, int(np.ceil(seconds / 0.15)))
    for time in times:
        ids = [k for k in range(people) if 8 * k <= time < 8 * k + 12]
        online.push(time, ids, [[1.2 * (time - 8 * k), 0.1 * k] for k in ids])
    return times[-1]


def test_an_online_predictor_fills_its_place_and_remembers_it():
    predictor = predictor_of()
    plain, watching = (OnlinePredictor(predictor, watch=watch) for watch in (False, True))
    for online in (plain, watching):
        walking(online, 36)
    assert plain.place is None
    assert len(watching.place) > 80
    one, two = (online.forecast().forecast.samples for online in (plain, watching))
    assert one.shape == two.shape
    assert not np.allclose(one, two)
    for step in range(0, watching.place.latest()):
        moment = watching.place.recall("", np.array([[[1.2 * step * 0.4 - 0.5, 0.0],
                    [1.2 * step * 0.4, 0.0]]]), step + 500, ["new"], 1, 2)  # fmt: skip
        known = moment[0, 0][np.isfinite(moment[0, 0, :, 0])]
        person = np.round(10 * known[:, 1])
        time = 0.4 * (step + 500 - known[:, 2])
        np.testing.assert_allclose(known[:, 0], 1.2 * (time - 8 * person), atol=1e-6)


def test_a_place_is_filled_further_after_a_restart_and_a_clock_that_was_set_back(tmp_path):
    predictor = predictor_of()
    first = OnlinePredictor(predictor, watch=True)
    walking(first, 20)
    first.place.save(tmp_path / "hall.npz")
    second = OnlinePredictor(predictor, watch=Place.load(tmp_path / "hall.npz"))
    before = len(second.place)
    walking(second, 20)
    assert len(second.place) > before + 20
    kept = len(second.place)
    second.reset()
    assert len(second.place) == kept
    walking(second, 20)
    assert len(second.place) > kept + 20
    assert np.isfinite(second.forecast().forecast.samples).all()


def test_a_predictor_that_cannot_remember_cannot_watch():
    with pytest.raises(ConfigError, match="without memory"):
        OnlinePredictor(predictor_of(memory=0), watch=True)
    with pytest.raises(ConfigError, match="scale"):
        OnlinePredictor(predictor_of(), watch=Place(9.0))


def test_the_setting_is_off_by_default_and_bounded():
    assert Config().model.memory == 0
    assert Config.load(None, ["model.memory=8"]).model.memory == 8
    with pytest.raises(ConfigError, match="memory"):
        Config.load(None, ["model.memory=65"])


STREET = ("data.history=3", "data.horizon=2", "data.split=time", "data.fractions=[0.5,0.2,0.3]")


def settings(*more):
    return [word for setting in (*STREET, *more) for word in ("--set", setting)]


@pytest.fixture
def watched_run(street, trajflow, tmp_path, tiny):
    """A run with memory on a street."""
    words = (*tiny, *settings("model.memory=4"))
    code, _, said = trajflow("train", street.path, "--out", tmp_path / "run", *words)
    assert code == 0, said
    return tmp_path / "run", street.path


def test_memory_is_added_to_a_run_that_forecasts_as_before_without_it(
    street, trajflow, tmp_path, tiny, trained, fork
):
    base, whole, halves = (tmp_path / name for name in ("base", "whole", "halves"))
    assert trajflow("train", street.path, "--out", base, *tiny, *settings())[0] == 0
    words = settings("model.memory=4", "train.epochs=3", "train.lr=0.01", "train.samples=5")
    code, _, said = trajflow("train", street.path, "--out", whole, "--init", base, *words)
    assert code == 0, said
    before, after, past = Predictor.load(base), Predictor.load(whole), pasts()[:, -3:]
    place = Place(after.displacement_scale)
    plain = before.predict(past, seed=0).samples
    assert np.array_equal(after.predict(past, seed=0, agents="abc", place=place).samples, plain)
    for step in range(12):
        place.push(
            "", step, ["d", "e", "f"], past[:, -1] + (step - 6) * (past[:, -1] - past[:, -2])
        )
    seen = after.predict(past, seed=0, agents="abc", place=place).samples
    assert not np.allclose(seen, plain, atol=1e-3)
    assert after.temperature == before.temperature != 1
    code, _, said = trajflow("train", street.path, "--init", whole, "--set", "model.memory=8")
    assert code == 2
    assert "model.memory=8 does not fit" in said
    words = ("--init", trained[0], "--set", "model.memory=8", "--out", tmp_path / "no")
    code, _, said = trajflow("train", fork, *words)  # one agent to a recording
    assert code == 2
    assert "no earlier tracks of others" in said
    assert not (tmp_path / "no").exists()

    config = RunFolder.open(whole).config
    trainer = start_training(street.path, config, halves, "cpu", init=base)
    for _ in trainer.run():
        trainer.stop()
    *_, last = resume_training(street.path, halves, "cpu").run()
    assert last.reason == "done"
    assert (halves / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_run_with_memory_is_evaluated_with_and_without(watched_run, trajflow):
    run, data = watched_run
    folder = RunFolder.open(run)
    sentence = validation_verdict(folder, run_data(open_store(data), folder))
    assert sentence.startswith("beats") == sentence.endswith(", with its memory of the place")
    code, out, _ = trajflow("evaluate", run, data)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    (watched,) = [line for line in lines if line[:1] == ["watched"]]
    (without,) = [line for line in lines if line[:2] == ["without", "memory"]]
    assert len(watched) == len(without) - 1 == 6
    code, out, _ = trajflow("evaluate", run, data, "--json")
    report = json.loads(out)
    assert report["protocol"]["watched"] == "yes"
    kept = {path.stem.endswith("-watched"): json.loads(path.read_text())
            for path in run.glob("evaluation-*.json")}  # fmt: skip
    assert kept[True]["mean"] == report["mean"] != report["unwatched"]["mean"]
    assert kept[False]["mean"] == report["unwatched"]["mean"]
    assert "watched" not in kept[False]["protocol"]
    code, _, said = trajflow("compare", run)
    assert code == 2
    assert "whether the place was watched before (watched)" in said
    for score, start in ((1e-9, "beats"), (1e9, "does not beat")):
        report["unwatched"]["mean"]["energy_score"] = score  # baselines see no earlier tracks
        report |= beside_baselines(run, data, report)
        assert report["verdict"].startswith(start)
        text = "\n".join(score_lines(report)).splitlines()
        (own,) = [line for line in text if line.startswith("this run")]
        assert float(own.split()[2]) == score


def test_browsed_windows_are_without_memory_until_it_is_asked_for(watched_run):
    browser = Session().browser(*watched_run, "test")
    index = len(browser) - 1
    plain, options = browser.view(index), SamplingOptions(watched=True)
    assert plain.without_memory
    assert plain.earlier is None
    watched = browser.view(index, options)
    assert not watched.without_memory
    known = np.isfinite(watched.earlier).all(-1).any((1, 2))
    assert known.any()
    moved = np.abs(watched.samples - plain.samples).max((0, 2, 3))
    assert (moved[known] > 0).all()
    assert not moved[watched.target & ~known].any()
    assert np.array_equal(browser.view(index).samples, plain.samples, equal_nan=True)
    far = browser.view(index, options, plain.past + 1000)  # nobody was there
    assert not np.isfinite(far.earlier).any()
    again = browser.view(index, options)
    assert np.array_equal(again.earlier, watched.earlier, equal_nan=True)
    assert browser.view(index, options, forecaster=browser.other("cv")).earlier is None


def test_the_screen_draws_the_earlier_tracks_that_a_forecast_uses(watched_run):
    async def play(pilot, screen):
        await press(pilot, screen, "end")
        assert "without memory" in text_of(pilot.app)
        before = lines_of(pilot.app)[:20]
        await press(pilot, screen, "d", "d", "M")
        count = int(np.isfinite(screen.view.earlier).all(-1).any(-1).sum())
        assert f"with {count} earlier track" in text_of(pilot.app)
        assert count > 0
        drawn = lines_of(pilot.app)[:20]
        await press(pilot, screen, "M")
        assert drawn != lines_of(pilot.app)[:20] != before
        assert screen.view.earlier is None

    browsed(*watched_run, play, LARGE)


def test_a_run_with_memory_serves_every_command(watched_run, trajflow, tmp_path):
    run, data = watched_run
    assert trajflow("predict", run, data, "--out", tmp_path / "futures.csv")[0] == 0
    assert trajflow("fit", run, data, "samples", "--set", "samples.epochs=1")[0] == 0
    assert trajflow("export", run, data, "--out", tmp_path / "model.onnx", "--check")[0] == 0
    exported = Predictor.load(tmp_path / "model.onnx")
    assert exported.format.memory == 4
