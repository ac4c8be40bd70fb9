"""Run folders that a stranger made to hurt: what is changed is listed, as a training would."""

import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from networks import small_predictor
from payload import Payload

from trajflow.config import Config
from trajflow.files import keep
from trajflow.runs import WEIGHTS, RunFolder
from trajflow.weights import pack, pack_state

MAKERS: dict[str, Callable[[Path, Path], None]] = {}
"""By name: spoils a run folder, given a file that must never be made."""


def tame(path: Path) -> None:
    """A folder of weights that are what they say."""
    RunFolder.create(path, Config(), {"dt": 0.4, "dims": 2})
    keep(path / WEIGHTS, pack(small_predictor().model, {"dt": 0.4, "unit": "m"}))


def _file(name: str, content: Callable[[Path], bytes], file: str = WEIGHTS) -> None:
    MAKERS[name] = lambda path, canary: keep(path / file, content(canary))


def _tensors(head: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    said = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(said).to_bytes(8, "little") + said + data


def _one(shape: list[int], size: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [0, size]}


def _lies(name: str, **changes: Any) -> None:
    """Enter weights of a small network whose words tell of another one."""

    def content(canary: Path) -> bytes:
        model = small_predictor().model
        said = asdict(model.architecture) | changes
        return pack_state(model.state_dict(), {"architecture": said, "dt": 0.4, "unit": "m"})

    _file(name, content)


def _facts(name: str, **facts: Any) -> None:
    said = {"dt": 0.4, "unit": "m"} | facts
    _file(name, lambda canary: pack(small_predictor().model, said))


def _zip_of_torch(canary: Path) -> bytes:
    place = canary.parent / "weights.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload(canary)))
    content = place.read_bytes()
    place.unlink()
    return content


def _endless() -> bytes:
    model = small_predictor().model
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = torch.inf
    return pack(model, {"dt": 0.4, "unit": "m"})


def _calibration(number: int) -> bytes:
    said = {"format": 1, "part": "val", "people": 1, "windows": 1, "samples": 2, "seed": 0}
    said |= {"evaluations": 1, "store": "", "weights": ""}
    return json.dumps(said | {"floor": [number], "each": [], "path": [], "levels": []}).encode()


_file("weights that are a pickle", lambda c: pickle.dumps(Payload(c)))
_file("weights that are a zip of torch", _zip_of_torch)
_file("weights of random bytes", lambda c: random.Random(0).randbytes(2**20))
_file("weights of nothing", lambda c: b"")
_file("a header of 2^62 bytes", lambda c: (2**62).to_bytes(8, "little") + b"{}")
_file("a header a million deep", lambda c: _tensors(b"[" * 10**6))
_file("a header of a million lists", lambda c: _tensors(b'{"a":[' + b"[]," * 10**6 + b"0]}"))
_file("a header with a number of 10^6 digits", lambda c: _tensors(b'{"a":' + b"9" * 10**6 + b"}"))
_file("fifty thousand tensors", lambda c: _tensors({str(n): _one([0], 0) for n in range(50_000)}))
_file("a tensor of 10^15 numbers", lambda c: _tensors({"a": _one([10**15], 4 * 10**15)}))
_file("a tensor larger than it is", lambda c: _tensors({"a": _one([10**15], 8)}, bytes(8)))
_file("a tensor of a thousand axes", lambda c: _tensors({"a": _one([1] * 1000, 4)}, bytes(4)))
_file("a tensor of Python objects", lambda c: _tensors({"a": _one([1], 8, "OBJECT")}, bytes(8)))
_file("a tensor whose name climbs", lambda c: _tensors({"../\x1b[2J": _one([2], 8)}, bytes(8)))
_file("weights that are not finite", lambda c: _endless())
_lies("a network of another horizon", horizon=60_000)
_lies("a horizon of 10^15", horizon=10**15)
_lies("a network of 65 536 wide", width=65_536)
_lies("a network a million deep", decoder_depth=10**6)
_lies("an encoder of code", encoder="os.system")
_lies("options of lists", options=[["depth", [1]]])
_facts("a step of -1 s", dt=-1.0)
_facts("a step of text", dt="soon")
_facts("a step of 10^400 s", dt=10**400)
_facts("a temperature of 10^400", temperature=10**400)
_lies("a pace of 10^400", pace_floor=10**400)
_lies("a width of 1e400", width=float("inf"))
_lies("a width of 10^400", width=10**400)
_facts("a unit of a megabyte", unit="\x1b[31m" * 2**18)
_file("a calibration that is a pickle", lambda c: pickle.dumps(Payload(c)), "calibration.json")
_file("a calibration a million deep", lambda c: b"[" * 10**6, "calibration.json")
_file("a calibration of numbers of 400 digits", lambda c: _calibration(10**400), "calibration.json")
_file("a detector that is a pickle", lambda c: pickle.dumps(Payload(c)), "ood.safetensors")
MAKERS["a manifest a million deep"] = lambda path, canary: (
    (path / "manifest.json").write_bytes(b"[" * 10**6) and None
)


def _placed(name: str, put: Callable[[Path], Any]) -> None:
    def spoil(path: Path, canary: Path) -> None:
        (path / WEIGHTS).unlink()
        put(path / WEIGHTS)

    MAKERS[name] = spoil


_placed("a pipe as weights", os.mkfifo)
_placed("a link to /dev/zero as weights", lambda file: file.symlink_to("/dev/zero"))
_placed("a folder as weights", lambda file: file.mkdir())
_placed("weights of 64 GiB", lambda file: file.touch() or os.truncate(file, 2**36))
