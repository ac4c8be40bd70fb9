"""Initial inputs of each fuzz target, and byte strings to insert into them."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
from numcodecs.zstd import compress

CSV = b"scene,agent,type,time,x,y,split\nhall,7,walker,0.0,1.5,-2e3,train\nhall,7,,0.4,1.6,2,val\n"
NAMES = b"track_id,frame,x,y,lon,lat,time_ms,fold_a,scene"
NDJSON = (
    b'{"scene":{"id":0,"p":1,"s":0,"e":9,"fps":2.5,"tag":[1]}}\n'
    b'{"track":{"f":1,"p":7,"x":1.5,"y":2}}\n{"track":{"f":2,"p":7,"x":1.6,"y":2}}\n'
)
BOXES = b'1 10 20 30 40 0 0 0 0 "Biker"\n1 11 21 31 41 12 1 0 1 "Biker"\n'
TOML = (
    b"[train]\nseed = 3\nlr = 1e-3\n[model.encoder_options]\nheads = 2\n"
    b"[data]\nfractions = [0.7,0.2,0.1]\n"
)
EVENTS = (
    b'{"event": "started", "step": 0, "steps": 9, "steps_per_epoch": 3, "seconds": 0.1}\n'
    b'{"event": "step", "step": 1, "loss": 1.5, "rate": 0.001, "epoch": 0.3, "eta": 3.0}\n'
    b'{"event": "evaluated", "step": 3, "metrics": {"energy_score": 0.3}, "best": true}\n'
    b'{"event": "finished", "step": 9, "reason": "done"}\n'
)
MANIFEST = b'{"format":1,"files":{"file":[[3,"ab",false]]},"sha256":"' + b"0" * 64 + b'"}'
WORDS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b]0;x\x07", b"1e999", b"-0", b"nan", b"9" * 400,
    b"\xe2\x80\xae", b'"', b",", b"\n", b"\r\n", b"[[[[", b"{}", b"null", b"true", b"-1", b"1e400",
    b"\\ud800", b"../", b"0x10", b"1_000", b"[train]", b"a.b.c=", b"\xd9\xa3", b"1979-05-27",
)  # fmt: skip
"""Byte strings that are inserted into inputs."""


def seeds(target: str, folder: Path) -> list[bytes]:
    """The initial inputs of a target."""
    inputs = {
        "text": [b"\x1b]52;c;x\x07", "s\u202ea\u0301\u200b".encode(), b"[red]x[/]"],
        "csv": [CSV, CSV.replace(b",", b"\t"), CSV.replace(b"0.0", b"2024-01-01T00:00:00Z")],
        "columns": [NAMES, b"agent,x,y,t"],
        "lines": [b"\x00" + b"0 1 1.5 2\n10 1 2.5 3\n", b"\x01" + NDJSON, b"\x02" + BOXES],
        "archives": _compressed_tables(),
        "json": [NDJSON.splitlines()[0], b'{"attributes":{"files":{"a":"b"}}}', b"[1e5,-2,null]"],
        "chunk": [compress(np.arange(65536.0).tobytes(), 3), compress(bytes(524288), 3)],
        "store": _store_files(folder),
        "settings": [TOML, b"-train.seed=3\nmodel.width=16", b"-model.encoder_options={a=1}"],
        "run": [b"\x00" + json.dumps({"dt": 0.4, "parts": {}}).encode(), b"\x01" + EVENTS,
                b"\x02" + TOML],
        "export": _exports(),
        "tensors": _weights(),
        "manifest": [MANIFEST],
    }  # fmt: skip
    return inputs[target]


def _compressed_tables() -> list[bytes]:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", CSV)
    files = (gzip.compress(CSV), bz2.compress(CSV), lzma.compress(CSV), zipped.getvalue(), CSV)
    return [bytes([number]) + file for number, file in enumerate(files)]


def _exports() -> list[bytes]:
    """The parts of an export: the whole file, its graph, its metadata and its arrays."""
    from trajflow.inference.onnx.artifact import FORMAT, sealed

    node = b"\x0a\x01a\x12\x01b\x22\x03Add\x2a\x05\x0a\x01k\x18\x01"
    tensor = b"\x08\x02\x10\x01\x42\x01w\x4a\x08" + bytes(8)
    graph = bytes([0x0A, len(node)]) + node + bytes([0x2A, len(tensor)]) + tensor
    model = b"\x08\x09" + bytes([0x3A, len(graph)]) + graph
    facts = {"format": FORMAT, "history": 8, "horizon": 12, "dims": 2, "dt": 0.4, "unit": "m"}
    facts |= {
        "displacement_scale": 0.3,
        "temperature": 1.0,
        "least_dt_ratio": 1.0,
        "most_dt_ratio": 1.0,
    }
    facts |= {"neighbors": None, "calibration": None, "evaluations": 1, "learned": [4]}
    facts |= {"joint": False, "golden": 1e-4}
    file = io.BytesIO()
    names = ("read.0", "read.2", "move", "weigh")
    arrays = {f"set-4|{n}.{kind}": np.zeros((4, 4)) for n in names for kind in ("weight", "bias")}
    np.savez(file, **arrays, **{"set-4|start": np.zeros((4, 1))})
    parts = [sealed(model), model, json.dumps(facts).encode(), file.getvalue()]
    return [bytes([number]) + part for number, part in enumerate(parts)]


def _weights() -> list[bytes]:
    from trajflow.models.serialization import pack
    from trajflow.models.trajectory_model import Architecture, TrajectoryModel

    sizes = {"width": 4, "decoder_width": 8, "decoder_depth": 1, "components": 1, "social": False}
    model = TrajectoryModel(Architecture(2, 1, **sizes))
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    tensor = len(header).to_bytes(8, "little") + header + bytes(8)
    return [pack(model, {"dt": 0.4, "unit": "m"}), tensor]


def _store_files(folder: Path) -> list[bytes]:
    import targets

    path = targets.small_store(folder)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return [bytes([number]) + file.read_bytes() for number, file in enumerate(files)]
