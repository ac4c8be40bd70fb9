"""Make what was written last beyond a loss of power."""

import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """Make the names in a folder last: what was made in it, renamed or removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
