"""Test whether any classifier can detect pasts played backwards, or rounded positions.

    python examples/reversal.py RUN DATA [--windows N]

For each corruption a classifier is trained on the training people of a run: on the steps of the
track in its own heading, on all track features, and on these and the encoder's context. Its AUROC
on validation people (with a 95 % bootstrap interval over people) bounds what an OOD score could
reach that was not trained with the corruption. Corrupted and ordinary pasts come from different
windows, so no past is compared with its own mirror image. Only the agents present in a whole window
are used, because agents that appear or leave would show the direction of time.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from trajflow.datasets.store import open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.ood.changes import World, reversed_time
from trajflow.ood.evaluate import turned_steps
from trajflow.ood.features import TrackSteps, track_features
from trajflow.ood.statistics import Rates, bootstrap_weights, interval
from trajflow.runs import RunFolder, track_data
from trajflow.types import Batch

CASES = ("reversed", "rounded to 1 mm", "rounded to 1 cm", "rounded to 5 cm", "rounded to 10 cm")
INPUTS = ("turned steps", "track features", "with the context")


@dataclass(frozen=True)
class Split:
    """The windows of a split.

    Attributes:
        batches: The windows, each with its targets only.
        person: The person of each target, [N].
        ordinary: Whether a target stays as it is; the others are corrupted, [N].
        inputs: For each kind in `INPUTS`, the classifier inputs of the unchanged pasts, [N, ...].
    """

    batches: list[Batch]
    person: np.ndarray
    ordinary: np.ndarray
    inputs: list[np.ndarray]


def only_targets(batch: Batch) -> Batch:
    """The batch without neighbors."""
    target = batch.target[..., None, None]
    past, future = (np.where(target, path, np.nan) for path in (batch.past, batch.future))
    return replace(batch, past=past, future=future)


def corrupt(batch: Batch, case: str) -> np.ndarray:
    """Corrupted pasts, [B, A, T, D]."""
    if case == "reversed":
        severity = np.ones(len(batch.scene))
        return reversed_time(batch, severity, np.random.default_rng(0), World()).past
    number, unit = case.removeprefix("rounded to ").split()
    size = float(number) * {"mm": 1e-3, "cm": 1e-2}[unit]
    return np.round(batch.past / size) * size


def classifier_inputs(
    predictor: TorchPredictor, batches: list[Batch], case: str | None
) -> list[np.ndarray]:
    """The inputs of each kind in `INPUTS`, [N, ...], for corrupted or (None) unchanged pasts."""
    parts = []
    for batch in batches:
        past = batch.past if case is None else corrupt(batch, case)
        targets = past[batch.target]
        track = track_features(TrackSteps.of(targets, predictor.displacement_scale))
        context = predictor.contexts(replace(batch, past=past))
        parts.append([turned_steps(targets), track, np.concatenate([track, context], 1)])
    return [np.concatenate(kind) for kind in zip(*parts, strict=True)]


def auroc(train: Split, val: Split, corrupted: dict[str, list[np.ndarray]], kind: int) -> str:
    """AUROC on validation people of a classifier with one kind of inputs, as text."""
    ordinary = train.inputs[kind][train.ordinary]
    changed = corrupted["train"][kind][~train.ordinary]
    labels = np.repeat([0, 1], [len(ordinary), len(changed)])
    forest = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0)
    forest.fit(np.concatenate([ordinary, changed]), labels)
    scores = forest.decision_function(val.inputs[kind][val.ordinary])
    changed_scores = forest.decision_function(corrupted["val"][kind][~val.ordinary])
    people = val.person[val.ordinary], val.person[~val.ordinary]
    estimate = interval(Rates.of(scores, changed_scores, bootstrap_weights(people, 0)).auroc)
    low, high = estimate["interval"]
    return f"{estimate['value']:.2f} [{low:.2f}-{high:.2f}]"


def main() -> None:
    """Print a row for each corruption."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("data", type=Path, help="store that the run was trained on")
    parser.add_argument("--windows", type=int, default=8000, help="windows of each split; 8000")
    options = parser.parse_args()
    predictor = TorchPredictor.load(options.run / "weights.safetensors")
    data = track_data(open_store(options.data), RunFolder.open(options.run).config)
    splits = {}
    for name in ("train", "val"):
        windows = data.validation(256, options.windows, name)
        batches = [only_targets(batch) for batch in windows if batch.targets]
        person = np.concatenate([batch.agent[batch.target] for batch in batches])
        ordinary = np.random.default_rng(0).random(len(person)) < 0.5
        inputs = classifier_inputs(predictor, batches, None)
        splits[name] = Split(batches, person, ordinary, inputs)
    print(f"{'':18}" + "".join(f"{kind:>20}" for kind in INPUTS))
    for case in CASES:
        corrupted = {
            name: classifier_inputs(predictor, split.batches, case)
            for name, split in splits.items()
        }
        cells = [auroc(splits["train"], splits["val"], corrupted, k) for k in range(len(INPUTS))]
        print(f"{case:18}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
