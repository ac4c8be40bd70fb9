"""Reads and writes stores, runs, models and forecasts in object stores, such as s3:// and gs://.

`located` turns a name into a local `Path` or, for a URL, into a `UPath` of the package
universal-pathlib with the same methods. Output of several files is built locally and uploaded, the
file that completes it last. `Path("s3://a")` has only one slash after the colon; this is understood
too, so that options of the command line may be paths.
"""

from __future__ import annotations

import atexit
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, cast

from trajflow.errors import DataError, MissingExtra

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
SCHEMES = ("file", "gs", "memory", "s3")
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
MARKERS = ("zarr.json", "manifest.json")
"""Files that complete a folder: they are uploaded last, and readers need them."""

AnyPath = str | PathLike[str]


def url_of(path: AnyPath) -> str | None:
    """The URL in a path; None for a local path.

    Raises:
        DataError: The scheme is not supported.
    """
    match = URL.fullmatch(str(path))
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[2]
    if scheme not in SCHEMES:
        raise DataError(
            f"{scheme}://{rest}: {scheme}:// is not supported; give a local path, or "
            f"{', '.join(f'{name}://' for name in SCHEMES)}"
        )
    return f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def located(path: AnyPath) -> Path:
    """A local path, or a remote one with the same methods.

    Raises:
        DataError: The scheme is not supported.
        MissingExtra: The packages for object stores are not installed.
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    if url.startswith("file:"):
        return Path(url.removeprefix("file://"))
    scheme = url.partition(":")[0]
    try:
        from upath import UPath

        place = UPath(url)
        _ = place.fs
    except ImportError:
        package = PACKAGES.get(scheme, "universal-pathlib")
        raise MissingExtra(f"{scheme}:// needs {package}: pip install 'trajflow[cloud]'") from None
    return cast(Path, place)


def is_remote(path: Path) -> bool:
    """Whether a result of `located` is in an object store."""
    return not isinstance(path, Path)


@contextmanager
def reaching(path: object) -> Iterator[None]:
    """Turn errors of an object store into a DataError about this path.

    Raises:
        DataError: The bucket, the permission, the credentials or the network is missing.
    """
    try:
        yield
    except (FileNotFoundError, MissingExtra, DataError):
        raise
    except Exception as error:  # botocore, aiohttp and gcsfs share no class
        what = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(
            f"{path} cannot be reached: {what}; check the name, the credentials and the network"
        ) from None


def read_remote(file: Path, most: int) -> bytes:
    """The first `most` bytes of an object, in one request."""
    with reaching(file):
        return cast(bytes, cast(Any, file).fs.cat_file(cast(Any, file).path, start=0, end=most))


def read_many(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Contents of existing objects of a remote folder, fetched in parallel."""
    place = cast(Any, folder)
    paths = {f"{place.path.strip('/')}/{name}": name for name in names}
    with reaching(folder):
        contents = place.fs.cat(list(paths), on_error="omit") if paths else {}
    if isinstance(contents, bytes):  # of a single path
        return {names[0]: contents}
    return {paths[path.lstrip("/")]: content for path, content in contents.items()}


def sizes_in(folder: Path) -> dict[str, int]:
    """Bytes of each object below a remote folder, by its path in the folder."""
    place = cast(Any, folder)
    root = place.path.strip("/") + "/"
    with reaching(folder):
        files = place.fs.find(place.path, detail=True)
    return {name.lstrip("/").removeprefix(root): int(file["size"]) for name, file in files.items()}


def local_copy(path: AnyPath) -> Path:
    """A run folder or a model file on this machine: the path itself, or a copy of a remote one.

    The copy is removed when the process ends.

    Raises:
        DataError: The path does not exist, or it cannot be reached.
    """
    place = located(path)
    if not is_remote(place):
        return place
    remote = cast(Any, place)
    folder = tempfile.TemporaryDirectory(prefix="trajflow-")
    atexit.register(folder.cleanup)
    target = Path(folder.name) / (place.name or "copy")
    with reaching(place):
        if not remote.fs.exists(remote.path):
            raise DataError(f"nothing at {place}; check its name")
        remote.fs.get(remote.path, str(target), recursive=bool(remote.fs.isdir(remote.path)))
    return target


@contextmanager
def local_output(path: AnyPath) -> Iterator[Path]:
    """A local file to write to, which is uploaded at the end if `path` is remote."""
    place = located(path)
    if not is_remote(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="trajflow-") as folder:
        target = Path(folder) / place.name
        yield target
        upload(target, place)


def exists(place: Path) -> bool:
    """Whether there is a file or a folder, local or remote."""
    if not is_remote(place):
        return os.path.lexists(place)
    with reaching(place):
        return bool(cast(Any, place).fs.exists(cast(Any, place).path))


def upload(source: Path, place: Path) -> None:
    """Upload a file or a folder, which replaces what is there.

    The file that completes a folder is deleted first and uploaded last, so that a reader sees the
    old folder, none, or the new one.
    """
    remote = cast(Any, place)
    fs, root = remote.fs, remote.path.rstrip("/")
    with reaching(place):
        if source.is_file():
            fs.put_file(str(source), root)
            return
        if fs.exists(root):
            for name in MARKERS:
                if fs.exists(f"{root}/{name}"):
                    fs.rm_file(f"{root}/{name}")
            fs.rm(root, recursive=True)
        names = sorted(str(p.relative_to(source)) for p in source.rglob("*") if p.is_file())
        last = [name for name in names if name in MARKERS]
        for part in ([name for name in names if name not in last], last):
            fs.put([str(source / name) for name in part], [f"{root}/{name}" for name in part])


def refuse_url(path: object) -> None:
    """Refuse to write to a URL where only local files are written.

    Raises:
        DataError: The path is a URL.
    """
    if (url := url_of(str(path))) is not None and not url.startswith("file:"):
        raise DataError(f"{url} is in an object store; give a local path to write to")
