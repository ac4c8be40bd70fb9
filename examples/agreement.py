"""How far the export of a run is from the run itself, over 1000 random inputs.

    python examples/agreement.py RUN [--inputs 1000] [--seed 0]

Inputs are walks of 1 to 4 scenes with 1 to 40 agents, of whom some are forecast, with missing
steps, absent agents, and 1 to 20 samples; every other one is as smooth as people walk. Both draw
from the same noise. A difference of futures is the largest distance between two positions of an
input, over the root mean square length of its futures' paths. OOD scores (shares) and expected
errors (their ratio) are compared too if the run has a detector. Forests decide at thresholds:
where single precision decides on which side a number lies, another branch is taken, and those
agents are counted and not compared.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from trajflow.batch import Batch
from trajflow.export.onnx import to_onnx
from trajflow.export.verify import outputs_of, random_inputs
from trajflow.inference.onnx.golden import difference
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.predictor import TorchPredictor

ALLOWED = 1e-5
OTHER_BRANCH = 1e-3
"""Difference beyond which a forest has taken another branch."""


@dataclass
class Largest:
    """The largest differences so far, and how many agents took another branch."""

    futures: float = 0.0
    scores: float = 0.0
    branched: int = 0
    agents: int = 0

    def add_scores(self, one, other):
        """Compare the OOD scores of the same N agents."""
        apart = np.abs(np.log(one.expected_error / other.expected_error))
        apart = np.maximum(apart, np.abs(one.ood_score - other.ood_score))
        branched = apart > OTHER_BRANCH
        self.branched += int(branched.sum())
        self.agents += len(apart)
        self.scores = max(self.scores, apart[~branched].max(initial=0))

    @property
    def agree(self):
        """Whether nothing differs by more than allowed, and few took another branch."""
        small = self.futures <= ALLOWED and self.scores <= OTHER_BRANCH
        return small and self.branched <= 0.01 * self.agents

    def __str__(self):
        text = f"futures {self.futures:.1e}"
        if self.agents:
            text += f"  OOD scores {self.scores:.1e}, another branch for {self.branched} of "
            text += f"{self.agents} agents"
        return f"{text}  {'ok' if self.agree else 'TOO FAR'}"


def sizes(rng):
    """Scenes, agents, those of them who are forecast, and samples."""
    targets = int(rng.integers(1, 9))
    more, samples = int(rng.integers(0, 33)), int(rng.integers(1, 21))
    return int(rng.integers(1, 5)), targets + more, targets, samples


def batch_of(inputs):
    """The inputs of a graph as a batch without futures."""
    past = inputs["past"].astype(np.float64)
    target = np.isfinite(past).all(-1).any(-1)
    target[:, inputs["noise"].shape[2] :] = False
    zeros = np.zeros(target.shape, int)
    return Batch(past, past[:, :, :1], target, zeros[:, 0], zeros[:, 0], zeros)


def compare(run, exported, inputs, largest):
    """Let the run and its export answer the same inputs, and note how far apart they are."""
    (drawn,) = exported.session.run(["futures"], inputs)
    off = difference(drawn, outputs_of(run, inputs)[0], inputs["past"])
    largest.futures = max(largest.futures, off)
    if run.detector is not None:
        batch = batch_of(inputs)
        largest.add_scores(exported.ood(batch), run.ood(batch))


def main():
    """Export the run, draw and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run, rng = TorchPredictor.load(options.run), np.random.default_rng(options.seed)
    exported, largest = OnnxPredictor.of(to_onnx(run)), Largest()
    for number in range(options.inputs):
        rough = (0.3, 0.03)[number % 2]
        compare(run, exported, random_inputs(run, sizes(rng), number, rough), largest)
    print(largest)
    raise SystemExit(not largest.agree)


if __name__ == "__main__":
    main()
