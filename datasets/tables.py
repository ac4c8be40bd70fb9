"""Tables kept beside the tracks in a store, such as the rows that an import set aside."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from trajflow.datasets.chunks import Hint, check_array, read_runs
from trajflow.datasets.column import Column
from trajflow.datasets.schema import Spec
from trajflow.datasets.seal import Seal, damaged
from trajflow.errors import DataError
from trajflow.foreign import parse_json

_TYPES = {"f": "<f8", "i": "<i8", "u": "<i8", "b": "|i1"}
_STORED = {"float64": "<f8", "int64": "<i8", "int8": "|i1"}


class TableWriter:
    """A table under construction: columns of numbers, and of text as codes with names."""

    def __init__(self, group: zarr.Group, name: str) -> None:
        self._group = group.create_group(name)
        self._name = name
        self._columns: dict[str, Column] = {}
        self._names: dict[str, dict[str, int]] = {}
        self._rows = 0

    def append(self, columns: Mapping[str, ArrayLike | Sequence[str]]) -> None:
        """Add rows to all columns; the first call names the columns.

        Raises:
            DataError: Columns are missing, new or not of one length.
        """
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        if not any(map(len, arrays.values())):
            return
        if not self._columns:
            for name, values in arrays.items():
                self._begin(name, values)
        lengths = {len(values) for values in arrays.values()}
        if set(arrays) != set(self._columns) or len(lengths) != 1:
            raise DataError(
                f"table {self._name!r} takes columns {sorted(self._columns)} of one length, "
                f"got { ({name: len(values) for name, values in arrays.items()}) }"
            )
        for name, values in arrays.items():
            known = self._names.get(name)
            if known is not None:
                values = np.array([known.setdefault(str(v), len(known)) for v in values], np.int64)
            self._columns[name].append(values)
        self._rows += lengths.pop()

    def close(self) -> None:
        """Write what is held, and the names behind the codes."""
        for name, column in self._columns.items():
            column.close()
            if name in self._names:
                column.describe({"names": list(self._names[name])})
        self._group.attrs["rows"] = self._rows

    def _begin(self, name: str, values: NDArray[Any]) -> None:
        if not name.isidentifier():
            raise DataError(f"a column cannot be called {name!r}; choose another name")
        if values.dtype.kind not in _TYPES:
            self._names[name] = {}
        dtype = _TYPES.get(values.dtype.kind, "<i8")
        self._columns[name] = Column(self._group, name, Spec(dtype, "row"))


def table_names(seal: Seal) -> list[str]:
    """Names of the tables of a store."""
    depth = (file.split("/") for file in seal.files)
    return sorted({parts[0] for parts in depth if len(parts) == 3 and parts[2] == "zarr.json"})


def read_table(seal: Seal, table: str, hint: Hint) -> dict[str, NDArray[Any]]:
    """The columns of a table, [N] each, text as strings.

    Raises:
        DataError: A file is damaged.
    """
    file = f"{table}/zarr.json"
    node = _described(seal, file)
    rows = node["attributes"].get("rows")
    if type(rows) is not int or rows < 0:
        raise damaged(seal.folder / file, "does not describe a table")
    found = {}
    for path in seal.files:
        parts = path.split("/")
        if parts[0] == table and len(parts) == 3 and parts[2] == "zarr.json":
            found[parts[1]] = _read_column(seal, f"{table}/{parts[1]}", rows, hint)
    return found


def _read_column(seal: Seal, name: str, rows: int, hint: Hint) -> NDArray[Any]:
    file = f"{name}/zarr.json"
    node = _described(seal, file)
    spec = Spec(_STORED.get(str(node.get("data_type")), "none"), "row")
    names = node["attributes"].get("names")
    if spec.dtype == "none" or not (names is None or _are_names(names)):
        raise damaged(seal.folder / file, "does not describe a column")
    check_array(seal, name, spec, rows)
    values = read_runs(seal, name, spec, [(0, rows)], hint)
    if names is None:
        return values
    if spec.dtype != "<i8" or not rows or values.min() < 0 or values.max() >= len(names):
        raise damaged(seal.folder / file, "does not have a name for every code")
    texts: NDArray[Any] = np.array(names, object)[values]
    return texts


def _described(seal: Seal, file: str) -> dict[str, Any]:
    """What a zarr.json says, with its attributes."""
    raw = seal.read(file)
    try:
        node: dict[str, Any] = parse_json(raw)
        if isinstance(node["attributes"], dict):
            return node
    except (ValueError, KeyError, TypeError):
        pass
    raise damaged(seal.folder / file, "describes nothing")


def _are_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
