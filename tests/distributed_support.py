"""What two processes and one learn from the same batches.

The test is the first process. The second one runs this file, with the names of the cases.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trajflow.config import Config
from trajflow.runs import RunFolder
from trajflow.training import distributed
from trajflow.training.setup import new_trainer
from trajflow.types import Batch

FACTS = {"dims": 2, "dt": 0.4, "unit": "m"}
WORDS = [
    "train.updates=1",
    "train.batch_size=15",
    "train.noise_samples=3",
    "train.samples=3",
    "train.choose_temperature=false",
    "model.width=16",
    "model.decoder_width=16",
    "model.decoder_depth=1",
    "flow.lambda_start=0.7",
]
ENCODER_DROPOUT = "model.encoder_options.dropout=0.3"
CASES: dict[str, list[str]] = {
    **{
        name: [f"flow.preset={name}"]
        for name in ("mmf", "mmf-paper", "meanflow", "consistency", "terminal", "energy", "flow")
    },
    "joint": ["model.joint=true"],
    "joint energy": ["model.joint=true", "flow.preset=energy"],
    "no neighbors": ["model.social=false", "model.encoder=tcn", ENCODER_DROPOUT],
    "dropout": ["train.dropout=0.3"],
    "dropout of the transformer": ["model.encoder=transformer", ENCODER_DROPOUT],
    "dropout of the GRU": ["model.encoder_options.depth=2", ENCODER_DROPOUT],
    "dropout of the TCN": ["model.encoder=tcn", ENCODER_DROPOUT],
    "dt and augmentation": [
        "model.condition_on_dt=true",
        "train.time_stretch=[0.5, 1.0]",
        "train.reverse_prob=0.5",
        "train.agent_dropout=0.3",
        "train.history_dropout=0.5",
        "train.position_noise=0.1",
    ],
    "memory": ["model.memory=2", "train.memory_dropout=0.3"],
    "fewer scenes than processes": ["train.batch_size=3"],
    "parts": ["train.accumulate=2"],
    "20 updates": ["train.updates=20", "train.dropout=0.2"],
}


class Walks:
    """Turning walkers, some of them unseen at times, with paths of others to remember."""

    def __init__(self, scenes: int = 5) -> None:
        self.scenes = scenes

    def watch(self, memory: int, unit: float) -> None:
        """They remember two paths each."""

    def divide(self, neighbors: int | None) -> None:
        """Scenes are small."""

    def batch(self, seed: int, scenes: int) -> Batch:
        rng = np.random.default_rng(seed)
        angle = rng.uniform(-3, 3, (scenes, 4, 1)) + rng.uniform(-0.3, 0.3, (scenes, 4, 1)) * (
            np.arange(20)
        )
        points = 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1).cumsum(2)
        target = rng.random((scenes, 4)) < 0.7
        target[:, 0] = True
        past = np.where(rng.random((scenes, 4, 8, 1)) < 0.2, np.nan, points[:, :, :8])
        past[target] = points[:, :, :8][target]
        agent = np.arange(scenes * 4).reshape(scenes, 4)
        memory = rng.normal(size=(scenes, 4, 2, 20, 3))
        batch = Batch(past, points[:, :, 8:], target, np.zeros(scenes, int), agent[:, 0], agent)
        return replace(batch, memory=memory)

    def steps(self, size: int) -> int:
        return 4

    def training(self, size: int, epoch: int, skip: int = 0):
        for number in range(skip, 4):
            yield self.batch(10 * epoch + number, max(1, size // 3))

    def validation(self, size: int, limit: int):
        for number in range(3):
            yield self.batch(1000 + number, 3)


def learned(words: list[str]) -> tuple[list[torch.Tensor], dict[str, float]]:
    """The gradients of the last update, or the weights after many, and the last scores."""
    gradients: list[torch.Tensor] = []
    with tempfile.TemporaryDirectory() as place:
        run, config = Path(place) / "run", Config.load(None, [*WORDS, *words])
        trainer = new_trainer(config, Walks(), str(run), {}, FACTS, torch.device("cpu"))

        # Layers that begin at zero would hide the gradients of those before them.
        chance = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in trainer.model.parameters():
                p += 0.2 * torch.randn(p.shape, generator=chance)

        def keep(optimiser, *_):
            given = [p.grad for p in trainer.model.parameters() if p.grad is not None]
            gradients[:] = [gradient.clone() for gradient in given]

        trainer.optimiser.register_step_pre_hook(keep)
        for _ in trainer.run():
            pass
        scores = {}
        if distributed.is_main():
            scores = [e for e in RunFolder.open(run).events() if e["event"] == "evaluated"][-1]
    many = config.train.updates != 1
    return (list(trainer.model.parameters()) if many else gradients), scores.get("metrics", {})


def distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """How far they are from each other, over how long they are."""
    a, b = (torch.cat([x.detach().flatten() for x in some]).double() for some in (one, other))
    return float((a - b).norm() / a.norm())


def compare(cases: dict[str, list[str]]) -> dict[str, float]:
    """How far gradients or weights are from those that this process finds alone, by case."""
    alone = {name: learned([*words, "train.accumulate=1"]) for name, words in cases.items()}
    parts = learned(["train.accumulate=3", "train.dropout=0.3", "model.encoder=tcn"])
    batch = learned(["train.dropout=0.3", "model.encoder=tcn"])
    found = together(cases)
    result = {name: distance(alone[name][0], found[name][0]) for name in cases}
    scores, others = alone["mmf"][1], found["mmf"][1]
    result["accumulate"] = distance(parts[0], batch[0])
    result["validation"] = max(abs(scores[name] / others[name] - 1) for name in scores)
    return result


def together(cases: dict[str, list[str]]) -> dict[str, tuple[list[torch.Tensor], dict[str, float]]]:
    """What this process and the other one learn, by case."""
    with distributed.joined("cpu"):
        return {name: learned(words) for name, words in cases.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    together({name: CASES[name] for name in sys.argv[1:]})
