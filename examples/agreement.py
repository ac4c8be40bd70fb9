"""How far the export of a run is from the run itself, over 1000 random inputs.

    python examples/agreement.py RUN [--inputs 1000] [--seed 0]

Inputs are walks of 1 to 4 scenes with 1 to 40 agents, of whom some are forecast, with missing
steps, agents who are not there, and 1 to 20 samples; every other one is as smooth as people walk.
All draw from the same noise. A difference of
futures is the largest distance between two positions of an input, over the root mean square length
of its futures' paths. If the run knows what is strange to it, so does its export: then surprise, a
share, is compared too, and the error to expect over what the run expects. Trees tell the latter,
and where a number falls so near one of their thresholds that single precision decides, another
branch is taken: the agents of whom that is so are counted and not compared.
"""

import argparse

import numpy as np

from trajflow.export.onnx import to_onnx
from trajflow.export.verify import futures_of, random_inputs
from trajflow.inference.onnx.golden import difference
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.predictor import TorchPredictor

ALLOWED = 1e-5
TURNED = 1e-3
"""Share of an error to expect beyond which another branch was taken."""

ORDINARY = 0.95
"""Surprise below which an agent is none to speak of."""


class Found:
    """What was found so far."""

    def __init__(self):
        self.futures = self.surprise = self.error = 0.0
        self.turned = self.agents = self.ordinary = 0

    def strange(self, one, other):
        """Compare what two say of the strangeness of the same N agents."""
        apart = np.abs(np.log(one.risk / other.risk))
        turned = apart > TURNED
        self.turned += int(turned.sum())
        self.agents += len(apart)
        self.ordinary += int((other.score < ORDINARY).sum())
        self.error = max(self.error, apart[~turned].max(initial=0))
        self.surprise = max(self.surprise, np.abs(one.score - other.score).max(initial=0))

    @property
    def right(self):
        """Whether nothing is farther apart than allowed, and trees seldom turn."""
        worst = max(self.futures, self.surprise, self.error)
        return worst <= ALLOWED and self.turned <= 1e-3 * self.agents

    def __str__(self):
        said = f"futures {self.futures:.1e}"
        if self.agents:
            said += f"  surprise {self.surprise:.1e}  expected error {self.error:.1e}, "
            said += f"another branch for {self.turned} of {self.agents} agents, "
            said += f"{self.ordinary} of whom are not strange"
        return f"{said}  {'ok' if self.right else 'TOO FAR'}"


def sizes(chance):
    """Scenes, agents, those of them who are forecast, and samples."""
    asked = int(chance.integers(1, 9))
    more, samples = int(chance.integers(0, 33)), int(chance.integers(1, 21))
    return int(chance.integers(1, 5)), asked + more, asked, samples


def judged(predictor, inputs):
    """How strange those who are forecast are to a predictor."""
    past = inputs["past"].astype(np.float64)
    target = np.isfinite(past).all(-1).any(-1)
    target[:, inputs["noise"].shape[2] :] = False
    return predictor.check_surprise().of(predictor._viewer(), past, target)


def compare(run, exported, inputs, found):
    """Let the run and its export answer the same inputs, and note how far they are apart."""
    (drawn,) = exported.session.run(["futures"], inputs)
    off = difference(drawn, futures_of(run, inputs), inputs["past"])
    found.futures = max(found.futures, off)
    if run.surprise is not None:
        found.strange(judged(exported, inputs), judged(run, inputs))


def main():
    """Export the run, draw and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    run, chance = TorchPredictor.load(given.run), np.random.default_rng(given.seed)
    exported, found = OnnxPredictor.of(to_onnx(run)), Found()
    for number in range(given.inputs):
        rough = (0.3, 0.03)[number % 2]
        compare(run, exported, random_inputs(run, sizes(chance), number, rough), found)
    print(found)
    raise SystemExit(not found.right)


if __name__ == "__main__":
    main()
