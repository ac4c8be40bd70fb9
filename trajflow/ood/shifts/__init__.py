"""Named changes of ordinary windows, graded by severity, one kind a file.

A new shift is a function in one of these files and an entry in its SHIFTS.
"""

from collections.abc import Iterable

from trajflow.errors import ConfigError, did_you_mean
from trajflow.ood.shifts import crowding, gaps, sensing, space, timing
from trajflow.ood.shifts.others import WHAT, from_pools
from trajflow.ood.shifts.shift import Shift as Shift
from trajflow.ood.shifts.shift import World as World

KINDS = (sensing, timing, gaps, space, crowding)


def available(world: World | None = None) -> dict[str, Shift]:
    """Shifts by name and severity ("noise-2"), mildest first.

    Args:
        world: Its pools of other windows make shifts too; None: only those that need none.
    """
    found = [shift for kind in KINDS for shift in kind.SHIFTS]
    return {shift.key: shift for shift in found + from_pools(world or World())}


def chosen(world: World, names: Iterable[str] = ()) -> list[Shift]:
    """The shifts of some names, all severities of "noise" or one as "noise-2"; no names: all.

    Raises:
        ConfigError: There is no such shift, or these tracks have none.
    """
    found, wanted = available(world), list(names)
    check_names(wanted, found.values())
    return [s for s in found.values() if not wanted or s.name in wanted or s.key in wanted]


def check_names(names: Iterable[str], shifts: Iterable[Shift]) -> None:
    """Refuse names of shifts that are not among these.

    Raises:
        ConfigError: With the nearest name, or why a known shift is not here.
    """
    known = {name for shift in shifts for name in (shift.name, shift.key)}
    for name in names:
        if name in WHAT and name not in known:
            raise ConfigError(
                f"shift {name!r} needs {WHAT[name]}, and these tracks have none; "
                "leave it out or give --against OTHER.zarr"
            )
        if name not in known:
            raise ConfigError(did_you_mean("shift", name, sorted(known)))
