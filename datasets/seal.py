"""The seal of a store: the sha256 of each of its files, so that no damage is read as data.

zarr returns fill values for a deleted chunk and takes changed metadata as it comes. The seal lies
in the attributes of the subgroup `seal`, where every zarr reader passes over it. Whoever makes a
store can seal it, so a seal proves that nothing was damaged, not that the content makes sense.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trajflow.disk import flush_folder
from trajflow.errors import DataError
from trajflow.foreign import MAX_BYTES, parse_json

SEAL = "seal/zarr.json"
MAX_NAME = 1000


def seal(folder: Path) -> None:
    """Flush every file and folder to the disk and write the seal.

    Args:
        folder: The finished store, not yet at its final place.

    Raises:
        DataError: Its description is larger than one that would be read again.
    """
    files: dict[str, str] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            files[file.relative_to(folder).as_posix()] = _hash_and_flush(file)
    target = folder / SEAL
    target.parent.mkdir()
    target.write_bytes(_encode(files))
    for file in (target, *folder.rglob("zarr.json")):
        if (size := file.stat().st_size) > MAX_BYTES:
            raise DataError(
                f"the names and counts in {file.relative_to(folder)} take {size} bytes, more than "
                f"{MAX_BYTES}; divide the data into several stores"
            )
    _hash_and_flush(target)
    for place, _, _ in os.walk(folder):
        flush_folder(Path(place))


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
            DataError: The seal is missing or damaged, or names files that are not inside.
        """
        raw = read_plain(folder / SEAL, "")
        try:
            files = parse_json(raw)["attributes"]["files"]
            intact = raw == _encode(files) and all(map(_inside, files))
        except (ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            raise damaged(folder / SEAL, "is not what was written")
        return cls(folder, files)

    def sizes(self) -> dict[str, int]:
        """Bytes of each sealed file that is there."""
        found = {}
        for name in self.files:
            try:
                found[name] = os.lstat(f"{self.folder}/{name}").st_size
            except OSError:
                continue
        return found

    def read(self, name: str, hint: str = "", most: int = MAX_BYTES) -> bytes:
        """The bytes of one file, proven to be those that were written.

        Args:
            name: Path inside the store.
            hint: What the file holds, for the message.
            most: Bytes that it may have.

        Raises:
            DataError: The file is missing, changed or not in the seal.
        """
        raw = read_plain(self.folder / name, hint, most)
        if hashlib.sha256(raw).hexdigest() != self.files.get(name):
            raise damaged(self.folder / name, f"{hint}is not what was written")
        return raw


def read_plain(file: Path, hint: str, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of sane size; anything else could block or exhaust memory.

    Raises:
        DataError: It is none, or cannot be read.
    """
    try:
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise damaged(file, f"{hint}is no plain file of a sane size")
        with file.open("rb") as stream:
            return stream.read(most)
    except (FileNotFoundError, NotADirectoryError):
        raise damaged(file, f"{hint}is missing") from None
    except PermissionError:
        raise DataError(f"{file} {hint}may not be read; ask for the right to read it") from None
    except OSError as error:
        raise damaged(file, f"{hint}cannot be read ({error.strerror})") from error


def damaged(file: Path, what: str) -> DataError:
    """The error for a file that cannot be trusted."""
    return DataError(
        f"damaged store: {file} {what}; restore it from a copy, import the data again or see what "
        "`trajflow data check --repair` can save"
    )


def _inside(name: str) -> bool:
    """Whether a name leads to a file inside the store."""
    parts = name.split("/")
    return len(name) <= MAX_NAME and "\0" not in name and not {"", ".", ".."} & set(parts)


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
