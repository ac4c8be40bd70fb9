"""Makes the small run that `trajflow tui` shows where there is nothing else to show.

python examples/tui_demo.py [FOLDER]

Generates a crowd, trains a small model on it with the ordinary commands, evaluates it under some
corruptions, and packs all, and one window with its forecast, into trajflow/tui/assets. Takes some
minutes; needs the extra `sim`.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from trajflow.browse.browser import Session
from trajflow.tui.demo import ARCHIVE, PREVIEW, pack

CROWD = ["--seed", "11", "--set", "train=4", "--set", "seconds=60"]
SIZES = ("model.width=64", "model.decoder_width=64", "model.decoder_depth=3")
TIMES = (
    "train.epochs=40",
    "train.batch_size=128",
    "train.position_noise=0.3",
    "train.reverse_prob=0.3",
)
CORRUPTIONS = (
    "noise,glitch-2,skip-2,slow-2,reversed,filled,momentary,speed-2,unit-1,mirrored,crowd-2"
)
LEFT_OUT = {"resume.pt", "resume.safetensors"}
LONG_AGO = (2020, 1, 1, 0, 0, 0)
"""Dates in the archive, so that equal contents make equal files."""


def make(folder: Path) -> None:
    """Generate, train and judge in a folder."""
    store, run = "crowd.zarr", "demo"
    words = [word for setting in (*SIZES, *TIMES) for word in ("--set", setting)]
    if not (folder / store).exists():
        trajflow(folder, "data", "make", "crowd", "-o", store, *CROWD)
    if not (folder / run).exists():
        trajflow(folder, "train", store, "--out", run, "--seed", "1", *words)
        trajflow(folder, "evaluate", run, store)
    trajflow(folder, "fit", run, store, "ood", "--windows", "700")
    for old in (folder / run).glob("ood-*"):
        old.unlink()
    trajflow(
        folder, "evaluate", run, store, "--ood", "--windows", "300", "--corruptions", CORRUPTIONS
    )


def trajflow(folder: Path, *words: str) -> None:
    """Run a command in a folder, so that no report holds the path to it."""
    subprocess.run([sys.executable, "-m", "trajflow", *words], check=True, cwd=folder)


def archive(folder: Path, out: Path) -> None:
    """One file of everything that was made, without what only a resume needs."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for path in files:
            if path.name not in LEFT_OUT and path.suffix not in (".log", ".png"):
                name = path.relative_to(folder).as_posix()
                about = zipfile.ZipInfo(name, LONG_AGO)
                about.compress_type = zipfile.ZIP_DEFLATED
                zipped.writestr(about, path.read_bytes())


def preview(folder: Path, out: Path) -> None:
    """The window of the test split with most people, as it is forecast."""
    view = Session().browser(folder / "demo", folder / "crowd.zarr", "test").preview()
    np.savez_compressed(out, **pack(view))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        place = Path(sys.argv[1] if len(sys.argv) > 1 else empty)
        make(place)
        archive(place, ARCHIVE)
        preview(place, PREVIEW)
    for made in (ARCHIVE, PREVIEW):
        print(made, made.stat().st_size)
