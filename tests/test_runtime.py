"""Facts about exported models: the same futures without torch, and nothing taken on trust."""

import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from walkers_support import walkers

from trajflow import OnlinePredictor
from trajflow.errors import ConfigError, RunError, TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.learned_samples import LearnedSamples, LearnedSamplesShape
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.ood.fitting import fit_detector
from trajflow.types import Batch

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from onnx_support import bare, carried, whole

from trajflow.export.onnx import precision_of, to_onnx
from trajflow.export.verify import check_forecasts, drawn_from, outputs_of, random_inputs
from trajflow.inference.noise import normal, place_keys
from trajflow.inference.onnx.artifact import Artifact
from trajflow.inference.onnx.golden import difference
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.scenes import Request, Scenes

A, T, F, S, K = 3, 6, 5, 7, 4


def network(**more):
    torch.manual_seed(0)
    sizes = {"width": 16, "decoder_width": 16, "decoder_depth": 1, "components": 4}
    model = TrajectoryModel(Architecture(T, F, **(sizes | more)))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def run():
    model = network(own_speed=True)
    noises = LearnedSamples(LearnedSamplesShape(16, 4, K, 8))
    for parameter in noises.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    facts = {"dt": 0.4, "unit": "m", "temperature": 1.25}
    run = TorchPredictor(model, facts, sets={K: noises})
    run.detector = fit_detector(run, walkers(30, 1, T, F, 2), walkers(30, 2, T, F, 2))
    return run


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    """An export of the run."""
    place = tmp_path_factory.mktemp("export") / "model.onnx"
    place.write_bytes(to_onnx(run))
    return place


@pytest.fixture(scope="module")
def small(path):
    return OnnxPredictor.load(path)


def pasts(*lead, agents=A, seed=0):
    return np.random.default_rng(seed).normal(size=(*lead, agents, T, 2)).cumsum(-2)


def test_an_export_draws_what_the_run_draws_from_the_same_noise(run, small):
    assert check_forecasts(run, small, rounds=30, seed=5) <= 1e-5


def test_agents_and_neighbors_may_be_any_number(run, small):
    for sizes in ((1, 1, 1, 1), (1, 61, 1, 20), (6, 2, 1, 2), (2, 40, 17, 3)):
        inputs = random_inputs(run, sizes, 3)
        (found,) = small.session.run(["futures"], inputs)
        assert difference(found, outputs_of(run, inputs)[0], inputs["past"]) <= 1e-5


def ragged():
    """Scenes of which some agents are targets, anywhere among the others, far from the origin."""
    chance = np.random.default_rng(2)
    target = chance.random((5, 30)) < 0.2
    target[0] = False
    past = chance.normal(size=(5, 30, T, 2)).cumsum(-2) + 4 * chance.normal(size=(5, 30, 1, 2))
    past[chance.random(past.shape[:3]) < 0.2] = np.nan
    past[:, :, -1][target] = np.nan_to_num(past[:, :, -1][target])
    past[chance.random(target.shape) < 0.2 * ~target] = np.nan
    past += 4e6 + 1000 * np.arange(5)[:, None, None, None]
    nobody = np.zeros(target.shape, int)
    future = np.full((*target.shape, F, 2), np.nan)
    return Batch(past, future, target, nobody[:, 0], nobody[:, 0], nobody)


def test_a_batch_of_ragged_scenes_is_forecast_as_the_run_does(run, small):
    batch = ragged()
    noise = np.random.default_rng(1).normal(size=(S, batch.targets, F * 2)).astype(np.float32)
    scenes = batch.past - 4e6 - 1000 * np.arange(5)[:, None, None, None]
    right, _ = drawn_from(run, scenes.astype(np.float32), batch.target, noise)
    found = small.carry(Request.of(batch.past, batch.target), noise)
    moved = 4e6 + 1000 * np.nonzero(batch.target)[0]
    np.testing.assert_allclose(found - moved[:, None, None], right, atol=2e-4)


def test_who_is_among_nobodys_nearest_is_left_out_and_makes_no_difference(run, small):
    batch = ragged()
    noise = np.ones((1, batch.targets, F * 2), np.float32)
    lean = Scenes.of(batch.past, batch.target, 3)
    full = Scenes.of(batch.past, batch.target, 100)
    assert lean.past.shape[1] < full.past.shape[1]
    found = small.carry(Request.of(batch.past, batch.target), noise)
    inputs = {"past": full.past, "noise": full.spread(noise)}
    inputs["learned_noises"] = np.zeros(0, np.int64)
    (kept,) = small.session.run(["futures"], inputs)
    np.testing.assert_allclose(full.picked(kept), found, atol=1e-4)


def test_a_neighbor_must_be_seen_at_the_present_step(run, small):
    past, around = pasts(), pasts(agents=4, seed=1) + 0.5
    noise = np.ones((S, A, F * 2), np.float32)
    target = np.arange(A + 4)[None] < A
    alone = small.carry(Request.of(past[None], np.ones((1, A), bool)), noise)
    for gone in (slice(0, T - 1), slice(T - 1, T)):
        seen = around.copy()
        seen[:, gone] = np.nan
        found = small.carry(Request.of(np.concatenate([past, seen])[None], target), noise)
        assert np.allclose(found, alone, atol=1e-5) == (gone.start > 0)
    past[1, -1] = np.nan
    both, _ = drawn_from(run, past[None].astype(np.float32), target[:, :A], noise)
    np.testing.assert_allclose(
        small.carry(Request.of(past[None], target[:, :A]), noise), both, atol=1e-4
    )
    inputs = {"past": past[None].astype(np.float32), "noise": noise[:, None]}
    inputs["learned_noises"] = np.zeros(0, np.int64)
    moved = inputs | {"past": inputs["past"].copy()}
    moved["past"][0, 1] += 0.3
    (before,), (after,) = (small.session.run(["futures"], one) for one in (inputs, moved))
    np.testing.assert_allclose(after[:, 0, [0, 2]], before[:, 0, [0, 2]], atol=1e-5)


def test_a_bad_agent_counts_as_missing_and_a_masked_position_too(small):
    past = pasts(4)
    past[2, 1] = np.inf
    missing = past.copy()
    missing[2, 1] = np.nan
    for select in (None, "learned"):
        asked = {"samples": K, "seed": 1, "select": select, "on_bad": "quarantine"}
        told, expected = (small.predict(one, **asked) for one in (past, missing))
        assert np.array_equal(told.samples, expected.samples, equal_nan=True)
        assert np.argwhere(np.isnan(told.samples).any((0, 3, 4))).tolist() == [[2, 1]]
        assert "infinite" in told.faults[2, 1]
    clean = small.predict(pasts(4), samples=K, seed=1).samples
    told = small.predict(past, samples=K, seed=1, on_bad="quarantine").samples
    np.testing.assert_allclose(told[:, [0, 1, 3]], clean[:, [0, 1, 3]], atol=1e-5)
    hidden = np.ma.masked_array(np.where(np.isnan(missing), 1e9, missing), np.isnan(missing))
    hidden[0, 0, :3] = np.ma.masked
    missing[0, 0, :3] = np.nan
    found, expected = (small.predict(one, **asked).samples for one in (hidden, missing))
    assert np.array_equal(found, expected, equal_nan=True)


def test_equal_seeds_give_equal_forecasts_with_the_axes_of_the_past(small):
    first, again = (small.predict(pasts(5, 2), samples=S, seed=1).samples for _ in range(2))
    assert first.shape == (S, 5, 2, A, F, 2)
    assert np.array_equal(first, again)
    assert not np.allclose(first, small.predict(pasts(5, 2), samples=S, seed=2).samples)


def test_the_stated_noise_is_what_a_seed_draws(small):
    target = np.ones((1, A), bool)
    noise = normal(3, place_keys(target), S, F * 2)
    right = small.carry(Request.of(pasts()[None], target), noise)
    assert np.array_equal(small.predict(pasts(), samples=S, seed=3).samples, right)


def test_a_run_and_its_export_forecast_the_same_on_equal_seeds(run, small):
    exported, trained = (one.predict(pasts(2), samples=S, seed=3) for one in (small, run))
    np.testing.assert_allclose(exported.samples, trained.samples, atol=1e-4)


def test_neighbors_of_each_scene_may_differ_in_number(small):
    around = [pasts(agents=2), pasts(agents=0), pasts(agents=5)]
    both = small.predict(pasts(3), around, samples=S, seed=1).samples
    assert both.shape == (S, 3, A, F, 2)


def test_learned_sets_are_those_of_the_run(run, small):
    right = run.predict(pasts(2), samples=K, select="learned")
    found = small.predict(pasts(2), samples=K, select="learned")
    np.testing.assert_allclose(found.samples, right.samples, atol=1e-4)
    np.testing.assert_allclose(found.weights, right.weights, atol=1e-5)


def test_learned_samples_of_a_scene_are_those_of_a_batch(run, small):
    """Of two sets; one scene takes the folded network, several the model itself."""
    torch.manual_seed(2)
    second = LearnedSamples(LearnedSamplesShape(16, 4, 6, 8))
    torch.nn.init.normal_(second.move.weight)
    torch.nn.init.normal_(second.weigh.weight)
    two = TorchPredictor(run.model, run.facts, sets=run.sets | {6: second})
    exported = OnnxPredictor.of(to_onnx(two))
    past = pasts(2, seed=3)
    for count in (K, 6):
        right = two.predict(past, samples=count, select="learned")
        for predictor in (two, exported):
            one = predictor.predict(past[1], samples=count, select="learned")
            np.testing.assert_allclose(one.samples, right.samples[:, 1], atol=1e-4)
            np.testing.assert_allclose(one.weights, right.weights[:, 1], atol=1e-5)


def test_learned_samples_run_the_graph_once(small, monkeypatch):
    runs, run = [], small.session.run
    monkeypatch.setattr(small.session, "run", lambda *words: runs.append(words) or run(*words))
    small.predict(pasts(), samples=K, select="learned")
    assert len(runs) == 1


def test_an_export_without_learned_samples_in_its_graph_is_refused(run):
    old = OnnxPredictor.of(to_onnx(TorchPredictor(run.model, run.facts)))
    old.learned = {K: None}
    with pytest.raises(RunError, match="earlier version; export the run again"):
        old.predict(pasts(), samples=K, select="learned")


@pytest.mark.parametrize("seed", range(6))
def test_ood_scores_are_those_of_the_run(run, small, seed):
    """Scenes of walkers, some of whom tremble or are lost from sight, far from the origin."""
    chance = np.random.default_rng(seed)
    past = np.stack([one.past[0] for one in walkers(90, 3 + seed, T, F, 1)])
    shape = past.shape[:2]
    odd = (chance.random(shape) < 0.2)[..., None, None]
    past = past + 0.1 * odd * chance.normal(size=past.shape)
    past[(chance.random((*shape, T)) < 0.2) & (chance.random((*shape, 1)) < 0.2)] = np.nan
    target = np.isfinite(past).all(-1).any(-1) & (chance.random(shape) < 0.8)
    nobody = np.zeros(shape, int)
    future = np.full((*shape, F, 2), np.nan)
    batch = Batch(past + 1e5, future, target, nobody[:, 0], nobody[:, 0], nobody)
    right, found = run.ood(batch), small.ood(batch)
    assert (right.ood_score < 0.9).mean() > 0.1
    for name in ("forest", "distance", "ood_score", "typical_score"):
        close = np.isclose(getattr(found, name), getattr(right, name), atol=1e-4)
        # Where single precision decides at a threshold of a tree, another branch is taken.
        assert close.mean() > 0.95, name
    assert (abs(found.expected_error / right.expected_error - 1) < 1e-5).mean() > 0.95
    assert small.ood(batch).reasons == run.ood(batch).reasons


def test_a_forecast_carries_the_scores_of_the_run(run, small):
    past = np.concatenate([one.past for one in walkers(12, 4, T, F, 1)], 1)[0]
    past[2] *= 6
    right, found = (one.predict(past, ood=True, samples=2) for one in (run, small))
    np.testing.assert_allclose(found.ood_score, right.ood_score, atol=1e-5)
    np.testing.assert_allclose(found.expected_error, right.expected_error, rtol=1e-5)
    assert found.ood_reasons.tolist() == right.ood_reasons.tolist()
    assert found.ood_score[2] > 0.95
    assert "speed" in found.ood_reasons[2]


def test_a_bad_agent_is_set_apart_as_by_the_run(run, small):
    past = pasts(2)
    past[0, 1, 2] = np.inf
    told = small.predict(past, samples=S, on_bad="quarantine", ood=True)
    assert told.faults[0, 1] == "has an infinite coordinate"
    assert np.isnan(told.samples[:, 0, 1]).all()
    assert np.isfinite(told.samples[:, 1]).all()
    for one in (run, small):
        with pytest.raises(TrajflowError, match="agent 1 of scene 0 has an infinite coordinate"):
            one.predict(past)


def test_a_run_without_a_detector_is_exported_and_says_so(path, tmp_path):
    artifact = carried(path)
    plain = Artifact(artifact.facts | {"ood": None}, artifact.arrays)
    (tmp_path / "plain.onnx").write_bytes(whole(bare(path), plain))
    plain = OnnxPredictor.load(tmp_path / "plain.onnx")
    assert plain.predict(pasts(), samples=S).ood_score is None
    with pytest.raises(ConfigError, match=r"fit RUN DATA ood.* then export the run again"):
        plain.predict(pasts(), ood=True)


def test_a_detector_that_does_not_fit_the_graph_is_refused(path, tmp_path):
    artifact = carried(path)
    narrow = {k: v[..., :-1] if k == "ood/gaussian/mean" else v for k, v in artifact.arrays.items()}
    moved = artifact.arrays | {"golden/context": artifact.arrays["golden/context"] + 1}
    for arrays, message in (
        (narrow, "OOD detector cannot be read"),
        (without(artifact.arrays, "ood/forest/"), "OOD detector cannot be read"),
        (without(artifact.arrays, "golden/context"), "cannot forecast from the inputs"),
        (moved, "no longer forecasts"),
    ):
        (tmp_path / "bad.onnx").write_bytes(whole(bare(path), Artifact(artifact.facts, arrays)))
        with pytest.raises(RunError, match=message):
            OnnxPredictor.load(tmp_path / "bad.onnx")


def without(arrays, start):
    return {name: one for name, one in arrays.items() if not name.startswith(start)}


def test_no_file_says_where_it_was_made(path):
    content = path.read_bytes()
    assert not re.search(rb"\.py\b", content)
    assert b"site-packages" not in content


def test_what_an_export_cannot_do_is_said(small):
    for more in ({"select": "kmeans"}, {"dt": 0.2}, {"draws": 40}):
        with pytest.raises(ConfigError):
            small.predict(pasts(), samples=20, **more)
    with pytest.raises(ConfigError, match=r"no learned set of 9 .*there are: 4"):
        small.predict(pasts(), samples=9, select="learned")
    with pytest.raises(TrajflowError, match="was not seen"):
        small.predict(np.full((A, T, 2), np.nan))
    with pytest.raises(ConfigError, match="threads"):
        OnnxPredictor.load("model.onnx", threads=0)


@pytest.mark.parametrize("place", [0.01, 0.3, 0.5, 0.9, 0.9999])
def test_a_flipped_bit_anywhere_is_seen(path, tmp_path, place):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(RunError, match=r"bad\.onnx cannot be used: .*damaged"):
        OnnxPredictor.load(tmp_path / "bad.onnx")


@pytest.mark.parametrize("size", [0, 10, 1000, -1])
def test_a_file_cut_short_is_seen(path, tmp_path, size):
    (tmp_path / "bad.onnx").write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match="cannot be used"):
        OnnxPredictor.load(tmp_path / "bad.onnx")


def test_a_graph_that_forecasts_otherwise_is_refused(path, tmp_path):
    artifact = carried(path)
    arrays = dict(artifact.arrays)
    arrays["golden/futures"] = arrays["golden/futures"] + 1
    other = Artifact(artifact.facts, arrays)
    (tmp_path / "bad.onnx").write_bytes(whole(bare(path), other))
    with pytest.raises(RunError, match="no longer forecasts as it did"):
        OnnxPredictor.load(tmp_path / "bad.onnx")


def test_facts_that_are_missing_or_of_the_wrong_kind_are_refused(path, tmp_path):
    artifact, graph = carried(path), bare(path)
    wrong = [{k: v for k, v in artifact.facts.items() if k != "horizon"}]
    wrong += [artifact.facts | {"format": 9}, artifact.facts | {"learned": 3}]
    wrong += [artifact.facts | {"calibration": {"format": 1}}, artifact.facts | {"dt": None}]
    wrong += [artifact.facts | {"history": T + 1}, artifact.facts | {"dt": float("nan")}]
    for number, facts in enumerate(wrong):
        place = tmp_path / f"{number}.onnx"
        place.write_bytes(whole(graph, Artifact(facts, artifact.arrays)))
        with pytest.raises(RunError, match="cannot be used"):
            OnnxPredictor.load(place)


def test_numbers_from_another_file_are_refused(path, tmp_path):
    import onnx

    model = onnx.load_model_from_string(bare(path))
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../elsewhere")
    content = whole(model.SerializeToString(), carried(path))
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(RunError, match="from elsewhere"):
        OnnxPredictor.load(tmp_path / "bad.onnx")


def test_a_graph_that_may_run_for_ever_is_refused(path, tmp_path):
    import onnx

    model = onnx.load_model_from_string(bare(path))
    model.graph.node[0].op_type = "Loop"
    content = whole(model.SerializeToString(), carried(path))
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(RunError, match="Loop"):
        OnnxPredictor.load(tmp_path / "bad.onnx")


def test_no_model_is_said_with_the_way_to_one(tmp_path):
    with pytest.raises(RunError, match="`trajflow export RUN"):
        OnnxPredictor.load(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(RunError, match="cannot be used"):
        OnnxPredictor.load(tmp_path / "text.onnx")


def test_an_artifact_says_what_it_is(path):
    facts = carried(path).facts
    assert facts["history"] == T
    assert facts["horizon"] == F
    assert facts["unit"] == "m"
    assert facts["temperature"] == 1.25
    assert facts["dt"] == 0.4
    assert re.fullmatch("[0-9a-f]{64}", facts["weights"])
    assert json.loads(json.dumps(facts)) == facts


def test_int8_is_near_and_smaller(run, path):
    run = TorchPredictor(run.model, run.facts)
    content = to_onnx(run, "int8")
    small = OnnxPredictor.of(content)
    assert small.facts["precision"] == "int8"
    assert len(content) < len(path.read_bytes())
    assert 1e-5 < check_forecasts(run, small, rounds=3) < 0.25


def test_precisions_there_are_not_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'int8'"):
        precision_of("int9")
    with pytest.raises(ConfigError, match="there are fp32, int8"):
        precision_of("bf16")


LOADED = """
import resource, sys, time
bare, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
import numpy, onnxruntime
known = set(sys.modules)
from trajflow import Predictor
import trajflow.inference.onnx.predictor
took = time.process_time() - began
more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - bare
Predictor.load(sys.argv[1]).predict([[[0.0, 1.0]] * 6])
tops = {name.split(".")[0] for name in set(sys.modules) - known}
others = tops - sys.stdlib_module_names - {name.split(".")[0] for name in known}
print(took, more / 1024, sorted(name for name in others if "ython" not in name))
"""


def test_the_runtime_is_small_and_knows_no_torch(path):
    told = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, path], capture_output=True, text=True, check=True
        )
        took, more, heavy = done.stdout.split(maxsplit=2)
        assert heavy.strip() == "['trajflow']"
        told.append((float(took), float(more)))
    assert min(took for took, _ in told) < 0.3
    assert min(more for _, more in told) < 60


GROWTH = """
import resource, sys
import numpy as np
from trajflow import Predictor
def pages(): return int(open("/proc/self/statm").read().split()[1])
predictor = Predictor.load(sys.argv[1])
before = pages()
for agents in range(100, 401, 10):
    for _ in range(2):
        predictor.predict(np.zeros((agents, 6, 2)), samples=10)
print((pages() - before) * resource.getpagesize() / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_each_new_number_of_agents_does_not_take_memory_of_its_own(path):
    command = [sys.executable, "-c", GROWTH, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 15


def test_a_loop_without_torch_forecasts_what_its_past_gives(small):
    """An `OnlinePredictor` asks an export, and gets what the export says of the very same past."""
    online = OnlinePredictor(small, dt=0.4, samples=S, seed=3)
    path = pasts()
    for step in range(T):
        online.push(0.4 * step, ["a", "b", "c"], path[:, step])
    told = online.forecast()
    assert told.ids == ("a", "b", "c")
    assert not told.fallback
    assert not told.constant_velocity.any()
    right = small.predict(path, samples=S, seed=3)
    np.testing.assert_allclose(told.forecast.samples, right.samples, atol=1e-4)


def test_a_loop_reads_only_the_pasts_that_matter_for_the_requested_agents(small):
    class Counting(OnnxPredictor):
        """Remembers how many neighbors it was given last."""

        def predict(self, past, neighbors=None, *more, **options):
            self.others = 0 if neighbors is None else len(neighbors)
            return super().predict(past, neighbors, *more, **options)

    predictor = pickle.loads(pickle.dumps(small))
    predictor.__class__ = Counting
    online, limit = OnlinePredictor(predictor, dt=0.4, samples=S, seed=3), small.format.neighbors
    ids, path = list(range(200)), pasts(agents=200) + 20 * pasts(agents=200, seed=1)[:, :1]
    for step in range(T):
        online.push(0.4 * step, ids, path[:, step])
    told = online.forecast([7, 150])
    assert limit <= predictor.others <= 2 * limit + 2
    wanted = [7, 150, *(set(ids) - {7, 150})]
    right = small.predict(path[wanted[:2]], path[wanted[2:]], samples=S, seed=3)
    np.testing.assert_allclose(told.forecast.samples, right.samples, atol=1e-4)
    alone = online.forecast([40])
    assert predictor.others <= limit + 1
    assert alone.ids == (40,)


OTHERS = [
    {"joint": True},
    {"encoder": "transformer", "condition_on_dt": True},
    {"encoder": "tcn", "social": False, "average": False},
]


@pytest.mark.slow
@pytest.mark.parametrize("more", OTHERS)
def test_other_networks_can_be_exported(more):
    facts = {"dt": 0.4, "unit": "m", "least_rate": 0.5, "most_rate": 1.0}
    run = TorchPredictor(network(**more), facts, steps=2)
    content = to_onnx(run)
    assert check_forecasts(run, OnnxPredictor.of(content), rounds=30) <= 1e-5


def test_an_encoder_that_looks_at_values_is_not_exported_wrongly(monkeypatch):
    from trajflow.nn.encoders.gru import FoldedGRUEncoder

    def forward(self, past, seen, before=FoldedGRUEncoder.forward):
        return before(self, past, seen) * (2 if past.max() > 1e6 else 1)

    monkeypatch.setattr(FoldedGRUEncoder, "forward", forward)
    with pytest.raises(RuntimeError, match="data-dependent"):
        to_onnx(TorchPredictor(network(), {"dt": 0.4, "unit": "m"}))
