"""Our parsers under random bytes: shortly here, for long by `make fuzz`; what was found stays."""

import re
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.insert(0, str(FUZZ))

from mutating import fuzz  # noqa: E402
from seeds import CSV, WORDS, seeds  # noqa: E402
from targets import PACKED, TARGETS  # noqa: E402

SECONDS = 0.2
ZIP = bytes.fromhex(
    "504b030414000000080059b9775de75a634b00000000050000000500000000000000504b01021403140000000800"
)
ZIP_END = b"PK\x05\x06" + bytes(8) + b"\x01\x003\0\0\0"
NAMELESS = b"PK\x01\x02" + bytes(42) + b"PK\x05\x06" + bytes(4)
NAMELESS += b"\x01\0\x01\0" + b".\0\0\0" + bytes(6)
FOUND = [
    ("csv", CSV.replace(b"x,", b"\r,", 1)),
    ("csv", b"\xef\xbb\xbf"),
    ("csv", re.sub(rb"0\.[04]", b"-024-01-01T00:00:00Z", CSV)),
    ("csv", re.sub(rb"0\.[04]", b"9999-12-31", CSV)),
    ("archives", bytes([PACKED.index(".zip")]) + ZIP + ZIP_END),
    ("archives", bytes([PACKED.index(".zip")]) + NAMELESS),
    ("manifest", b'{"format":1,"files":{"file":[[1e400,"ab",false]]},"sha256":"0"}'),
    ("settings", b"-model.encoder_options={a=11e400}"),
    ("settings", b"-train.lr=inf"),
    ("settings", "-data.fold=\U0001f600".encode()),
    ("settings", b"-data.fold=\x7f"),
    ("settings", b'-model.encoder_options={"a b"=1}'),
    ("settings", b"-model.encoder_options={a={b=1}}"),
    ("settings", b"-model.encoder_options=" + b"[" * 5000),
    ("settings", b"[train]\nseed = " + b"9" * 5000),
]
"""Inputs that were once not handled."""


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_random_bytes_are_handled(name, tmp_path):
    def once(data):
        TARGETS[name](data, tmp_path)

    assert fuzz(once, seeds(name, tmp_path), WORDS, seconds=SECONDS, seed=1) > 0


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_is_handled(name, data, tmp_path):
    TARGETS[name](data, tmp_path)
