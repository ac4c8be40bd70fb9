"""Facts about training: it learns, it goes on exactly, it stops in time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trajflow.batch import Batch
from trajflow.config import Config
from trajflow.errors import ConfigError, RunError
from trajflow.predictor import Predictor
from trajflow.runs import RunFolder
from trajflow.training import Evaluated, Finished, Returned, kernels
from trajflow.training.checkpoint import Checkpoint
from trajflow.training.divergence import SLOWED, Diverged
from trajflow.training.setup import device_of, new_trainer, objective_of, resumed_trainer

FACTS = {"dims": 2, "dt": 0.4, "unit": "m"}
CPU = torch.device("cpu")
WORDS = [
    "train.epochs=2",
    "train.batch=15",
    "train.draws=2",
    "train.rate=0.01",
    "model.width=16",
    "model.decoder_width=16",
    "model.decoder_depth=1",
]


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
    assert Predictor.load(tmp_path / "run").facts["step"] == best.step


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        list(trainer(tmp_path / name, f"train.seed={seed}").run())
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(tmp_path, stop):
    list(trainer(tmp_path / "whole").run())
    first = trainer(tmp_path / "cut")
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


def test_a_loss_that_is_not_finite_goes_back_once_and_then_stops_with_advice(tmp_path):
    run = trainer(tmp_path / "run", data=Broken())
    events = []
    with pytest.raises(Diverged, match=r"at step 5; .* Lower train\.rate \(now 0\.01\)"):
        events += run.run()
    said = list(RunFolder.open(tmp_path / "run").events())
    back = next(event for event in said if event["event"] == "returned")
    assert (back["step"], back["since"]) == (4, 5)
    assert Predictor.load(tmp_path / "run").facts["step"] == 4


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
    assert Checkpoint.read(RunFolder.open(tmp_path / "run")).progress.slowed == SLOWED


def test_two_trainings_never_share_a_folder(tmp_path):
    first = trainer(tmp_path / "run")
    with pytest.raises(RunError, match=r"is being trained by process \d+"):
        resumed_trainer(first.folder, Walks(), FACTS, CPU)
    list(first.run())
    assert resumed_trainer(first.folder, Walks(), FACTS, CPU).step == first.step


def test_training_leaves_the_callers_chance_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    list(trainer(tmp_path / "run").run())
    assert torch.equal(torch.rand(1), expected)


def test_selection_is_by_validation_and_never_hears_of_the_test_part(tmp_path):
    """Trap 9: the trainer's data has no test part to be selected on."""
    asked = []

    class Watched(Walks):
        def __getattribute__(self, name):
            asked.append(name)
            return super().__getattribute__(name)

    list(trainer(tmp_path / "run", data=Watched()).run())
    assert set(asked) == {"steps", "training", "validation"}


def test_settings_change_the_preset_they_name():
    objective = objective_of(Config.load(None, ["flow.preset=meanflow", "flow.end=0.5"]).flow)
    assert (objective.tangent, objective.curriculum(1.0)) == ("path", 0.5)
    with pytest.raises(ConfigError, match="did you mean 'meanflow'"):
        objective_of(Config.load(None, ["flow.preset=meanflw"]).flow)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="use auto, cpu or cuda"):
        device_of("quantum")


def test_tensorboard_hears_what_the_run_says(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from trajflow.training.tensorboard import logged

    events = list(logged(trainer(tmp_path / "run").run(), tmp_path / "logs"))
    read = EventAccumulator(str(tmp_path / "logs")).Reload()
    scores = [e.metrics["energy_score"] for e in events if isinstance(e, Evaluated)]
    assert [s.value for s in read.Scalars("validation/energy_score")] == pytest.approx(scores)


def test_threads_and_kernels_are_chosen_by_their_time_and_put_back(monkeypatch):
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    for slow, best in ((1, 2), (2, 1)):
        monkeypatch.setattr(kernels, "_seconds", lambda n, *_, slow=slow: 1.0 + 2.0 * (n == slow))
        chosen = kernels.fastest(2, "highest")
        assert (chosen.threads, chosen.products, max(chosen.others.values())) == (
            best,
            "highest",
            3,
        )
    for spent, best in ((0.5, "medium"), (0.95, "highest"), (2.0, "highest")):
        monkeypatch.setattr(
            kernels, "_seconds", lambda _, name, *__, s=spent: {"medium": s}.get(name, 1)
        )
        assert kernels.fastest(1).products == best
    monkeypatch.undo()
    assert kernels.fastest(1).threads == 1
    assert kernels.fastest(2).threads in (1, 2)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


def test_a_kernel_that_is_not_single_precision_is_never_taken(monkeypatch):
    """One that computes in bfloat16 is fast, and a thousand times less exact."""
    before = torch.get_float32_matmul_precision()
    assert kernels.error_of("highest") < kernels.LARGEST_ERROR
    torch.set_float32_matmul_precision(before)
    monkeypatch.setattr(kernels, "_seconds", lambda _, name, *__: {"medium": 0.1}.get(name, 1.0))
    monkeypatch.setattr(kernels, "error_of", lambda _: 2e-3)
    assert kernels.fastest(1).others == {"medium": float("inf")}
    assert kernels.fastest(1).products == "highest"


def test_a_training_goes_on_with_the_kernel_it_began_with(tmp_path, monkeypatch):
    before, told = torch.get_float32_matmul_precision(), kernels.Kernels(1, "medium", {})
    monkeypatch.setattr("trajflow.training.trainer.fastest", lambda *_, **__: told)
    begun = list(trainer(tmp_path / "run", "train.updates=5").run())
    assert begun[0].products == "medium"
    assert Checkpoint.read(RunFolder.open(tmp_path / "run")).progress.products == "medium"
    assert torch.get_float32_matmul_precision() == before


def test_updates_may_be_counted_instead_of_epochs(tmp_path):
    events = list(trainer(tmp_path / "run", "train.updates=7").run())
    assert events[-1].step == 7
    assert [e.step for e in events if isinstance(e, Evaluated)] == [4, 7]
