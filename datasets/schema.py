"""The format of a store: its arrays and attributes.

A store is a zarr v3 group in the CF contiguous ragged layout: one column per variable over all
observations, and `rowsize` is the number of consecutive rows of each trajectory. Rows are
sorted by scene, trajectory, time, so a scene is one contiguous block of rows. Coordinates are
float64: at UTM northings (5e6 m) float32 resolves half a metre and at 1e2 degrees one metre.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from trajflow.errors import DataError
from trajflow.types import Bools, Floats, Ints

FORMAT = "1.0"
CONVENTIONS = "CF-1.12"
CHUNK = 65_536
GROUP = "zarr.json"
AXES = ("x", "y", "z")
# What a column of a table of positions can mean
Canonical = Literal["scene", "agent", "type", "time", "frame", "x", "y", "z", "split"]
MAX_SPLITS = 127
TOLERANCE = 0.25  # Share of dt by which a time may miss its whole step
ROWS = "obs"
TRAJECTORIES = "trajectory"
_LARGEST_STEP = 2.0**53

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

    `trajectory_id` is the agent's id in the file, unique inside a scene only (so it has no
    cf_role). If ids are text it counts trajectories, and the text is in `label_bytes`, divided by
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


@dataclass(frozen=True)
class TrackBlock:
    """Whole trajectories of one scene; tracks are written in such blocks.

    Attributes:
        scene: Name of the recording.
        labels: The id of each trajectory's agent in the file, K integers or K strings.
        types: Type of each agent ("pedestrian", "ship", ...), K strings.
        rowsize: Rows of each trajectory, [K].
        time: Seconds since the scene's start, increasing inside a trajectory, [N].
        position: World coordinates, [N, D], in the store's unit.
        split: Split of each row ("train", "val", "test"), N strings, or one string for all rows.
    """

    scene: str
    labels: list[int] | list[str]
    types: list[str]
    rowsize: NDArray[np.int64]
    time: NDArray[np.float64]
    position: NDArray[np.float64]
    split: NDArray[np.str_] | str = "all"


@dataclass(frozen=True)
class Tracks:
    """N observations of K trajectories, sorted by trajectory, then by step.

    Attributes:
        position: World coordinates, [N, D], in the store's unit.
        step: Time in whole steps of the store's dt, [N].
        split: Code of the stored split of each row, [N]; names are in `splits`.
        track: Which trajectory each row belongs to, [N].
        scene: Index of each trajectory's recording in `scenes`, [K].
        agent: Number of each trajectory's agent, unique in the store, [K].
        kind: Code of each agent's type, [K]; names are in `types`.
        scenes, splits, types: The names behind the codes.
        dt: Seconds per step.
    """

    position: NDArray[np.float64]
    step: NDArray[np.int64]
    split: NDArray[np.int8]
    track: NDArray[np.int64]
    scene: NDArray[np.int64]
    agent: NDArray[np.int64]
    kind: NDArray[np.int64]
    scenes: list[str]
    splits: list[str]
    types: list[str]
    dt: float


class Header(BaseModel):
    """The attributes of a store, checked."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    trajflow_format: str = FORMAT  # version of this layout; another major number cannot be read
    dims: Literal[2, 3]  # number of coordinates of a position, D
    dt: PositiveFloat  # seconds per step
    unit: str  # unit of the coordinates ("m", "px", "degree", ...)
    # Where the tracks come from, under which terms, by which command
    source: str = ""
    licence: str = ""
    history: str = ""
    inputs: list[dict[str, Any]] = []  # every file read, with its name, sha256 and bytes
    rows: PositiveInt  # observations
    trajectories: PositiveInt
    scenes: list[str]  # names behind the codes, as splits and types
    splits: list[str]
    types: list[str]
    split_rows: list[int]  # observations of each split
    type_counts: list[int]  # trajectories of each type
    bounds: list[tuple[float, float]]  # lowest and highest coordinate of each axis
    duration: NonNegativeFloat  # recorded seconds, summed over scenes
    # Test scenes of each leave-one-out fold; None where each scene is its own fold
    folds: dict[str, list[str]] | None = None
    # Longitude and latitude around which each recording was projected to metres; None where it was
    # not
    centres: dict[str, tuple[float, float]] | None = None
    # sha256 of the values of each column, whatever their chunks and compression
    content: dict[str, str]
    report: dict[str, Any] = {}  # the report of the import

    @model_validator(mode="after")
    def _agree(self) -> Self:
        pairs = ((self.splits, self.split_rows), (self.types, self.type_counts))
        if any(len(names) != len(counts) for names, counts in pairs):
            raise ValueError("splits or types have names without counts")
        if len(self.bounds) != self.dims:
            raise ValueError("bounds do not have one entry per axis")
        for names in (self.scenes, self.splits, self.types):
            _check_names(names)
        if not set().union(*(self.folds or {}).values()) <= set(self.scenes):
            raise ValueError("folds name scenes that do not exist")
        if self.centres is not None and set(self.centres) != set(self.scenes):
            raise ValueError("not every scene has a centre")
        if any(abs(x) > 180 or abs(y) > 90 for x, y in (self.centres or {}).values()):
            raise ValueError("a centre has no valid longitude and latitude")
        return self

    def summary(self) -> dict[str, Any]:
        """Counts and extents of the content."""
        return {
            "rows": self.rows,
            "trajectories": self.trajectories,
            "agents": dict(zip(self.types, self.type_counts, strict=True)),
            "scenes": len(self.scenes),
            "splits": dict(zip(self.splits, self.split_rows, strict=True)),
            "dims": self.dims,
            "dt": self.dt,
            "unit": self.unit,
            "bounds": {axis: list(ends) for axis, ends in zip(AXES, self.bounds, strict=False)},
            "duration": self.duration,
        }

    def reported_count(self, name: str) -> int:
        """A count in the report of the import; 0 if there is none."""
        value = self.report.get(name)
        return value if isinstance(value, int) and value > 0 else 0

    def clock(self, scene: str) -> float:
        """Seconds by which the import shifted the clock of a recording to whole steps."""
        clocks = self.report.get("clocks")
        shift = clocks.get(scene) if isinstance(clocks, dict) else None
        return float(shift) if isinstance(shift, (int, float)) else 0.0

    @property
    def origin(self) -> float | None:
        """The moment of time 0, seconds since 1970, where the import read dates."""
        value = self.report.get("origin")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def time_unit(self) -> float:
        """Seconds per unit of the times in the files that were imported."""
        value = self.report.get("time_unit")
        return float(value) if isinstance(value, (int, float)) and value > 0 else 1.0

    def quarantined(self) -> dict[str, int]:
        """Rows that the import quarantined, by reason."""
        result = self.report.get("quarantined")
        kinds = result.items() if isinstance(result, dict) else ()
        return {name: count for name, count in kinds if isinstance(count, int) and count > 0}

    def fingerprint(self) -> str:
        """A sha256 that two stores share if and only if they contain the same tracks.

        It covers values, names, dt, unit and folds, and is independent of chunks, compression,
        source and report.
        """
        same = {"trajflow_format", "dims", "dt", "unit", "scenes", "splits", "types", "folds"}
        same |= {"centres"} if self.centres is not None else set()
        chosen = self.model_dump(mode="json", include=same | {"content"})
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()

    def attributes(self) -> dict[str, Any]:
        """The attributes as they are written.

        Raises:
            DataError: The report or the inputs are no plain JSON values.
        """
        attrs = self.model_dump(exclude_none=True)
        try:
            json.dumps(attrs, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"report and inputs must be plain JSON values: {error}") from error
        return {"Conventions": CONVENTIONS, "featureType": "trajectory"} | attrs


def _check_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError("a name is repeated")
    "".join(names).encode()


def whole_steps(time: Floats, dt: float) -> Ints:
    """The nearest whole step of each time, [N], counted from the scene's time 0."""
    return np.asarray(np.rint(time / dt), np.int64)


class TimeFault(NamedTuple):
    """The first row with an invalid time, and the reason."""

    row: int
    what: str


def find_fault(time: Floats, begins: Bools, dt: float) -> TimeFault | None:
    """Find the first time, [N], that is not finite, not increasing or off the steps of dt.

    `begins` marks the first row of each trajectory; a time may miss its step by a quarter of dt.
    """
    later = ~begins[1:]
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.rint(time / dt)
        tests = (
            (~np.isfinite(time), "time {time} is not finite"),
            (later & (np.diff(time) <= 0), "time {time} s does not follow {before} s"),
            (~(np.abs(steps) <= _LARGEST_STEP), "time {time} s is too far for steps of {dt} s"),
            (np.abs(time / dt - steps) > TOLERANCE, "time {time} s lies between steps of {dt} s"),
            (later & (np.diff(steps) <= 0), "times {before} s and {time} s share a step of {dt} s"),
        )
    for bad, what in tests:
        if bad.any():
            row = int(bad.argmax()) + len(time) - len(bad)
            before = float(time[row - 1])
            return TimeFault(row, what.format(time=float(time[row]), before=before, dt=dt))
    return None


def first_rows(rowsize: NDArray[np.int64]) -> Bools:
    """Whether a row is the first of its trajectory, [N], from the rows of each, [K]."""
    begins = np.zeros(int(rowsize.sum()), np.bool_)
    begins[np.cumsum(rowsize) - rowsize] = True
    return begins


def check_block(
    block: TrackBlock, time: NDArray[Any], position: NDArray[Any], dims: int, dt: float
) -> None:
    """Refuse a block whose sizes, times [N] or positions [N, D], both without masks, are invalid.

    Errors name the scene and, if they concern one agent, its label.
    """
    _check_sizes(block, time, position, dims)
    fault = find_fault(time, first_rows(block.rowsize), dt)
    if fault is not None:
        raise DataError(
            f"{_where(block, fault.row)}: {fault.what}; times must increase and lie within a "
            "quarter of dt of a step: repair or resample the track, or give another dt"
        )
    bad = ~np.isfinite(position).all(-1)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{_where(block, row)}: position {position[row].tolist()} at "
            f"{time[row]} s is not finite; leave the row out"
        )


def _check_sizes(block: TrackBlock, time: NDArray[Any], position: NDArray[Any], dims: int) -> None:
    rows, count = len(time), len(block.rowsize)
    if not block.scene:
        raise DataError("a block has no scene name; name the recording it comes from")
    rules = {
        f"position must be [{rows}, {dims}]": position.shape == (rows, dims),
        f"time must be [{rows}]": time.shape == (rows,),
        f"labels must be {count}": len(block.labels) == count,
        f"types must be {count}": len(block.types) == count,
        f"rowsize must be whole positive numbers that sum to {rows}": count > 0
        and np.asarray(block.rowsize).dtype.kind in "iu"
        and int(np.min(block.rowsize)) > 0
        and int(np.sum(block.rowsize)) == rows,
        f"split must be one name or {rows}": isinstance(block.split, str)
        or np.shape(block.split) == (rows,),
    }
    violated = [rule for rule, holds in rules.items() if not holds]
    if violated:
        sizes = f"position {list(position.shape)}, time {list(time.shape)}"
        raise DataError(f"scene {block.scene!r}: {'; '.join(violated)}; got {sizes}")


def _where(block: TrackBlock, row: int) -> str:
    track = int(np.searchsorted(np.cumsum(block.rowsize), row, side="right"))
    return f"scene {block.scene!r}, agent {block.labels[track]!r}"
