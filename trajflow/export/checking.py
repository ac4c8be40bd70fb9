"""Whether an export forecasts as its run does: on random inputs, and by the scores of tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Batch, Floats
from trajflow.errors import RunError
from trajflow.export.inputs import AGREED, drawn_from, own, random_inputs
from trajflow.pasts import scene_centres
from trajflow.predictor import Predictor
from trajflow.runtime.golden import difference
from trajflow.runtime.predictor import Predictor as Exported

SCORES = ("min_ade", "energy_score")
MOVED = 0.01
"""Share of a score by which an export may be worse or better than its run."""
REDUCED = 0.25
"""Share of the motion by which single futures of reduced precision may be off."""
SEEDS = 4
"""Seeds over which scores are means: numbers of noise would differ otherwise."""


def check_forecasts(
    predictor: Predictor, small: Exported, rounds: int = 20, seed: int = 0
) -> float:
    """Largest difference of forecasts from equal noise, over the scale of motion.

    Args:
        predictor: The run.
        small: What was exported of it.
        rounds: Random inputs of random sizes, ragged and with missing steps.
        seed: What they follow from.

    Raises:
        RunError: It is more than is allowed for the export's precision.
    """
    chance = np.random.default_rng(seed)
    worst = 0.0
    for number in range(rounds):
        asked = int(chance.integers(1, 6))
        sizes = (int(chance.integers(1, 4)), asked + int(chance.integers(0, 24)), asked, 5)
        inputs = random_inputs(predictor, sizes, seed + number)
        (found,) = small.engine("futures", **inputs)
        worst = max(worst, difference(found, own(predictor, inputs), inputs["past"]))
    allowed = AGREED if small.facts["precision"] == "fp32" else REDUCED
    if not worst <= allowed:
        raise RunError(
            f"the export's futures are {worst:.2g} of the motion away from the run's, "
            f"{allowed:g} allowed; nothing was written"
        )
    return worst


def check_scores(
    run: Path, data: Path, predictor: Predictor, small: Exported, windows: int = 2000
) -> dict[str, Any]:
    """Scores of the run and of its export on the validation part, from equal noise.

    Args:
        run: The run folder, whose settings say how windows are cut.
        data: A store of tracks.
        predictor: The run.
        small: What was exported of it.
        windows: Targets that are looked at, about.

    Raises:
        RunError: A score moves by more than is allowed.
    """
    from trajflow.datasets.data import TrackData
    from trajflow.datasets.store import open_store
    from trajflow.metrics import energy_score, min_ade
    from trajflow.runs import RunFolder

    config = RunFolder.open(run).config
    tracks = TrackData(open_store(data), **config.data.model_dump(), order=config.train.seed)
    chance, size = np.random.default_rng(0), predictor.horizon * predictor.dims
    scores: list[Any] = []
    seen = 0
    for batch in tracks.batches("val", 256):
        for _ in range(SEEDS if batch.targets else 0):
            noise = chance.standard_normal((20, batch.targets, size), dtype=np.float32)
            truth = batch.future[batch.target]
            drawn = [_run(predictor, batch, noise), small.carry(batch.past, batch.target, noise)]
            scores.append([[f(d, truth).sum() for f in (min_ade, energy_score)] for d in drawn])
        seen += batch.targets
        if seen >= windows:
            break
    if not seen:
        raise RunError(f"{data} has no validation windows for this run; check without it")
    before, after = np.sum(scores, 0) / (seen * SEEDS)
    told: dict[str, Any] = {"windows": seen}
    for name, old, new in zip(SCORES, before, after, strict=True):
        told[name] = float(new)
        told[f"{name} of the run"] = float(old)
        if not abs(new - old) <= MOVED * old:
            raise RunError(
                f"{name} on validation moves from {old:.4g} to {new:.4g} by the export, more "
                f"than {MOVED:.0%}; nothing was written"
            )
    return told


def _run(predictor: Predictor, batch: Batch, noise: NDArray[np.float32]) -> Floats:
    """Futures of the run itself from noise [S, N, ...], [S, N, F, D], world coordinates."""
    centre = scene_centres(batch.past)
    past = (batch.past - centre[:, None, None]).astype(np.float32)
    there = centre[np.nonzero(batch.target)[0], None]
    return np.asarray(drawn_from(predictor, past, batch.target, noise) + there)
