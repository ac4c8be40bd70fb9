"""Train the flow on scikit-learn's images of digits: a picture, and a score of each preset.

    python examples/digits.py [-o digits.png] [--steps 4000] [--seed 0]
    python examples/digits.py --table examples/results [--steps 2000] [--seeds 2]

The table has the Frechet distance (Heusel et al., 2017) between generated images and held-out
digits, in the hidden layer of a classifier trained on the training digits. The first row compares
training digits with held-out ones, the score of a perfect generator. Half of the digits are held
out, and were not used to choose settings.
"""

import argparse
import platform
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from trajflow.flow import PRESETS, instantaneous, sample
from trajflow.nn.layers import ModulatedBlock, TimeFeatures

EVALUATIONS = {"mmf": (1, 2, 4), "meanflow": (1, 2, 4), "mmf-paper": (1,), "energy": (1, 4)}
EVALUATIONS["flow"] = (1, 4, 16, 64)
"""Numbers of network evaluations per image at which each preset is scored."""
GENERATED = 4000
Floats = NDArray[np.float64]


class DigitField(nn.Module):
    """u(x, r, t) for images of 64 pixels."""

    def __init__(self, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(TimePair(), nn.Linear(TimeFeatures.size, width), nn.SiLU())
        self.in_proj, self.out_proj = nn.Linear(64, width), nn.Linear(width, 64)
        self.blocks = nn.ModuleList(ModulatedBlock(width) for _ in range(depth))
        self.shifts = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))

    def forward(self, x: Tensor, r: Tensor, t: Tensor) -> Tensor:
        """Average velocity of images x [B, 64] over [r, t]."""
        time_context = self.time_embed((r, t))
        token = self.in_proj(x)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            token = block(token, shift(time_context))
        return self.out_proj(token)


class TimePair(nn.Module):
    """`TimeFeatures` of a pair (r, t), as a layer of `nn.Sequential`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = TimeFeatures()

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Features of (r, t)."""
        return self.features(*pair)


def train(preset: str, images: Tensor, steps: int, seed: int) -> DigitField:
    """A field trained with a preset on images [N, 64]."""
    torch.manual_seed(seed)
    field, objective = DigitField(), PRESETS[preset].objective()
    optimizer = torch.optim.AdamW(field.parameters(), 1e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        rows = torch.randint(len(images), (256,))
        data = images[rows]
        if preset == "energy":  # the energy loss compares two samples for each image
            data = data[:128].expand(2, 128, 64)
        loss = objective(field, data, step / steps, axes=data.dim() - 1).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(field.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"{preset} step {step}/{steps} loss {loss.item():.3f}", flush=True)
    return field


class FrechetScore:
    """Frechet distance between sets of images, in the hidden layer of a classifier of digits."""

    def __init__(self, images: Floats, labels: NDArray[np.int64]) -> None:
        self.classifier = MLPClassifier((64,), max_iter=1000, random_state=0).fit(images, labels)

    def features(self, images: Floats) -> Floats:
        """Activations [N, 64] of images [N, 64]."""
        hidden = images @ self.classifier.coefs_[0] + self.classifier.intercepts_[0]
        return np.asarray(np.maximum(hidden, 0))

    def __call__(self, generated: Floats, real: Floats) -> float:
        """Frechet distance between normal distributions fitted to the activations of both sets."""
        a, b = self.features(generated), self.features(real)
        first, second = np.cov(a.T), np.cov(b.T)
        root = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
        return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * root)


def write_table(folder: Path, steps: int, seeds: int) -> pd.DataFrame:
    """Train and score all presets; write digits.csv and digits.md into the folder."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    images, labels = (digits.data / 8 - 1)[order], digits.target[order]
    half = len(images) // 2
    score = FrechetScore(images[:half], labels[:half])
    real = images[half:]
    rows = [{"preset": "training digits", "score": score(images[:half], real)}]
    start = time.process_time()
    for preset, evaluations in EVALUATIONS.items():
        for seed in range(seeds):
            data = torch.as_tensor(images[:half], dtype=torch.float32)
            field = train(preset, data, steps, seed)
            velocity = instantaneous(field) if preset == "flow" else field
            noise = torch.randn(GENERATED, 64, generator=torch.Generator().manual_seed(1000 + seed))
            for count in evaluations:
                with torch.no_grad():
                    generated = sample(velocity, noise, count).double().numpy()
                row = {"preset": preset, "evaluations": count, "seed": seed}
                rows.append(row | {"score": score(generated, real)})
    seconds = time.process_time() - start
    frame = pd.DataFrame(rows)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "digits.csv", index=False)
    grouped = frame.groupby(["preset", "evaluations"], dropna=False, sort=False)["score"]
    lines = ["| preset | evaluations | Frechet distance: mean (range over the seeds) |"]
    lines.append("|---|---|---|")
    for (preset, count), scores in grouped:
        number = "" if np.isnan(count) else f"{count:.0f}"
        spread = f" ({scores.min():.2f} to {scores.max():.2f})" if len(scores) > 1 else ""
        lines.append(f"| {preset} | {number} | {scores.mean():.2f}{spread} |")
    lines += [
        "",
        f"{half} training and {len(real)} held-out digits of scikit-learn, "
        f"{GENERATED} generated images, "
        f"{steps} updates of 256 images, seeds 0 to {seeds - 1}; {seconds:.0f} CPU seconds, "
        f"{platform.machine()}. `python examples/digits.py --table {folder} --steps {steps} "
        f"--seeds {seeds}`",
    ]
    (folder / "digits.md").write_text("\n".join(lines) + "\n")
    return frame


def write_picture(rows: dict[str, Tensor], path: str) -> None:
    """Write a picture with rows of images."""
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
    """Write the picture of `mmf` and `flow`, or the table of all presets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="write the table to this folder instead")
    parser.add_argument(
        "--seeds", type=int, default=3, help="trainings of each preset (--table); 3"
    )
    parser.add_argument("-o", "--out", default="digits.png", help="the picture")
    parser.add_argument("--steps", type=int, default=4000, help="training steps; 4000")
    parser.add_argument("--seed", type=int, default=0, help="random seed (picture); 0")
    options = parser.parse_args()
    if options.table:
        print(write_table(options.table, options.steps, options.seeds).to_string(index=False))
        return
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
    write_picture(rows, options.out)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
