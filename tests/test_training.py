"""Facts about training: it learns, it goes on exactly, it stops in time."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from trajflow.config import Config
from trajflow.errors import ConfigError, DataError, RunError
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.serialization import pack_state, unpack_state
from trajflow.models.tensors import device_of
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.nn.encoders import Encoder, register_encoder
from trajflow.runs import RunFolder
from trajflow.training import Evaluated, Finished, Returned, TemperatureChosen
from trajflow.training.checkpoint import Checkpoint
from trajflow.training.pretrained import train_memory_alone
from trajflow.training.setup import new_trainer, objective_of, resumed_trainer
from trajflow.training.trainer import LR_FACTOR, Diverged
from trajflow.training.validation import validate
from trajflow.types import Batch

FACTS = {"dims": 2, "dt": 0.4, "unit": "m"}
CPU = torch.device("cpu")
WORDS = [
    "train.epochs=2",
    "train.batch_size=15",
    "train.noise_samples=2",
    "train.lr=0.01",
    "model.width=16",
    "model.decoder_width=16",
    "model.decoder_depth=1",
]
DROPOUT = ("model.encoder=transformer", "model.encoder_options.dropout=0.2")
"""An encoder that draws from torch's global random stream."""


def walks(scenes, seed):
    """Walkers who go on turning at their own rate, which their past shows."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(-0.3, 0.3, (scenes, 3, 1))
    angle = rng.uniform(-3, 3, (scenes, 3, 1)) + rate * np.arange(20)
    points = 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1).cumsum(2)
    target = np.ones((scenes, 3), bool)
    target[0, 2] = False
    agent = np.arange(scenes * 3).reshape(scenes, 3)
    past, future = points[:, :, :8], points[:, :, 8:]
    return Batch(past, future, target, np.zeros(scenes, int), agent[:, 0], agent)


class Walks:
    """Turning walkers, four batches of five scenes an epoch."""

    def steps(self, size):
        return 4

    def training(self, size, epoch, skip=0):
        order = np.random.default_rng([7, epoch]).permutation(20).reshape(4, 5)
        yield from (walks(20, 0).take(rows) for rows in order[skip:])

    def validation(self, size, limit):
        yield walks(6, 1)

    def divide(self, neighbors):
        """Scenes are small."""


class Broken(Walks):
    """A future that is not finite appears in the second epoch."""

    def training(self, size, epoch, skip=0):
        for batch in super().training(size, epoch, skip):
            yield replace(batch, future=batch.future * np.inf) if epoch else batch


def trainer(path, *words, data=None):
    return new_trainer(Config.load(None, [*WORDS, *words]), data or Walks(), path, {}, FACTS, CPU)


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def test_it_learns_keeps_the_best_and_writes_what_it_says(tmp_path):
    events = list(trainer(tmp_path / "run", "train.epochs=25").run())
    scores = [e for e in events if isinstance(e, Evaluated)]
    assert scores[-1].metrics["energy_score"] < 0.7 * scores[0].metrics["energy_score"]
    best = min(scores, key=lambda e: e.metrics["energy_score"])
    assert isinstance(events[-1], Finished)
    assert (events[-1].best_step, events[-1].reason) == (best.step, "done")
    assert list(RunFolder.open(tmp_path / "run").events()) == [e.to_dict() for e in events]
    assert TorchPredictor.load(tmp_path / "run").facts["step"] == best.step


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        list(trainer(tmp_path / name, f"train.seed={seed}").run())
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.parametrize(
    ("stop", "words"), [(3, ()), (4, ()), (6, ()), (3, DROPOUT), (3, ("train.position_noise=0.3",))]
)
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(tmp_path, stop, words):
    list(trainer(tmp_path / "whole", *words).run())
    first = trainer(tmp_path / "cut", *words)
    advance, done = first._advance, []

    def advance_and_count(batch):
        done.append(batch)
        if len(done) == stop:
            first.stop()
        return advance(batch)

    first._advance = advance_and_count
    events = list(first.run())
    assert (events[-1].step, events[-1].reason) == (stop, "stopped")
    second = resumed_trainer(RunFolder.open(tmp_path / "cut"), Walks(), FACTS, CPU)
    assert list(second.run())[-1].reason == "done"
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_run_that_never_saved_begins_again_and_a_damaged_one_does_not(tmp_path):
    list(trainer(tmp_path / "whole").run())
    folder = trainer(tmp_path / "run").folder
    again = resumed_trainer(folder, Walks(), FACTS, CPU)
    assert list(again.run())[-1].reason == "done"
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    (folder.path / "resume.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match=r"resume\.safetensors is damaged"):
        resumed_trainer(folder, Walks(), FACTS, CPU)


def test_a_checkpoint_of_an_earlier_version_is_not_unpickled(tmp_path):
    folder = trainer(tmp_path / "run").folder
    (folder.path / "resume.pt").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(RunError, match="of an earlier version"):
        resumed_trainer(folder, Walks(), FACTS, CPU)


def test_a_checkpoint_of_another_format_is_refused_and_its_weights_load(tmp_path):
    stopped = trainer(tmp_path / "run")
    for event in stopped.run():
        if isinstance(event, Evaluated):
            stopped.stop()
    folder = RunFolder.open(tmp_path / "run")
    tensors, facts = unpack_state(folder.read("resume.safetensors", ""), "resume")
    facts.pop("format", None)
    folder.write("resume.safetensors", pack_state(tensors, facts))
    with pytest.raises(RunError, match="checkpoint of another version"):
        resumed_trainer(folder, Walks(), FACTS, CPU)
    assert TorchPredictor.load(tmp_path / "run").facts["step"] == 4


def test_a_loss_that_is_not_finite_goes_back_once_and_then_stops_with_advice(tmp_path):
    run = trainer(tmp_path / "run", data=Broken())
    events = []
    with pytest.raises(Diverged, match=r"at step 5; .* Lower train\.lr \(now 0\.01\)"):
        events += run.run()
    said = list(RunFolder.open(tmp_path / "run").events())
    back = next(event for event in said if event["event"] == "returned")
    assert (back["step"], back["since"]) == (4, 5)
    assert TorchPredictor.load(tmp_path / "run").facts["step"] == 4


class Once(Walks):
    """A future that is not finite appears once, and is gone when it is asked for again."""

    def __init__(self):
        self.whole = False

    def training(self, size, epoch, skip=0):
        for number, batch in enumerate(super().training(size, epoch, skip), skip):
            broken = epoch == 1 and number == 2 and not self.whole
            self.whole |= broken
            yield replace(batch, future=batch.future * np.inf) if broken else batch


def test_what_was_not_finite_once_is_learned_at_a_lower_rate_and_ends(tmp_path):
    events = list(trainer(tmp_path / "run", "train.epochs=3", data=Once()).run())
    back = next(event for event in events if isinstance(event, Returned))
    assert (back.step, back.since) == (4, 7)
    assert (events[-1].step, events[-1].reason) == (12, "done")
    assert Checkpoint.read(RunFolder.open(tmp_path / "run")).progress.slowed == LR_FACTOR


@pytest.mark.parametrize("how", ["deleted", "emptied", "replaced"])
def test_a_training_writes_nothing_more_once_its_folder_is_another(tmp_path, how):
    run = trainer(tmp_path / "run", "train.epochs=50")
    events = run.run()
    while not isinstance(next(events), Evaluated):
        pass
    step = run.step
    shutil.rmtree(tmp_path / "run")
    if how != "deleted":
        (tmp_path / "run").mkdir()
    if how == "replaced":
        RunFolder.create(tmp_path / "run", run.config, {})
    there = sorted((tmp_path / "run").glob("*"))
    with pytest.raises(RunError, match="run was deleted, moved or replaced"):
        list(events)
    assert run.step == step
    assert sorted((tmp_path / "run").glob("*")) == there


def test_a_finished_run_says_again_how_it_ended_and_changes_nothing(tmp_path):
    events = list(trainer(tmp_path / "run").run())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    again = resumed_trainer(RunFolder.open(tmp_path / "run"), Walks(), FACTS, CPU)
    assert again.finished == list(again.run())[-1] == events[-1]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before


class Unjudged(Walks):
    """Nobody to validate on."""

    def validation(self, size, limit):
        yield from ()


def test_what_cannot_be_trained_on_is_refused_before_there_is_a_folder(tmp_path):
    with pytest.raises(DataError, match="the validation split is empty"):
        trainer(tmp_path / "run", data=Unjudged())
    with pytest.raises(ConfigError, match=r"horizon=100000 with 2 .* 200000 by 200000 numbers"):
        trainer(tmp_path / "run", "data.horizon=100000")
    assert not (tmp_path / "run").exists()


def test_two_trainings_never_share_a_folder(tmp_path):
    first = trainer(tmp_path / "run")
    with pytest.raises(RunError, match=r"is being trained by process \d+"):
        resumed_trainer(first.folder, Walks(), FACTS, CPU)
    list(first.run())
    assert resumed_trainer(first.folder, Walks(), FACTS, CPU).step == first.step


@pytest.fixture
def callers_torch():
    """Torch set up in another way than a training wants it; a check that it still is."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_rng_state()
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(5)
    stream = torch.get_rng_state()

    def untouched():
        settings = torch.get_num_threads(), torch.get_float32_matmul_precision()
        return settings == (3, "high") and torch.equal(torch.get_rng_state(), stream)

    yield untouched
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])
    torch.set_rng_state(before[2])


def test_torch_is_as_before_during_and_after_a_training(tmp_path, callers_torch):
    for _ in trainer(tmp_path / "run", *DROPOUT).run():
        assert callers_torch()
    assert callers_torch()
    resumed_trainer(RunFolder.open(tmp_path / "run"), Walks(), FACTS, CPU)
    assert callers_torch()


def test_torch_is_as_before_after_a_training_that_is_abandoned_or_fails(tmp_path, callers_torch):
    events = trainer(tmp_path / "left", *DROPOUT).run()
    while not isinstance(next(events), Evaluated):
        pass
    assert callers_torch()
    events.close()
    assert callers_torch()
    with pytest.raises(Diverged):
        list(trainer(tmp_path / "failed", *DROPOUT, data=Broken()).run())
    assert callers_torch()


def test_the_callers_threads_and_stream_change_no_bit_of_the_weights(tmp_path):
    before = torch.get_num_threads()
    for name, threads in (("one", 1), ("several", 4)):
        torch.set_num_threads(threads)
        events = list(trainer(tmp_path / name, *DROPOUT).run())
        torch.rand(3)
        assert events[0].threads == 1
    torch.set_num_threads(before)
    assert weights(tmp_path / "one") == weights(tmp_path / "several")


def test_more_threads_are_used_and_recorded_where_the_user_says_so(tmp_path):
    words = ("train.threads=2", "train.updates=1", "train.samples=2", "train.noise_samples=1")
    events = list(trainer(tmp_path / "run", *words, "train.choose_temperature=false").run())
    assert events[0].threads == 2
    assert RunFolder.open(tmp_path / "run").config.train.threads == 2


def test_settings_of_an_older_run_that_leave_the_threads_open_are_read():
    assert Config.from_dict({"train": {"threads": None}}) == Config()


@register_encoder("batch_norm_of_a_test")
class Normed(Encoder):
    """An encoder with running statistics, as anybody may register one."""

    def __init__(self, channels, width):
        super().__init__(width)
        self.linear = torch.nn.Linear(channels, width)
        self.norm = torch.nn.BatchNorm1d(width)

    def forward(self, past, seen):
        return self.norm(self.linear(past[:, -1]) + 3)


def test_running_statistics_are_validated_with_and_kept(tmp_path):
    events = list(trainer(tmp_path / "plain", "model.encoder=batch_norm_of_a_test").run())
    predictor = TorchPredictor.load(tmp_path / "plain")
    norm = predictor.model.encoder.norm
    assert int(norm.num_batches_tracked) == predictor.facts["step"] == 8
    assert norm.running_mean.mean() > 1
    steps, temperature = 1, predictor.facts["temperature"]
    scores = validate(predictor.model, [walks(6, 1)], 20, steps, 0, temperature)
    assert scores == next(e.metrics for e in events if isinstance(e, TemperatureChosen))


def test_running_statistics_stay_where_memory_alone_is_trained():
    sizes = {"width": 16, "decoder_width": 16, "decoder_depth": 1}
    model = TrajectoryModel(Architecture(8, 12, encoder="batch_norm_of_a_test", memory=2, **sizes))
    train_memory_alone(model)
    before = model.encoder.norm.running_mean.clone()
    model.context(torch.randn(2, 3, 8, 2), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(model.encoder.norm.running_mean, before)
    learned = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learned == {"memory"}


def test_choosing_a_temperature_changes_no_running_statistics(tmp_path):
    for name, words in (("with", ()), ("without", ("train.choose_temperature=false",))):
        list(trainer(tmp_path / name, "model.encoder=batch_norm_of_a_test", *words).run())
    one, other = (
        TorchPredictor.load(tmp_path / name).model.state_dict() for name in ("with", "without")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_selection_is_by_validation_and_never_hears_of_the_test_part(tmp_path):
    """Trap 9: the trainer's data has no test split to be selected on."""
    asked = []

    class Watched(Walks):
        def __getattribute__(self, name):
            asked.append(name)
            return super().__getattribute__(name)

    list(trainer(tmp_path / "run", data=Watched()).run())
    assert set(asked) == {"steps", "training", "validation", "divide"}


def test_settings_change_the_preset_they_name():
    objective = objective_of(
        Config.load(None, ["flow.preset=meanflow", "flow.lambda_end=0.5"]).flow
    )
    assert (objective.tangent, objective.curriculum(1.0)) == ("path", 0.5)
    with pytest.raises(ConfigError, match="did you mean 'meanflow'"):
        objective_of(Config.load(None, ["flow.preset=meanflw"]).flow)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="use auto, cpu or cuda"):
        device_of("quantum")


@register_encoder("embeddings_of_a_test")
class Embedded(Normed):
    """An encoder with what weight decay should leave alone."""

    def __init__(self, channels, width):
        super().__init__(channels, width)
        self.token = torch.nn.Parameter(torch.ones(3, width))
        self.table = torch.nn.Embedding(3, width)


def test_weight_decay_is_for_the_matrices_of_layers_alone(tmp_path):
    words = ("model.encoder=embeddings_of_a_test", "train.weight_decay=0.7")
    run = trainer(tmp_path / "run", *words)
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in run.optimiser.param_groups
        for parameter in group["params"]
    }
    assert decay.keys() == set(names.values())
    for name in ("linear.bias", "norm.weight", "norm.bias", "token", "table.weight"):
        assert decay[f"encoder.{name}"] == 0
    assert decay["social.nobody"] == decay["social.norm1.weight"] == 0
    for name in ("encoder.linear.weight", "social.query.weight", "velocity_net.in_proj.weight"):
        assert decay[name] == 0.7


def test_updates_may_be_counted_instead_of_epochs(tmp_path):
    events = list(trainer(tmp_path / "run", "train.updates=7").run())
    assert events[-1].step == 7
    assert [e.step for e in events if isinstance(e, Evaluated)] == [4, 7]


def test_a_training_ends_in_its_time_with_weights_that_were_validated(tmp_path):
    begun = time.monotonic()
    words = ("train.epochs=100000", "train.time_limit=2", "train.validate_every=5")
    events = list(trainer(tmp_path / "run", *words).run())
    assert time.monotonic() - begun < 5
    assert events[-1].reason == "done"
    validated = [event for event in events if isinstance(event, Evaluated)]
    assert validated[-1].step == events[-1].step > 5
    assert any(isinstance(event, TemperatureChosen) for event in events)
    assert TorchPredictor.load(tmp_path / "run").facts["step"] == events[-1].best_step
    assert resumed_trainer(RunFolder.open(tmp_path / "run"), Walks(), FACTS, CPU).finished


def test_a_training_that_gets_no_better_ends_before_its_last_update(tmp_path):
    words = ("train.epochs=30", "train.lr=1e-30", "train.patience=3")
    *events, last = trainer(tmp_path / "run", *words).run()
    assert (last.reason, last.step, last.best_step) == ("done", 60, 4)
    assert len([event for event in events if isinstance(event, Evaluated)]) == 15
    *_, last = trainer(tmp_path / "on", "train.epochs=3", "train.lr=1e-30").run()
    assert last.step == 12
