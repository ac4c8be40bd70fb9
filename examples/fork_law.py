"""Compare the training objectives on the exact distribution of the fork, without an encoder.

    python examples/fork_law.py -o results [--seeds 3] [--steps 1500]

The network gets the two numbers that determine the distribution, speed and turn, and new futures at
every step, so the remaining error comes from the objective. "narrow" samples times as for images,
rarely near t = 1, where generation in one step starts.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from experiments import machine, markdown_table, write_tables
from torch import Tensor, nn

from trajflow.datasets.synthetic.fork import DT, HISTORY, Fork, conditional
from trajflow.flow import PRESETS, LogitNormalTimes, instantaneous, sample
from trajflow.flow.path import Velocity
from trajflow.metrics import deviation_ratio, energy_distance
from trajflow.nn.velocity_net import VelocityNet

TIMES = {"narrow": (-0.4, 1.0, -0.4, 1.0), "wide": (0.5, 1.5, -1.0, 1.5)}
"""Mean and deviation of the logits of t and r."""
CASES = [(preset, "wide") for preset in ("flow", "meanflow", "mmf-paper", "mmf")]
CASES += [("meanflow", "narrow"), ("mmf", "narrow")]
MEAN, DEVIATION = [1.3, 0.0], [0.3, 0.15]
"""Of the contexts: speed (m/s) and turn (rad/s)."""
SIZE = 24
"""Numbers in a future: 12 steps in 2 dimensions."""


class ForkData:
    """Random contexts (speed, turn) and futures of the fork, standardised."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        _, futures = self.draw(4096)
        self.mean, self.deviation = futures.mean(0), futures.std(0)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Contexts [N, 2], and one future of each, [N, 24], in metres."""
        context = draw_contexts(count, self.rng)
        return context, fork_of(context).sample(1, self.rng)[0].reshape(count, -1)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Standardised contexts [N, 2] and futures [N, 24]."""
        context, future = self.draw(count)
        return standardise(context), torch.as_tensor((future - self.mean) / self.deviation).float()


def draw_contexts(count: int, rng: np.random.Generator) -> np.ndarray:
    """Random contexts, [N, 2]."""
    return rng.normal(0, 1, (count, 2)) * DEVIATION + MEAN


def standardise(context: np.ndarray) -> Tensor:
    """Contexts of zero mean and unit deviation."""
    return torch.as_tensor((context - MEAN) / DEVIATION).float()


def fork_of(context: np.ndarray) -> Fork:
    """The distribution after a past that is an exact arc, at the origin and heading along x."""
    speed, turn = context[:, :1], context[:, 1:]
    heading = turn * DT * (np.arange(1 - HISTORY, 1) + 0.5)
    displacement = speed[..., None] * DT * np.stack([np.cos(heading), np.sin(heading)], -1)
    past = displacement.cumsum(1)
    return conditional(past - past[:, -1:])


def velocity(decoder: VelocityNet, context: Tensor, average: bool) -> Velocity:
    """u(x, r, t | context)."""
    modulations = decoder.modulations(context)

    def u(x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return decoder(x, r, t, modulations)

    return u if average else instantaneous(u)


def train(preset: str, times: str, seed: int, steps: int) -> tuple[VelocityNet, ForkData]:
    """A decoder trained with a preset, and its training data."""
    torch.manual_seed(seed)
    data, decoder = ForkData(seed), VelocityNet(SIZE, 2, width=128, depth=3)
    settings = PRESETS[preset]
    objective = settings.objective(LogitNormalTimes(settings.flow_ratio, *TIMES[times], rows=True))
    optimizer = torch.optim.AdamW(decoder.parameters(), 1e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        context, future = data.batch(128)
        u = velocity(decoder, context, settings.average)
        loss = objective(u, future.expand(2, -1, -1), step / steps, axes=2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return decoder, data


@torch.no_grad()
def score(decoder: VelocityNet, data: ForkData, average: bool, steps: int) -> dict[str, float]:
    """Compare 300 samples with 300 exact futures, mean over 100 contexts."""
    rng = np.random.default_rng(99)
    context = draw_contexts(100, rng)
    fork = fork_of(context)
    exact = fork.sample(300, rng)
    noise = torch.randn(300, 100, SIZE, generator=torch.Generator().manual_seed(1))
    u = velocity(decoder, standardise(context), average)
    samples = sample(u, noise, steps, axes=2).numpy()
    paths = (samples * data.deviation + data.mean).reshape(exact.shape)
    left = fork.branch(paths).mean(0)
    pairs = [(paths[:, k], exact[:, k]) for k in range(100)]
    return {
        "energy_distance": float(np.mean([energy_distance(*p) for p in pairs])) / np.sqrt(12),
        "deviation_ratio": float(np.mean([deviation_ratio(*p) for p in pairs])),
        "left_share": float(left.mean()),
        "branch_error": float(np.abs(left - fork.probability).mean()),
    }


def main() -> None:
    """Train every case and seed, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each case; 3")
    parser.add_argument("--steps", type=int, default=1500, help="training steps; 1500")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, rows = time.monotonic(), []
    for preset, times in CASES:
        average = PRESETS[preset].average
        for seed in range(options.seeds):
            decoder, data = train(preset, times, seed, options.steps)
            for steps in (1, 2) if average else (1, 4, 16):
                key = {"preset": preset, "times": times, "evaluations": steps, "seed": seed}
                rows.append(key | score(decoder, data, average, steps))
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    keys = ["preset", "times", "evaluations"]
    means = table.drop(columns="seed").groupby(keys, sort=False).mean()
    markdown = markdown_table(
        [*keys, *means.columns], ([*key, *map(float, row)] for key, row in means.iterrows())
    )
    note = (
        f"`python examples/fork_law.py --seeds {options.seeds} --steps {options.steps}`: 300 "
        f"samples for each of 100 contexts, {time.monotonic() - start:.0f} s on {machine()}. Means "
        "over the seeds; the CSV has each seed. Metres."
    )
    write_tables(table, markdown, note, options.out / "fork_law")


if __name__ == "__main__":
    main()
