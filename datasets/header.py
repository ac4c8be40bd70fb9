"""The attributes of a store: what they are and how they are read and refused."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from trajflow.datasets.schema import AXES, CONVENTIONS, FORMAT
from trajflow.datasets.seal import Seal, damaged, read_plain
from trajflow.errors import DataError
from trajflow.foreign import parse_json

GROUP = "zarr.json"


class Header(BaseModel):
    """The attributes of a store, checked.

    Attributes:
        trajflow_format: Version of this layout; another major number cannot be read.
        dims: Number of coordinates of a position, D.
        dt: Seconds per step.
        unit: Unit of the coordinates ("m", "px", "degree", ...).
        source, licence, history: Where the tracks come from, under which terms, by which command.
        inputs: Every file read, with its name, sha256 and bytes.
        rows, trajectories: Number of observations and of (scene, agent) pairs.
        scenes, splits, types: Names behind the codes of the arrays of these names.
        split_rows: Observations of each split.
        type_counts: Trajectories of each type.
        bounds: Lowest and highest coordinate of each axis.
        duration: Recorded seconds, summed over scenes.
        folds: Test scenes of each leave-one-out fold; None where each scene is its own fold.
        content: sha256 of the values of each column, whatever their chunks and compression.
        report: What the import found and did.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    trajflow_format: str = FORMAT
    dims: Literal[2, 3]
    dt: PositiveFloat
    unit: str
    source: str = ""
    licence: str = ""
    history: str = ""
    inputs: list[dict[str, Any]] = []
    rows: PositiveInt
    trajectories: PositiveInt
    scenes: list[str]
    splits: list[str]
    types: list[str]
    split_rows: list[int]
    type_counts: list[int]
    bounds: list[tuple[float, float]]
    duration: NonNegativeFloat
    folds: dict[str, list[str]] | None = None
    content: dict[str, str]
    report: dict[str, Any] = {}

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
            raise ValueError("folds name scenes that are not there")
        return self

    def summary(self) -> dict[str, Any]:
        """What the store holds, in numbers."""
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

    def counted(self, name: str) -> int:
        """A count that the import reported; 0 if it did not."""
        value = self.report.get(name)
        return value if isinstance(value, int) and value > 0 else 0

    def set_apart(self) -> dict[str, int]:
        """Rows that the import set apart, by reason."""
        found = self.report.get("quarantined")
        kinds = found.items() if isinstance(found, dict) else ()
        return {name: count for name, count in kinds if isinstance(count, int) and count > 0}

    def fingerprint(self) -> str:
        """A sha256 that two stores share if and only if they hold the same tracks.

        It covers values, names, dt, unit and folds, whatever the chunks and the compression; it
        leaves out where the tracks came from and what the import reported.
        """
        same = {"trajflow_format", "dims", "dt", "unit", "scenes", "splits", "types", "folds"}
        chosen = self.model_dump(mode="json", include=same | {"content"})
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()

    def attributes(self) -> dict[str, Any]:
        """The attributes as they are written.

        Raises:
            DataError: The report or the inputs hold something that JSON cannot.
        """
        attrs = self.model_dump(exclude_none=True)
        try:
            json.dumps(attrs, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"report and inputs must be plain JSON values: {error}") from error
        return {"Conventions": CONVENTIONS, "featureType": "trajectory"} | attrs


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of a folder that claims to be a store this version can read.

    Raises:
        DataError: It is no store, or one of another format.
    """
    attrs = _group_attributes(folder)
    if "trajflow_format" not in attrs:
        raise DataError(f"{folder / GROUP} is not of a store of trajflow; import the data")
    version = str(attrs["trajflow_format"])
    if version.split(".")[0] != FORMAT.split(".")[0]:
        raise DataError(
            f"{folder / GROUP} has format {version}, this trajflow reads {FORMAT}; "
            "update trajflow or import the data again"
        )
    return attrs


def read_header(seal: Seal, attrs: dict[str, Any]) -> Header:
    """The attributes as a checked whole.

    Raises:
        DataError: They were changed since the store was written, or make no sense.
    """
    seal.read(GROUP)
    return parse_header(seal.folder, attrs)


def parse_header(folder: Path, attrs: dict[str, Any]) -> Header:
    """The attributes as they stand, whether or not they were changed.

    Raises:
        DataError: They make no sense.
    """
    try:
        return Header.model_validate(attrs)
    except (ValidationError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "too deep"
        raise damaged(folder / GROUP, f"has impossible attributes ({why})") from error


def is_store(path: Path) -> bool:
    """Whether a folder says that it is a store of trajflow, damaged or not."""
    try:
        return "trajflow_format" in _group_attributes(path)
    except DataError:
        return False


def _check_names(names: list[str]) -> None:
    """Refuse names that cannot be told apart or be written."""
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    "".join(names).encode()


def _group_attributes(folder: Path) -> dict[str, Any]:
    file = folder / GROUP
    if not file.is_file():
        raise DataError(f"{folder} is not a store of trajflow: it has no {GROUP}; import the data")
    raw = read_plain(file, "")
    try:
        attrs = parse_json(raw)["attributes"]
    except (ValueError, KeyError, TypeError):
        attrs = None
    if not isinstance(attrs, dict):
        raise damaged(file, "does not describe a group")
    return attrs
