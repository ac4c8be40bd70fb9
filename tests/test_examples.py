"""The examples run as they are described."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from trajflow.models.serialization import pack
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example in this process and in an empty folder: what it printed."""
    monkeypatch.chdir(tmp_path)

    def example(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return example


def test_digits_writes_its_picture(run, tmp_path):
    assert "wrote few.png" in run("digits.py", "-o", "few.png", "--steps", 5)
    assert (tmp_path / "few.png").read_bytes().startswith(b"\x89PNG")


def test_embed_prints_a_table_of_both_agents(run, tmp_path):
    torch.manual_seed(0)
    model = TrajectoryModel(Architecture(8, 12, width=16, decoder_width=16, decoder_depth=1))
    (tmp_path / "weights.safetensors").write_bytes(pack(model, {"dt": 0.4, "unit": "m"}))
    out = run("embed.py", tmp_path)
    assert out.count("\na ") == 1
    assert out.count("\nb ") == 1


@pytest.mark.slow
def test_the_family_is_compared_on_the_fork(run):
    out = run("family.py", "fork", "--seeds", 1)
    assert out.count("| mmf |") == 2
