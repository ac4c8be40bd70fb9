"""Named changes of ordinary windows, graded by severity, one kind a file.

A new shift is a function in one of these files and an entry in its SHIFTS.
"""

from trajflow.ood.shifts import sensing
from trajflow.ood.shifts.shift import Shift as Shift
from trajflow.ood.shifts.shift import World as World

KINDS = (sensing,)


def available() -> dict[str, Shift]:
    """The shifts that need no other windows, by name and severity ("noise-2"), mildest first."""
    return {shift.key: shift for kind in KINDS for shift in kind.SHIFTS}
