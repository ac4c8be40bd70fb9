"""The store's format: which arrays and attributes a folder of tracks holds, and what they mean.

A store is a zarr v3 group in the CF contiguous ragged layout: one column per variable over all
observations, and `rowsize` saying how many consecutive rows belong to each trajectory. Rows are
sorted by scene, trajectory, time, so a scene is one contiguous block of rows. Coordinates are
float64: at UTM northings (5e6 m) float32 resolves half a metre and at 1e2 degrees one metre.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FORMAT = "1.0"
CONVENTIONS = "CF-1.12"
CHUNK = 65_536
AXES = ("x", "y", "z")
MAX_SPLITS = 127
TOLERANCE = 0.25
"""Share of dt by which a time may miss its whole step."""
ROWS = "obs"
TRAJECTORIES = "trajectory"

_AXIS_NAMES = {
    "m": ("projection_x_coordinate", "projection_y_coordinate", "height"),
    "degree": ("longitude", "latitude", "height"),
}
_AXIS_UNITS = {"degree": ("degrees_east", "degrees_north", "m")}


@dataclass(frozen=True)
class Spec:
    """One stored array: its numpy type, its dimension and its CF attributes."""

    dtype: str
    dimension: str
    attrs: Mapping[str, Any] = field(default_factory=dict)


def row_columns(dims: int, unit: str) -> dict[str, Spec]:
    """The arrays with one entry per observation."""
    axes = AXES[:dims]
    columns = {axis: Spec("<f8", ROWS, _axis_attrs(axis, unit)) for axis in axes}
    seconds = {"units": "s", "standard_name": "time", "long_name": "time since the scene's start"}
    columns["time"] = Spec("<f8", ROWS, seconds)
    coordinates = {"coordinates": " ".join(("time", *axes))}
    columns["split"] = Spec("|i1", ROWS, {"long_name": "code of the row's part", **coordinates})
    return columns


def trajectory_columns(text_labels: bool) -> dict[str, Spec]:
    """The arrays with one entry per trajectory, and the text of labels that are no integers.

    `trajectory_id` is the source's own id, unique inside a scene only (so it has no cf_role);
    where ids are text it counts trajectories and the text lies in `label_bytes`, cut by
    `label_size`.
    """
    sizes = {"long_name": "rows of each trajectory", "sample_dimension": ROWS}
    columns = {
        "rowsize": Spec("<i8", TRAJECTORIES, sizes),
        "episode_ends": Spec("<i8", TRAJECTORIES, {"long_name": "row after each trajectory"}),
        "trajectory_id": Spec("<i8", TRAJECTORIES, {"long_name": "the source's id of the agent"}),
        "scene": Spec("<i8", TRAJECTORIES, {"long_name": "code of the recording"}),
        "agent_type": Spec("<i8", TRAJECTORIES, {"long_name": "code of the agent's type"}),
    }
    if text_labels:
        columns["label_size"] = Spec("<i8", TRAJECTORIES, {"long_name": "bytes of each label"})
        columns["label_bytes"] = Spec("|u1", "byte", {"long_name": "labels in UTF-8, joined"})
    return columns


def flags(names: Sequence[str]) -> dict[str, Any]:
    """The CF attributes that say what the codes 0, 1, ... mean."""
    meanings = " ".join(name.replace(" ", "_") for name in names)
    return {"flag_values": list(range(len(names))), "flag_meanings": meanings}


def _axis_attrs(axis: str, unit: str) -> dict[str, str]:
    index = AXES.index(axis)
    attrs = {"units": _AXIS_UNITS.get(unit, (unit,) * 3)[index], "axis": axis.upper()}
    if unit in _AXIS_NAMES:
        attrs["standard_name"] = _AXIS_NAMES[unit][index]
    return attrs
