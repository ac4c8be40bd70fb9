"""How much memory a store asks for, compared with what it brings and with what there is."""

from pathlib import Path

from trajflow.datasets.header import Header
from trajflow.datasets.schema import CHUNK
from trajflow.datasets.seal import damaged
from trajflow.errors import DataError

SMALL = 256 * 2**20
"""Bytes that any store may ask for."""
MAX_RATIO = 500
"""Tracks are packed about 3 to 1; more than this many to one is a bomb."""
INDEX_COLUMNS = 5


def check_extent(file: Path, header: Header, packed: int) -> None:
    """Refuse a store that would unpack to absurdly more than it is, or than memory holds.

    Args:
        file: Where the claims stand, for the message.
        header: Claims so many rows and trajectories.
        packed: Bytes of the files that are there.

    Raises:
        DataError: It would.
    """
    index = 8 * INDEX_COLUMNS * max(header.trajectories, CHUNK)
    claimed = index + (8 * header.dims + 9) * header.rows
    if claimed > SMALL and claimed > MAX_RATIO * packed:
        raise damaged(file, f"claims {claimed:.3g} bytes of numbers in {packed:.3g} bytes of files")
    room = free_memory()
    if room is not None and 2 * index > room:
        raise DataError(
            f"{file.parent} has {header.trajectories} trajectories, whose index needs "
            f"{2 * index / 2**30:.1f} GiB of memory; {room / 2**30:.1f} are free: "
            "divide it or use a larger machine"
        )


def free_memory() -> int | None:
    """Bytes of memory that can be had, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None
