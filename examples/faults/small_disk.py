"""Mounts a file system of a few MiB, to test what happens when it is full.

Linux only: a tmpfs is mounted, as root or, by `require_mount`, in a private namespace.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 8 * 2**20
UNSHARED = "TRAJFLOW_SMALL_DISK"
"""Environment variable of a script that was started again in a namespace of its own."""


class NoSmallDisk(RuntimeError):
    """This machine does not allow mounting a file system."""


@contextmanager
def small_disk(size: int = SIZE) -> Iterator[Path]:
    """The empty folder of a new file system of `size` bytes, unmounted after the `with` block.

    Raises:
        NoSmallDisk: Mounting failed; call `require_mount` at the start of the script.
    """
    folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
    try:
        _mount(folder, size)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        folder.rmdir()


def fill(folder: Path, free: int = 0) -> Path:
    """Write a file `ballast` that leaves `free` bytes on the disk of a folder; its path."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(folder).free - free, 1))
    return ballast


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder, by relative path; without lock files."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "lock")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def require_mount() -> None:
    """Start the script again in a private namespace if it may not mount file systems.

    Exits with an error where that is not possible either.
    """
    try:
        with small_disk():
            return
    except NoSmallDisk as error:
        if os.environ.get(UNSHARED) or not shutil.which("unshare"):
            sys.exit(f"error: {error}; run this script where file systems can be mounted")
    os.environ[UNSHARED] = "1"
    os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])


def _mount(folder: Path, size: int) -> None:
    options = f"size={size},mode=700"
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        message = getattr(error, "stderr", "") or str(error)
        raise NoSmallDisk(f"cannot mount a small disk: {message.strip()}") from error
