"""Hostile run folders. Changed files are listed in the manifest, as a training would list them."""

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
from fixtures import Payload, small_predictor

from trajflow.config import Config
from trajflow.manifest import keep
from trajflow.models.serialization import pack, pack_state
from trajflow.runs import WEIGHTS, RunFolder

MAKERS: dict[str, Callable[[Path, Path], None]] = {}
"""By name: spoils a valid run folder, given the path of a file that only foreign code creates."""


def tame(path: Path) -> None:
    """Write a valid run folder."""
    RunFolder.create(path, Config(), {"dt": 0.4, "dims": 2})
    keep(path / WEIGHTS, pack(small_predictor().model, {"dt": 0.4, "unit": "m"}))


def _file(name: str, content: Callable[[Path], bytes], file: str = WEIGHTS) -> None:
    MAKERS[name] = lambda path, canary: keep(path / file, content(canary))


def _weights(head: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    header = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(header).to_bytes(8, "little") + header + data


def _tensor(shape: list[int], size: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [0, size]}


def _architecture(name: str, **changes: Any) -> None:
    """Register weights whose metadata describe another network."""

    def content(canary: Path) -> bytes:
        model = small_predictor().model
        architecture = asdict(model.architecture) | changes
        return pack_state(
            model.state_dict(), {"architecture": architecture, "dt": 0.4, "unit": "m"}
        )

    _file(name, content)


def _metadata(name: str, **facts: Any) -> None:
    metadata = {"dt": 0.4, "unit": "m"} | facts
    _file(name, lambda canary: pack(small_predictor().model, metadata))


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
    values = {"format": 1, "part": "val", "people": 1, "windows": 1, "samples": 2, "seed": 0}
    values |= {"evaluations": 1, "store": "", "weights": ""}
    return json.dumps(values | {"floor": [number], "each": [], "path": [], "levels": []}).encode()


_file("weights that are a pickle", lambda c: pickle.dumps(Payload(c)))
_file("weights that are a zip of torch", _zip_of_torch)
_file("weights of random bytes", lambda c: random.Random(0).randbytes(2**20))
_file("weights of nothing", lambda c: b"")
_file("a header of 2^62 bytes", lambda c: (2**62).to_bytes(8, "little") + b"{}")
_file("a header a million deep", lambda c: _weights(b"[" * 10**6))
_file("a header of a million lists", lambda c: _weights(b'{"a":[' + b"[]," * 10**6 + b"0]}"))
_file("a header with a number of 10^6 digits", lambda c: _weights(b'{"a":' + b"9" * 10**6 + b"}"))
_file(
    "fifty thousand tensors", lambda c: _weights({str(n): _tensor([0], 0) for n in range(50_000)})
)
_file("a tensor of 10^15 numbers", lambda c: _weights({"a": _tensor([10**15], 4 * 10**15)}))
_file("a tensor larger than it is", lambda c: _weights({"a": _tensor([10**15], 8)}, bytes(8)))
_file("a tensor of a thousand axes", lambda c: _weights({"a": _tensor([1] * 1000, 4)}, bytes(4)))
_file("a tensor of Python objects", lambda c: _weights({"a": _tensor([1], 8, "OBJECT")}, bytes(8)))
_file("a tensor whose name climbs", lambda c: _weights({"../\x1b[2J": _tensor([2], 8)}, bytes(8)))
_file("weights that are not finite", lambda c: _endless())
_architecture("a network of another horizon", horizon=60_000)
_architecture("a horizon of 10^15", horizon=10**15)
_architecture("a network of 65 536 wide", width=65_536)
_architecture("a network a million deep", decoder_depth=10**6)
_architecture("an encoder of code", encoder="os.system")
_architecture("options of lists", encoder_options=[["depth", [1]]])
_metadata("a step of -1 s", dt=-1.0)
_metadata("a step of text", dt="soon")
_metadata("a step of 10^400 s", dt=10**400)
_metadata("a temperature of 10^400", temperature=10**400)
_architecture("a pace of 10^400", speed_floor=10**400)
_architecture("a width of 1e400", width=float("inf"))
_architecture("a width of 10^400", width=10**400)
_metadata("a unit of a megabyte", unit="\x1b[31m" * 2**18)
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
