"""The flow alone, on scikit-learn's digits: one-step samples next to flow matching's.

Usage: python examples/digits.py [-o digits.png] [--steps 4000] [--seed 0]
"""

import argparse

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from trajflow.flow import PRESETS, instantaneous, sample
from trajflow.nn.layers import ModulatedBlock, TimeFeatures


class DigitField(nn.Module):
    """u(x, r, t) for images of 64 pixels."""

    def __init__(self, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.times = nn.Sequential(TimePair(), nn.Linear(TimeFeatures.size, width), nn.SiLU())
        self.enter, self.leave = nn.Linear(64, width), nn.Linear(width, 64)
        self.blocks = nn.ModuleList(ModulatedBlock(width) for _ in range(depth))
        self.shifts = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))

    def forward(self, x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """Average velocity of images x [B, 64] over [r, t]."""
        times = self.times((r, t))
        token = self.enter(x)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            token = block(token, shift(times))
        return self.leave(token)


class TimePair(nn.Module):
    """`TimeFeatures` of a pair, so that it fits into a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.features = TimeFeatures()

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Features of (r, t)."""
        return self.features(*pair)


def train(preset: str, images: Tensor, steps: int, seed: int) -> DigitField:
    """A field trained on images [B, 64] under a preset of the family."""
    torch.manual_seed(seed)
    field, objective = DigitField(), PRESETS[preset].objective()
    optimiser = torch.optim.AdamW(field.parameters(), 1e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        rows = torch.randint(len(images), (256,))
        loss = objective(field, images[rows], step / steps).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(field.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"{preset} step {step}/{steps} loss {loss.item():.3f}", flush=True)
    return field


def draw(rows: dict[str, Tensor], path: str) -> None:
    """Write the images as rows of a picture."""
    count = len(next(iter(rows.values())))
    figure, axes = plt.subplots(len(rows), count, figsize=(count * 0.7, len(rows) * 0.95))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        line[0].set_title(name, loc="left", fontsize=9)
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
            axis.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.93, wspace=0.05, hspace=0.4)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train `mmf` and `flow` and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", default="digits.png")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images = torch.as_tensor(load_digits().data, dtype=torch.float32) / 8 - 1
    mmf = train("mmf", images, options.steps, options.seed)
    flow = instantaneous(train("flow", images, options.steps, options.seed))
    noise = torch.randn(16, 64, generator=torch.Generator().manual_seed(options.seed))
    with torch.no_grad():
        rows = {
            "digits of the data": images[:16],
            "mmf, 1 evaluation": sample(mmf, noise, 1),
            "flow, 1 evaluation": sample(flow, noise, 1),
            "flow, 16 evaluations": sample(flow, noise, 16),
        }
    draw(rows, options.out)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
