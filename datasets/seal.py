"""The seal of a store: the sha256 of each of its files, so that no damage is read as data.

zarr returns fill values for a deleted chunk and takes changed metadata as it comes. The seal lies
in the attributes of the subgroup `seal`, where every zarr reader passes over it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trajflow.errors import DataError

SEAL = "seal/zarr.json"
MAX_BYTES = 256 * 2**20


def seal(folder: Path) -> None:
    """Flush every file and folder to the disk and write the seal.

    Args:
        folder: The finished store, not yet at its final place.
    """
    files: dict[str, str] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            files[file.relative_to(folder).as_posix()] = _hash_and_flush(file)
    target = folder / SEAL
    target.parent.mkdir()
    target.write_bytes(_encode(files))
    _hash_and_flush(target)
    for place, _, _ in os.walk(folder):
        flush_folder(Path(place))


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Seal:
    """What each file of a store must be.

    Attributes:
        folder: The store.
        files: sha256 of each file by its path inside the store.
    """

    folder: Path
    files: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path) -> "Seal":
        """Read the seal of a store.

        Raises:
            DataError: The seal is missing or damaged.
        """
        raw = read_plain(folder / SEAL, "")
        try:
            files = json.loads(raw)["attributes"]["files"]
            intact = raw == _encode(files)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            intact = False
        if not intact:
            raise damaged(folder / SEAL, "is not what was written")
        return cls(folder, files)

    def missing(self) -> list[str]:
        """Sealed files that are no longer there."""
        return [name for name in self.files if not os.path.lexists(self.folder / name)]

    def read(self, name: str, hint: str = "") -> bytes:
        """The bytes of one file, proven to be those that were written.

        Args:
            name: Path inside the store.
            hint: What the file holds, for the message.

        Raises:
            DataError: The file is missing, changed or not in the seal.
        """
        raw = read_plain(self.folder / name, hint)
        if hashlib.sha256(raw).hexdigest() != self.files.get(name):
            raise damaged(self.folder / name, f"{hint}is not what was written")
        return raw


def read_plain(file: Path, hint: str) -> bytes:
    """The bytes of a regular file of sane size; anything else could block or exhaust memory."""
    try:
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise damaged(file, f"{hint}is no plain file of a sane size")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise damaged(file, f"{hint}is missing") from None


def damaged(file: Path, what: str) -> DataError:
    """The error for a file that cannot be trusted."""
    return DataError(
        f"damaged store: {file} {what}; restore it from a copy or import the data again"
    )


def _hash_and_flush(file: Path) -> str:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        os.fsync(handle.fileno())
    return digest


def _encode(files: Mapping[str, str]) -> bytes:
    ordered = dict(sorted(files.items()))
    digest = hashlib.sha256(json.dumps(ordered).encode()).hexdigest()
    attributes = {"sha256": digest, "files": ordered}
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node, indent=1).encode()
