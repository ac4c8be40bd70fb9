"""Tutorials: every command and script of their text runs, in the order of the page."""

import re
import shlex
from glob import glob
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
PAGES = sorted(FOLDER.glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SMALL = ("model.width=16", "model.decoder_width=16", "train.samples=5", "train.noise_samples=1")
# The same data with fewer people and plays; with fewer than 20 people no OOD detector is fitted.
FEWER = {"range(1, 91)": "range(1, 19)", "range(40)": "range(14)"}
SHORT = [word for one in (*SMALL, "train.validation_windows=100") for word in ("--set", one)]
# With fewer than 20 validation people a training fits no OOD detector, which takes longest.
FEW = ("--set", "data.fractions=[0.9,0.05,0.05]")


def words_of(line: str, few: bool) -> list[str]:
    """The words of a command as a shell reads them; trainings and evaluations are shortened."""
    name, *words = shlex.split(line, comments=True)
    assert name == "trajflow"
    words = [path for word in words for path in (sorted(glob(word)) if "*" in word else [word])]
    if words[0] == "train":
        words[words.index("--updates") + 1] = "3"
        words += [*SHORT, "--no-race", *(FEW if few else ())]
    if words[0] == "evaluate":
        words.append("--no-baselines")
    return words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_tutorial_runs(trajflow, tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    done, page_text = 0, page.read_text(encoding="utf-8")
    few = "--split agent" in page_text and "--ood" not in page_text
    for language, text in BLOCK.findall(page_text):
        if language == "python":
            for many, fewer in FEWER.items():
                text = text.replace(many, fewer)
            exec(compile(text, page.name, "exec"), {})
            done += 1
        elif text.startswith("trajflow "):
            for line in text.splitlines():
                code, _, said = trajflow(*words_of(line, few))
                assert code == 0, (line, said)
                done += 1
    assert done >= 4
