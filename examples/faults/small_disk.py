"""A disk of a few MiB for as long as a `with` block lasts, to see what a full one does.

Linux only: a tmpfs is mounted, as root or, by `may_mount`, in a namespace of one's own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 8 * 2**20
_ASKED = "TRAJFLOW_SMALL_DISK"


class NoSmallDisk(RuntimeError):
    """This machine lets us mount nothing."""


@contextmanager
def small_disk(size: int = SIZE) -> Iterator[Path]:
    """An empty folder on a file system of its own.

    Args:
        size: Bytes it holds.

    Raises:
        NoSmallDisk: Nothing can be mounted here; call `may_mount` at the start of a script.
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


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file that takes all room on the disk of a folder but `leave` bytes; returns it."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(folder).free - leave, 1))
    return ballast


def may_mount() -> None:
    """See that disks can be mounted; else start this script again where they can be.

    Raises:
        NoSmallDisk: They cannot, not even in a namespace of one's own.
    """
    try:
        with small_disk():
            return
    except NoSmallDisk:
        if os.environ.get(_ASKED) or not shutil.which("unshare"):
            raise
    os.environ[_ASKED] = "1"
    os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])


def _mount(folder: Path, size: int) -> None:
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", "") or str(error)
        raise NoSmallDisk(f"no small disk can be mounted here: {told.strip()}") from error
