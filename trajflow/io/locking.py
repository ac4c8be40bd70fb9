"""A lock on a folder that dies with the process that holds it."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from trajflow.errors import RunError
from trajflow.io.writing import Guard, storing

FILE = "lock"


class Lock:
    """One holder at a time; killed in whatever way, it holds no more.

    Where the disk knows no locks, nothing is held and nothing refused.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock of a folder.

        Raises:
            RunError: Another process, or another training in this one, holds it.
            StorageError: The folder cannot be written to.
        """
        path = self._path = folder / FILE
        with storing(path):
            self._file: IO[str] = path.open("a+")
            self._state = os.fstat(self._file.fileno())
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(200).strip() or "another process"
            self._file.close()
            raise RunError(
                f"{folder} is being trained by {holder}; wait for it, or stop it first"
            ) from None
        except OSError:
            return
        with storing(path):
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            self._file.flush()

    def guard(self) -> Guard:
        """A check that the folder is still the one that was locked; it does not keep the lock.

        It raises a RunError once the folder is deleted, moved or replaced.
        """
        path, mine = self._path, self._state

        def check() -> None:
            try:
                there = os.path.samestat(path.stat(), mine)
            except (FileNotFoundError, NotADirectoryError):
                there = False
            if not there:
                raise RunError(
                    f"{path.parent} was deleted, moved or replaced while it was trained into; "
                    "nothing more was written there. Go on where it is now by --resume, or train "
                    "anew"
                )

        return check

    def release(self) -> None:
        """Let others have it."""
        self._file.close()
