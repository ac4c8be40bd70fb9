"""Compare the export of a run with the run itself on 1000 random inputs.

    python examples/agreement.py RUN [--inputs 1000] [--seed 0]

Inputs are random walks: 1 to 4 scenes with 1 to 40 agents, of which some are forecast, with
missing steps, absent agents, and 1 to 20 samples; every second one is as smooth as pedestrian
tracks. Run and export use the same noise. The difference of futures is the largest distance between
two positions, relative to the root mean square length of the paths. If the run has an OOD detector,
OOD scores and expected errors are compared too. Where rounding to single precision selects another
branch of a decision tree, the agent is counted and not compared.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from trajflow.export.onnx import to_onnx
from trajflow.export.verify import outputs_of, random_inputs
from trajflow.inference.onnx.golden import difference
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.predictor import TorchPredictor
from trajflow.types import Batch

MAX_DIFFERENCE = 1e-5
OTHER_BRANCH = 1e-3
"""A larger difference of scores means that a tree has selected another branch."""
MAX_BRANCHED = 0.01
"""Largest allowed share of agents with another branch."""


@dataclass
class Comparison:
    """The largest differences so far, and the number of agents with another branch."""

    futures: float = 0.0
    scores: float = 0.0
    branched: int = 0
    agents: int = 0

    def add_scores(self, exported, original):
        """Compare the OOD scores of the same N agents."""
        error = np.abs(np.log(exported.expected_error / original.expected_error))
        error = np.maximum(error, np.abs(exported.ood_score - original.ood_score))
        branched = error > OTHER_BRANCH
        self.branched += int(branched.sum())
        self.agents += len(error)
        self.scores = max(self.scores, error[~branched].max(initial=0))

    @property
    def passed(self):
        """Whether all differences are within the limits."""
        close = self.futures <= MAX_DIFFERENCE and self.scores <= OTHER_BRANCH
        return close and self.branched <= MAX_BRANCHED * self.agents

    def __str__(self):
        text = f"futures {self.futures:.1e}"
        if self.agents:
            text += f"  OOD scores {self.scores:.1e}, another branch for {self.branched} of "
            text += f"{self.agents} agents"
        return f"{text}  {'ok' if self.passed else 'TOO FAR'}"


def random_sizes(rng):
    """Numbers of scenes, agents, forecast agents and samples."""
    targets = int(rng.integers(1, 9))
    neighbors, samples = int(rng.integers(0, 33)), int(rng.integers(1, 21))
    return int(rng.integers(1, 5)), targets + neighbors, targets, samples


def to_batch(inputs):
    """The inputs of a graph as a batch without futures."""
    past = inputs["past"].astype(np.float64)
    target = np.isfinite(past).all(-1).any(-1)
    target[:, inputs["noise"].shape[2] :] = False
    zeros = np.zeros(target.shape, int)
    return Batch(past, past[:, :, :1], target, zeros[:, 0], zeros[:, 0], zeros)


def main():
    """Export the run and compare; exit code 1 if a difference is too large."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder")
    parser.add_argument("--inputs", type=int, default=1000, help="number of inputs; 1000")
    parser.add_argument("--seed", type=int, default=0, help="random seed; 0")
    options = parser.parse_args()
    run, rng = TorchPredictor.load(options.run), np.random.default_rng(options.seed)
    exported, comparison = OnnxPredictor.of(to_onnx(run)), Comparison()
    for number in range(options.inputs):
        roughness = (0.3, 0.03)[number % 2]
        inputs = random_inputs(run, random_sizes(rng), number, roughness)
        (futures,) = exported.session.run(["futures"], inputs)
        error = difference(futures, outputs_of(run, inputs)[0], inputs["past"])
        comparison.futures = max(comparison.futures, error)
        if run.detector is not None:
            batch = to_batch(inputs)
            comparison.add_scores(exported.ood(batch), run.ood(batch))
    print(comparison)
    sys.exit(not comparison.passed)


if __name__ == "__main__":
    main()
