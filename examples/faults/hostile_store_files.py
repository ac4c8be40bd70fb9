"""Stores whose seal names what is not there, and stores whose files are no files."""

import os
from collections.abc import Callable
from pathlib import Path

from trajflow.datasets.checksums import CHECKSUMS, encode_checksums

MAKERS: dict[str, Callable[[Path, Path], None]] = {}
"""By name: spoils a store, given a file that must never be made."""


def _missing(name: str, count: int) -> None:
    def spoil(path: Path, canary: Path) -> None:
        files = {f"x/c/{index}": "0" * 64 for index in range(count)}
        (path / CHECKSUMS).write_bytes(encode_checksums(files))

    MAKERS[name] = spoil


_missing("a million chunks, none there", 10**6)
_missing("300 000 chunks, none there", 300_000)


def _named(name: str, sealed: str) -> None:
    def spoil(path: Path, canary: Path) -> None:
        (path / CHECKSUMS).write_bytes(encode_checksums({sealed: "0" * 64}))

    MAKERS[name] = spoil


_named("a seal over /etc/passwd", "../../../../../../etc/passwd")
_named("a seal over an absolute path", "/etc/passwd")
_named("a seal with a NUL", "x\0/c/0")
_named("a seal with a name of a megabyte", "x" * 2**20)


def _replaced(name: str, file: str, put: Callable[[Path], None]) -> None:
    def spoil(path: Path, canary: Path) -> None:
        (path / file).unlink()
        put(path / file)

    MAKERS[name] = spoil


_replaced("a pipe as chunk", "x/c/0", os.mkfifo)
_replaced("a pipe as description", "zarr.json", os.mkfifo)
_replaced("a link to /dev/zero", "x/c/0", lambda file: file.symlink_to("/dev/zero"))
_replaced("a link that leads to itself", "y/c/0", lambda file: file.symlink_to(file))
_replaced("a folder as chunk", "x/c/0", lambda file: file.mkdir())
_replaced("a description of 4 GiB", "zarr.json", lambda file: _sparse(file, 2**32))


def _sparse(file: Path, size: int) -> None:
    with file.open("wb") as handle:
        handle.truncate(size)
