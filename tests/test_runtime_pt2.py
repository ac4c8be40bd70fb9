"""Facts about .pt2 files: whole, free of what torch would unpickle or evaluate, and the same."""

import io
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch.export import Dim, export, save

from trajflow import Predictor
from trajflow.errors import MissingExtra, RunError
from trajflow.export.inputs import own, random_inputs
from trajflow.export.programs import exported_program
from trajflow.model import Architecture, TrajectoryModel
from trajflow.programs import Program
from trajflow.runtime import Predictor as Exported
from trajflow.runtime.archive import LENGTH, opened_archive, plain, sealed_archive
from trajflow.runtime.golden import difference

T, F = 5, 4


class Doubled(torch.nn.Module):
    """Something small."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2.0, 3.0]), requires_grad=False)

    def forward(self, past):
        return past[:, : past.shape[1] // 2] * self.weight, past.sum()


@pytest.fixture(scope="module")
def small():
    """The archive of something small, as torch saves it."""
    example = torch.ones(4, 6, 2)
    program = export(Doubled(), (), {"past": example}, dynamic_shapes={"past": {1: Dim.DYNAMIC}})
    file = io.BytesIO()
    save(program, file)
    return file.getvalue()


def rewritten(content, change):
    """An archive whose entries a function has changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as before:
        entries = {name: before.read(name) for name in before.namelist()}
    change(entries)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as after:
        for name, one in entries.items():
            after.writestr(name, one)
    return file.getvalue()


def test_what_is_plain_computes_the_same(small):
    program = Program(plain(small), ("doubled", "sum"))
    past = np.random.default_rng(0).normal(size=(4, 9, 2)).astype(np.float32)
    (total,) = program("sum", past=past)
    (found,) = program("doubled", past=past)
    assert program.inputs == ("past",)
    np.testing.assert_allclose(total, past.sum(), rtol=1e-5)
    np.testing.assert_allclose(found, past[:, :4] * [2, 3])


class Loud:
    """What says so when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


def loud(entries):
    file = io.BytesIO()
    torch.save((Loud(),), file)
    entries["archive/data/sample_inputs/model.pt"] = file.getvalue()


def test_torch_alone_would_unpickle_what_is_left_out_here(small, capsys):
    """Why archives are written anew: the examples of inputs are code."""
    harmful = rewritten(small, loud)
    with pytest.raises(Exception):  # noqa: B017, PT011 - of what kind is of no matter
        torch.export.load(io.BytesIO(harmful))
    assert "unpickled" in capsys.readouterr().out
    Program(plain(harmful), ("doubled", "sum"))
    assert "unpickled" not in capsys.readouterr().out


def weights(key, value):
    def change(entries):
        name = "archive/data/weights/model_weights_config.json"
        said = json.loads(entries[name])
        said["config"]["weight"][key] = value
        entries[name] = json.dumps(said).encode()
        entries["archive/data/weights/weight_0"] = pickle.dumps(Loud())

    return change


def program(before, after):
    def change(entries):
        name = "archive/models/model.json"
        assert before.encode() in entries[name]
        entries[name] = entries[name].replace(before.encode(), after.encode(), 1)

    return change


def added(name):
    return lambda entries: entries.update({f"archive/{name}": pickle.dumps(Loud())})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (weights("use_pickle", True), "pickled numbers"),
        (program("torch.ops.aten.mul.Tensor", "torch.hub.load"), r"torch\.hub\.load"),
        (program("torch.ops.aten.mul.Tensor", "torch.ops.aten.from_file.default"), "from_file"),
        (program("torch.ops.aten.mul.Tensor", "_operator.methodcaller"), "methodcaller"),
        (program("Symbol(", "__import__('os').system("), "expr_str"),
        (program('"name": "past"', '"name": "past=print(1)"'), "name of"),
        (added("data/weights/model.pt"), "an entry that no export has"),
        (added("data/constants/opaque_obj_0"), "an entry that no export has"),
        (added("data/aotinductor/model/x.so"), "an entry that no export has"),
        (added("../../outside"), "an entry that no export has"),
        (lambda entries: entries.pop("archive/models/model.json"), "cannot be read"),
    ],
)
def test_what_torch_would_unpickle_or_evaluate_is_refused(small, change, said, capsys):
    with pytest.raises(RunError, match=said):
        plain(rewritten(small, change))
    assert "unpickled" not in capsys.readouterr().out


def test_python_that_a_program_brings_along_is_left_out(small):
    bad = program('"guards_code": [', '"guards_code": ["print(\'evaluated\')", ')
    with zipfile.ZipFile(io.BytesIO(plain(rewritten(small, bad)))) as archive:
        assert json.loads(archive.read("archive/models/model.json"))["guards_code"] == []


@pytest.mark.parametrize("place", [0.01, 0.4, 0.9, -10])
def test_a_flipped_bit_is_seen_before_torch_reads_a_byte(small, place, monkeypatch):
    content = bytearray(sealed_archive(small))
    content[place if place < 0 else int(place * len(content))] ^= 4
    monkeypatch.setitem(sys.modules, "trajflow.programs", None)
    with pytest.raises(RunError, match=r"damaged|no ONNX|not ours"):
        Exported.of(bytes(content))


@pytest.mark.parametrize("length", [0, 3, 30, LENGTH, 2000])
def test_a_file_cut_short_is_seen(small, length):
    with pytest.raises(RunError):
        Exported.of(sealed_archive(small)[:length])


def test_an_archive_of_others_is_refused(small):
    with pytest.raises(RunError, match="it has no digest"):
        Exported.of(small)
    with pytest.raises(RunError, match="not made by `trajflow export`"):
        Exported.of(sealed_archive(small))


def test_without_torch_the_way_out_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.export", None)
    with pytest.raises(MissingExtra, match=r"export the run as \.onnx"):
        Program(small, ("doubled", "sum"))


@pytest.fixture(scope="module")
def run():
    torch.manual_seed(0)
    sizes = {"width": 16, "decoder_width": 16, "decoder_depth": 1, "components": 4}
    model = TrajectoryModel(Architecture(T, F, social=False, **sizes))
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Predictor(model, {"dt": 0.4, "unit": "m"})


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    place = tmp_path_factory.mktemp("export") / "model.pt2"
    place.write_bytes(exported_program(run))
    return place


def test_a_program_draws_what_the_run_draws_from_the_same_noise(run, path):
    found = Exported.load(path)
    for number, sizes in enumerate(((1, 1, 1, 1), (2, 7, 3, 5), (1, 30, 2, 20))):
        inputs = random_inputs(run, sizes, number)
        (futures,) = found.engine("futures", **inputs)
        assert difference(futures, own(run, inputs), inputs["past"]) <= 1e-5
    past = random_inputs(run, (2, 3, 3, 1), 9)["past"]
    assert found.predict(past, samples=4, seed=1).samples.shape == (4, 2, 3, F, 2)
    assert found.surprise is None


def test_no_program_holds_examples_or_paths(path):
    opened_archive(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        sizes = {one.filename: one.file_size for one in archive.infolist()}
        assert sizes["archive/data/sample_inputs/model.pt"] == 0
        told = archive.read("archive/models/model.json")
    assert b".py" not in told
