"""The files an import read: their names, sizes and digests, stored with the tracks."""

import hashlib
from pathlib import Path
from typing import Any


def names_of(path: Path, files: list[Path]) -> list[str]:
    """The name of each file as seen from the path the user gave."""
    return [f.relative_to(path).as_posix() if f != path else f.name for f in files]


def describe_inputs(path: Path, files: list[Path]) -> list[dict[str, Any]]:
    """Name, sha256 and bytes of each file."""
    described = []
    for name, file in zip(names_of(path, files), files, strict=True):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        described.append({"name": name, "sha256": digest, "bytes": file.stat().st_size})
    return described
