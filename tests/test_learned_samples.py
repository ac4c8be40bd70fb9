"""Facts about learned sets: they serve better as a set, and leave the generator alone."""

import numpy as np
import pytest
import torch

from trajflow.config import Config
from trajflow.errors import ConfigError, RunError, TrajflowWarning
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import min_ade
from trajflow.models.learned_samples import (
    LearnedSamples,
    LearnedSamplesShape,
    sample_errors,
    samples_loss,
    spread_normals,
)
from trajflow.models.serialization import pack, pack_samples, unpack_samples
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.runs import RunFolder
from trajflow.training.learned_samples import LearnedSamplesTrainer, keep_samples
from trajflow.types import Batch

N, H, C, K, F = 6, 5, 4, 7, 3
CPU = torch.device("cpu")
WORDS = ["samples.count=7", "samples.epochs=4", "samples.lr=0.01", "samples.width=16"]


def a_set():
    torch.manual_seed(0)
    noises = LearnedSamples(LearnedSamplesShape(H, C, K, 11))
    for parameter in noises.move.parameters():
        torch.nn.init.normal_(parameter)
    return noises


def some_errors():
    torch.manual_seed(1)
    samples = torch.randn(K, N, F, 2, dtype=torch.float64, requires_grad=True)
    return samples, torch.randn(N, F, 2, dtype=torch.float64)


def walks(scenes, seed):
    """Walkers who go straight on, or turn off by chance, which nothing in their past shows."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-0.2, 0.0, 0.2], (scenes, 3, 1))
    angle = rng.uniform(-3, 3, (scenes, 3, 1)) + side * np.maximum(0, np.arange(20) - 7)
    points = 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1).cumsum(2)
    agent = np.arange(scenes * 3).reshape(scenes, 3)
    everyone = np.ones((scenes, 3), bool)
    return Batch(
        points[:, :, :8], points[:, :, 8:], everyone, np.zeros(scenes, int), agent[:, 0], agent
    )


class Walks:
    """Six batches of eight scenes an epoch."""

    def steps(self, size):
        return 6

    def training(self, size, epoch, skip=0):
        yield from (walks(8, [2, epoch, k]) for k in range(skip, 6))

    def validation(self, size, limit):
        yield walks(30, 1)


def generator(**options):
    """A model that was never trained: its decoder draws the noise itself."""
    torch.manual_seed(0)
    shape = {"width": 12, "decoder_width": 8, "decoder_depth": 1, "components": 4}
    model = TrajectoryModel(Architecture(8, 12, **(shape | options)))
    batch = walks(60, 5)
    past, future = (torch.as_tensor(p).float() for p in (batch.past, batch.future))
    model.fit_normalizer([(past, future, torch.as_tensor(batch.target))])
    return model


def trainer(*words, **options):
    config = Config.load(None, [*WORDS, *words])
    return LearnedSamplesTrainer(generator(**options), Walks(), config, CPU)


def test_a_set_has_a_noise_and_a_weight_for_each_future():
    noise, log_weight = a_set()(torch.randn(N, H))
    assert (noise.shape, log_weight.shape) == ((K, N, C), (K, N))
    assert torch.allclose(log_weight.exp().sum(0), torch.ones(N))


def test_before_learning_everybody_has_the_same_well_spread_noises():
    noise, log_weight = LearnedSamples(LearnedSamplesShape(H, C, 64))(torch.randn(N, H))
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert torch.allclose(log_weight.exp(), torch.full((64, N), 1 / 64))
    assert noise[:, 0].mean(0).abs().max() < 0.1
    assert (noise[:, 0].std(0) - 1).abs().max() < 0.15
    assert torch.equal(spread_normals(64, C), noise[:, 0])


def test_errors_are_those_of_minade_and_minfde():
    samples, future = some_errors()
    mean, last = sample_errors(samples, future)
    away = (samples - future).norm(dim=-1)
    assert torch.allclose(mean, away.mean(-1))
    assert torch.allclose(last, away[..., -1])


def test_the_gradient_of_an_exact_forecast_is_finite():
    future = torch.zeros(N, F, 2, dtype=torch.float64)
    samples = torch.zeros(K, N, F, 2, dtype=torch.float64, requires_grad=True)
    mean, last = sample_errors(samples, future)
    samples_loss(mean, last, torch.zeros(K, N).double()).sum().backward()
    assert samples.grad.isfinite().all()


def test_only_the_nearest_future_is_drawn_nearer():
    samples, future = some_errors()
    mean, last = sample_errors(samples, future)
    samples_loss(mean, last, torch.zeros(K, N).double(), ends=0.0).sum().backward()
    moved = samples.grad.abs().sum((-1, -2)) > 0
    assert torch.equal(moved.sum(0), torch.ones(N, dtype=torch.long))
    assert torch.equal(moved.int().argmax(0), mean.argmin(0))


def test_the_order_of_the_futures_does_not_matter():
    samples, future = some_errors()
    mean, last = sample_errors(samples, future)
    log_weight = torch.randn(K, N).double().log_softmax(0)
    order = torch.randperm(K)
    one, other = (
        samples_loss(mean, last, log_weight),
        samples_loss(*(x[order] for x in (mean, last, log_weight))),
    )
    assert torch.allclose(one, other)


def test_learning_brings_the_set_nearer_and_leaves_the_generator_alone():
    learning = trainer()
    before = {k: v.clone() for k, v in learning.model.state_dict().items()}
    progress = list(learning.run())
    assert progress[-1].min_ade < 0.7 * progress[0].min_ade
    assert progress[-1].min_fde < 0.7 * progress[0].min_fde
    assert [p.epoch for p in progress] == [0, 1, 2, 3, 4]
    after = learning.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_kept_is_the_best_on_validation():
    learning = trainer()
    progress = list(learning.run())
    best = min(progress, key=lambda p: p.min_ade + 0.5 * p.min_fde)
    noises, facts = learning.result()
    assert facts["validation"]["epoch"] == best.epoch
    assert learning._validate() == (best.min_ade, best.min_fde)
    assert noises.shape.count == 7


def test_the_same_seed_learns_the_same_set():
    sets = []
    for seed in (3, 3, 4):
        learning = trainer(f"samples.seed={seed}", "samples.epochs=1")
        list(learning.run())
        sets.append(learning.result()[0].state_dict()["move.weight"])
    assert torch.equal(sets[0], sets[1])
    assert not torch.equal(sets[0], sets[2])


def test_a_joint_model_has_no_sets():
    with pytest.raises(ConfigError, match="joint"):
        trainer(joint=True)


def test_a_set_comes_back_from_its_file_and_a_damaged_one_does_not():
    noises, context = a_set(), torch.randn(N, H)
    content = pack_samples(noises, {"seed": 3})
    again, facts = unpack_samples(content, "set-7")
    assert facts == {"seed": 3}
    assert torch.equal(again(context)[0], noises(context)[0])
    with pytest.raises(RunError, match="set-7"):
        unpack_samples(content[:-1] + bytes([content[-1] ^ 1]), "set-7")


def a_run(folder):
    """A run folder with a model, and a set that was learned for it."""
    run = RunFolder.create(folder, Config.load(None, WORDS), {})
    run.write("weights.safetensors", pack(generator(), {"dt": 0.4, "unit": "m", "dims": 2}))
    learning = LearnedSamplesTrainer(TorchPredictor.load(folder).model, Walks(), run.config, CPU)
    list(learning.run())
    keep_samples(run, learning)
    return folder


def test_a_predictor_finds_the_runs_set_and_it_serves_better_than_draws(tmp_path):
    predictor, batch = TorchPredictor.load(a_run(tmp_path / "run")), walks(20, 9)
    samples, weights = predictor.choose(batch, 7, 7, "learned", 0)
    assert samples.shape == (7, 20, 3, 12, 2)
    assert np.allclose(weights.sum(0), 1)
    plain = predictor.forecast(batch, 7, 0)
    assert min_ade(samples, batch.future).mean() < 0.7 * min_ade(plain, batch.future).mean()
    forecast = predictor.predict(batch.past, samples=7, select="learned")
    assert np.allclose(forecast.samples, samples)
    assert np.allclose(forecast.weights, weights)


def test_a_set_that_is_not_there_is_asked_for_by_name(tmp_path):
    predictor = TorchPredictor.load(a_run(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"of 5 futures \(there are: 7\).*fit RUN DATA samples"):
        predictor.predict(walks(2, 0).past, samples=5, select="learned")


def test_a_set_of_other_weights_is_ignored_with_a_warning(tmp_path):
    folder = a_run(tmp_path / "run")
    other = pack(generator(), {"dt": 0.2, "unit": "m", "dims": 2})
    RunFolder(folder).write("weights.safetensors", other)
    with pytest.warns(TrajflowWarning, match="set-7.safetensors was learned for other weights"):
        assert not TorchPredictor.load(folder).sets
