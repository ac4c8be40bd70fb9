"""The objectives alone, on the fork's exact law: no encoder, no store, fresh futures every step.

The network is told the two numbers the law depends on, speed and turn, so what is left between a
preset and the truth is the preset's own. "narrow" draws times as images want them, which seldom
come near t = 1, where one step starts.

Usage: python examples/fork_law.py -o results [--seeds 3] [--steps 2000]
"""

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from trajflow.datasets.synthetic.fork import DT, HISTORY, Fork, conditional
from trajflow.flow import PRESETS, LogitNormalTimes, instantaneous, sample
from trajflow.flow.path import Velocity
from trajflow.metrics import deviation_ratio, energy_distance
from trajflow.nn.velocity_net import VelocityNet

NARROW = (-0.4, 1.0, -0.4, 1.0)
WIDE = (0.5, 1.5, -1.0, 1.5)
CASES = [(name, "wide") for name in ("flow", "meanflow", "mmf-paper", "mmf")]
CASES += [("meanflow", "narrow"), ("mmf", "narrow")]


class Law:
    """Contexts (speed, turn) and futures of the fork, standardised."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        _, futures = self.draw(4096)
        self.mean, self.deviation = futures.mean(0), futures.std(0)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """So many contexts [N, 2] and one future of each, [N, 24], metres."""
        context = self.rng.normal(0, 1, (count, 2)) * [0.3, 0.15] + [1.3, 0.0]
        return context, law_of(context).sample(1, self.rng)[0].reshape(count, -1)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Standardised contexts and futures."""
        context, future = self.draw(count)
        return standard(context), torch.as_tensor((future - self.mean) / self.deviation).float()


def law_of(context: np.ndarray) -> Fork:
    """The law after a noiseless arc of this speed and turn, at the origin, heading along x."""
    speed, turn = context[:, :1], context[:, 1:]
    heading = turn * DT * (np.arange(1 - HISTORY, 1) + 0.5)
    stride = speed[..., None] * DT * np.stack([np.cos(heading), np.sin(heading)], -1)
    past = stride.cumsum(1)
    return conditional(past - past[:, -1:])


def standard(context: np.ndarray) -> Tensor:
    """Contexts of about unit size."""
    return torch.as_tensor((context - [1.3, 0.0]) / [0.3, 0.15]).float()


def velocity(decoder: VelocityNet, context: Tensor, average: bool) -> Velocity:
    """u(x, r, t | context)."""
    modulations = decoder.modulations(context)

    def u(x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return decoder(x, r, t, modulations)

    return u if average else instantaneous(u)


def train(name: str, times: str, seed: int, steps: int) -> tuple[VelocityNet, Law]:
    """A decoder trained under a preset, and the law it has seen."""
    torch.manual_seed(seed)
    law, decoder = Law(seed), VelocityNet(24, 2, width=128, depth=3)
    shape = LogitNormalTimes(
        PRESETS[name].flow_ratio, *(WIDE if times == "wide" else NARROW), rows=True
    )
    objective = PRESETS[name].objective(shape)
    optimiser = torch.optim.AdamW(decoder.parameters(), 1e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        context, event = law.batch(128)
        u = velocity(decoder, context, PRESETS[name].average)
        loss = objective(u, event.expand(2, -1, -1), step / steps, axes=2).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return decoder, law


@torch.no_grad()
def score(decoder: VelocityNet, law: Law, average: bool, steps: int) -> dict[str, float]:
    """Means over 100 contexts of 300 draws each against 300 of the law."""
    chance = np.random.default_rng(99)
    context = chance.normal(0, 1, (100, 2)) * [0.3, 0.15] + [1.3, 0.0]
    truth = law_of(context).sample(300, chance)
    noise = torch.randn(300, 100, 24, generator=torch.Generator().manual_seed(1))
    drawn = sample(velocity(decoder, standard(context), average), noise, steps, axes=2).numpy()
    paths = (drawn * law.deviation + law.mean).reshape(truth.shape)
    left = law_of(context).branch(paths).mean(0)
    pairs = [(paths[:, k], truth[:, k]) for k in range(100)]
    return {
        "energy_distance": float(np.mean([energy_distance(*p) for p in pairs])) / np.sqrt(12),
        "deviation_ratio": float(np.mean([deviation_ratio(*p) for p in pairs])),
        "left_share": float(left.mean()),
        "branch_error": float(np.abs(left - law_of(context).probability).mean()),
    }


def main() -> None:
    """Train every case and seed, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("results"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, rows = time.monotonic(), []
    for name, times in CASES:
        for seed in range(options.seeds):
            decoder, law = train(name, times, seed, options.steps)
            for steps in (1, 4, 16) if name == "flow" else (1, 2):
                key = {"preset": name, "times": times, "evaluations": steps, "seed": seed}
                rows.append(key | score(decoder, law, PRESETS[name].average, steps))
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "fork_law.csv", index=False)
    keys = ["preset", "times", "evaluations"]
    means = table.drop(columns="seed").groupby(keys, sort=False).mean()
    lines = ["| " + " | ".join([*keys, *means.columns]) + " |", "|" + "---|" * 7]
    for key, row in means.iterrows():
        lines.append("| " + " | ".join([*map(str, key), *(f"{v:.4f}" for v in row)]) + " |")
    about = (
        f"`python examples/fork_law.py --seeds {options.seeds} --steps {options.steps}`: 300 draws "
        f"at 100 contexts, {time.monotonic() - began:.0f} s on {platform.machine()}, one thread, "
        f"torch {torch.__version__}. Means over the seeds, each seed is in the CSV; metres."
    )
    (options.out / "fork_law.md").write_text("\n".join([*lines, "", about, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
