"""Maps the columns of a table to canonical ones, by the user's choice or by their names."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from trajflow.errors import DataError, RunError

if TYPE_CHECKING:
    from trajflow.datasets.store import Store

Canonical = Literal["scene", "agent", "type", "time", "frame", "x", "y", "z", "split"]
CANONICAL: tuple[str, ...] = get_args(Canonical)
_NAMES = {
    "scene": "scene scene_id recording recording_id sequence sequence_id video video_id episode "
    "episode_id game_id match_id",
    "agent": "agent agent_id track_id trackid track trajectory trajectory_id traj_id object_id "
    "obj_id pedestrian_id ped_id person_id person pedestrian vehicle_id vehicle mmsi icao24 "
    "player_id player vessel_id vessel ship_id ship boat_id boat animal_id animal device_id "
    "individual_local_identifier tag_local_identifier individual_id individual tag_id id",
    "type": "type agent_type object_type vehicle_type class category",
    "time": "time t t_seconds time_s time_seconds seconds timestamp time_stamp datetime date_time "
    "basedatetime utc time_ms timestamp_ms t_ms time_us timestamp_us time_ns timestamp_ns",
    "frame": "frame frame_id frameid frame_number framenumber frame_index fr",
    "z": "z pos_z position_z z_m z_cm z_mm",
    "split": "split part subset",
}
_PLANES = (
    ("x", "y"),
    ("x_m", "y_m"),
    ("x_cm", "y_cm"),
    ("x_mm", "y_mm"),
    ("pos_x", "pos_y"),
    ("position_x", "position_y"),
    ("x_position", "y_position"),
    ("xcenter", "ycenter"),
    ("x_center", "y_center"),
    ("center_x", "center_y"),
    ("easting", "northing"),
    ("utm_x", "utm_y"),
    ("x_px", "y_px"),
    ("lon", "lat"),
    ("long", "lat"),
    ("lng", "lat"),
    ("longitude", "latitude"),
    ("location_long", "location_lat"),
)
_UNITS = {"lat": "degree", "latitude": "degree", "location_lat": "degree", "y_px": "px"}
_UNITS |= {"x_m": "m", "y_m": "m", "easting": "m", "northing": "m", "utm_y": "m"}
_UNITS |= {"y_cm": "cm", "y_mm": "mm"}
_SECONDS = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9, "s": 1.0, "sec": 1.0, "seconds": 1.0}


@dataclass(frozen=True)
class Mapped:
    """The columns of a table that are read."""

    names: dict[str, str]  # name in the file of each canonical column that the file has
    unit: str | None  # unit named by the columns of the coordinates, or None
    # Columns with the role in a leave-one-out fold, by the fold's name
    folds: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # sentences about guessed columns

    @property
    def seconds(self) -> float | None:
        """Seconds per unit of the time column, if its name has one, such as "timestamp_ms"."""
        return _SECONDS.get(plain(self.names.get("time", "")).rpartition("_")[2])


class TableLayout(BaseModel):
    """How a table was read, which a run was trained on."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    # Name in the table of each canonical column
    columns: dict[Canonical, Annotated[str, Field(max_length=1000)]]
    scale: PositiveFloat | None = None  # factor of all positions, or None
    # Typical time between two rows of an agent, in seconds, or in frames if the table counts frames
    row_interval: PositiveFloat | None = None
    # Longest gap in seconds interpolated across; None without resampling
    max_gap: PositiveFloat | None = None
    source: Annotated[str, Field(max_length=100)] = "table"  # the format
    projected: bool = False  # whether longitudes and latitudes were converted to metres per scene
    # Factor by axis for axes with a unit of their own
    factors: dict[Literal["x", "y", "z"], PositiveFloat] = {}
    # Settings of the reader: "encoding", "dates"
    settings: dict[str, Annotated[str, Field(max_length=100)]] = {}

    @classmethod
    def of_store(cls, store: "Store") -> Self | None:
        """How the table of a store was read; None if the store was not imported from a table."""
        report = store.header.report
        if not report.get("columns"):
            return None
        try:
            return cls.model_validate(report)
        except ValidationError:
            return None

    @classmethod
    def of_run(cls, facts: Mapping[str, Any]) -> Self:
        """How the table of a run was read; without columns if it was not trained on a table.

        Raises:
            RunError: The record of the run is invalid.
        """
        try:
            return cls.model_validate(facts.get("table") or {"columns": {}})
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise RunError(f"the run does not say how its table was read ({why})") from None


def map_columns(
    path: Path,
    chosen: Mapping[str, str],
    names: Sequence[str],
    dims: int | None = None,
    cells: Sequence[str] = (),
) -> Mapped:
    """Find the canonical columns among the `names` of a file.

    `chosen` are names, or numbers from 1, by canonical column, "" for none. `dims` are the
    coordinates to read; None reads z where it exists. `cells` are the first row of a file without a
    header line, and `path` is the file, for messages.

    Raises:
        DataError: A chosen column does not exist, or a required column is missing.
    """
    chosen = {canonical: _by_number(name, names) for canonical, name in chosen.items()}
    for canonical, name in chosen.items():
        _check_choice(path, canonical, name, names)
    result = {canonical: name for canonical, name in chosen.items() if name}
    _guess(result, names, {canonical for canonical, name in chosen.items() if not name})
    if dims == 2:
        result.pop("z", None)
    _check_complete(path, result, names, dims, cells)
    guessed = [f"{c} from {n!r}" for c, n in result.items() if c not in chosen]
    notes = [f"columns guessed: {', '.join(guessed)}"] if guessed else []
    unread = [n for n in names if n not in result.values() and not plain(n).startswith("fold_")]
    free = [f"{canonical}=NAME" for canonical in ("scene", "type", "z") if canonical not in result]
    if unread and free:
        notes.append(f"not read: {_listed(unread)}; --columns {' or '.join(free)} reads one")
    lowered = {plain(name): name for name in names}
    folds = {p.removeprefix("fold_"): n for p, n in lowered.items() if re.match("fold_.", p)}
    unit = _UNITS.get(plain(result["y"])) or _UNITS.get(plain(result["x"]))
    return Mapped(result, unit, folds if "scene" in result else {}, notes)


def names_places(cells: Sequence[str]) -> bool:
    """Whether a cell is a common name of a column of coordinates, times or frames."""
    names = {*_NAMES["time"].split(), *_NAMES["frame"].split()}.union(*_PLANES)
    return not {_joined(name) for name in names}.isdisjoint(map(_joined, cells))


def plain(name: str) -> str:
    """A column's name in lower case with single underscores, as in the lists above."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _by_number(name: str, names: Sequence[str]) -> str:
    """The column with a number from 1, unless a column has this name."""
    if name in names or not (name.isascii() and name.isdigit() and 0 < int(name) <= len(names)):
        return name
    return names[int(name) - 1]


def _guess(mapping: dict[str, str], names: Sequence[str], excluded: Set[str]) -> None:
    free = {_joined(name): name for name in reversed(names) if name not in mapping.values()}
    if "x" not in mapping and "y" not in mapping:
        planes = (tuple(map(_joined, plane)) for plane in _PLANES)
        pair = next((p for p in planes if p[0] in free and p[1] in free), None)
        mapping |= dict(zip("xy", (free[name] for name in pair), strict=True)) if pair else {}
    for canonical, common in _NAMES.items():
        if canonical in mapping or canonical in excluded:
            continue
        if canonical == "frame" and "time" in mapping:
            continue
        name = next((free[_joined(n)] for n in common.split() if _joined(n) in free), None)
        if name is not None and not (canonical == "time" and "frame" in mapping):
            mapping[canonical] = name


def _joined(name: str) -> str:
    """A column's name without underscores, so that "trackId" is "track_id"."""
    return plain(name).replace("_", "")


def _check_choice(path: Path, canonical: str, name: str, names: Sequence[str]) -> None:
    if canonical not in CANONICAL:
        raise DataError(
            f"no canonical column {canonical!r}{_near(canonical, CANONICAL)}; "
            f"choose from {', '.join(CANONICAL)}"
        )
    if names.count(name) > 1:
        raise DataError(f"{path} has two columns {name!r}; rename one")
    if name and name not in names:
        raise DataError(
            f"{path} has no column {name!r} for {canonical!r}{_near(name, names)}; "
            f"it has {_listed(names)}"
        )


def _check_complete(
    path: Path,
    mapping: Mapping[str, str],
    names: Sequence[str],
    dims: int | None,
    cells: Sequence[str],
) -> None:
    needed = ("agent", "x", "y", "z") if dims == 3 else ("agent", "x", "y")
    missing = [c for c in needed if c not in mapping]
    if "time" not in mapping and "frame" not in mapping:
        missing.append("time (or frame)")
    if missing and cells:
        raise DataError(
            f"{path} has no header line, it begins with the row {', '.join(cells)[:200]}; no "
            f"column is named for {', '.join(missing)}: give the number of each, for example "
            "--columns agent=1,time=2,x=3,y=4"
        )
    if missing:
        raise DataError(
            f"{path}: no column found for {', '.join(missing)}; it has {_listed(names)}; name "
            f"it: --columns {missing[0].split()[0]}=NAME"
        )
    if "time" in mapping and "frame" in mapping:
        raise DataError(f"{path}: both time and frame are given; give only one")
    for name in mapping.values():
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns {name!r}; rename one")
        if list(mapping.values()).count(name) > 1:
            raise DataError(f"{path}: column {name!r} is given twice; give each its own column")


def _near(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, 1) or [
        n for n in names if plain(n) == plain(name) and n != name
    ]
    return f"; did you mean {near[0]!r}?" if near else ""


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(repr(name) for name in names[:40])
    return f"the columns {text}" + (f" and {len(names) - 40} more" if len(names) > 40 else "")
