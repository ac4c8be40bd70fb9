"""How far ONNX and pt2 exports of a run are from the run itself, over 1000 random inputs.

    python examples/agreement.py RUN [--inputs 1000] [--seed 0]

Inputs are walks of 1 to 4 scenes with 1 to 40 agents, of whom some are forecast, with missing
steps, agents who are not there, and 1 to 20 samples. All draw from the same noise. A difference is
the largest distance between two positions of an input, over the root mean square length of its
futures' paths.
"""

import argparse

import numpy as np

from trajflow import Predictor
from trajflow.export.making import exported, own, random_inputs
from trajflow.export.programs import engine_of, exported_program
from trajflow.runtime.artefact import opened
from trajflow.runtime.golden import difference
from trajflow.runtime.predictor import Predictor as Exported
from trajflow.runtime.session import Session

ALLOWED = 1e-5


def engines(run):
    """What computes the exports of a run, by their names."""
    onnx = exported(run)
    program, artefact = exported_program(run)
    small = [Exported(opened(onnx), Session(onnx)), Exported(artefact, engine_of(program))]
    return dict(zip(("onnx", "pt2"), (one.engine for one in small), strict=True))


def main():
    """Export the run, draw and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    run = Predictor.load(given.run)
    found, chance = engines(run), np.random.default_rng(given.seed)
    worst = dict.fromkeys([*found, "onnx and pt2"], 0.0)
    for number in range(given.inputs):
        asked = int(chance.integers(1, 9))
        more, samples = int(chance.integers(0, 33)), int(chance.integers(1, 21))
        inputs = random_inputs(
            run, (int(chance.integers(1, 5)), asked + more, asked, samples), number
        )
        drawn = {name: engine("futures", **inputs)[0] for name, engine in found.items()}
        right = own(run, inputs)
        for name, futures in drawn.items():
            worst[name] = max(worst[name], difference(futures, right, inputs["past"]))
        both = difference(drawn["onnx"], drawn["pt2"], inputs["past"])
        worst["onnx and pt2"] = max(worst["onnx and pt2"], both)
    for name, apart in worst.items():
        print(f"{name:14} {apart:.2e}  {'ok' if apart <= ALLOWED else 'TOO FAR'}")
    raise SystemExit(max(worst.values()) > ALLOWED)


if __name__ == "__main__":
    main()
