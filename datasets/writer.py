"""Write tracks into a store as they come; the store appears whole at the end or not at all."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import ArrayLike
from pydantic import ValidationError

from trajflow.datasets.blocks import check_block
from trajflow.datasets.column import Column
from trajflow.datasets.contents import Contents
from trajflow.datasets.header import Header, is_store
from trajflow.datasets.placing import Placing
from trajflow.datasets.room import refusal, room_for
from trajflow.datasets.schema import AXES, flags, row_columns, trajectory_columns
from trajflow.datasets.seal import SEAL, seal
from trajflow.datasets.tables import TableWriter
from trajflow.datasets.tracks import TrackBlock
from trajflow.errors import DataError


class StoreWriter:
    """A store under construction; memory holds a few chunks of rows and what each trajectory is.

    Attributes:
        path: Where the store appears when the `with` block ends without an error.
        folds: Test scenes of each leave-one-out fold, or None.
        report: What the import found, stored with the tracks.

    Example:
        >>> import numpy as np, tempfile
        >>> from trajflow.datasets.store import open_store
        >>> from trajflow.datasets.tracks import TrackBlock
        >>> walk = TrackBlock("hall", [7], ["pedestrian"], np.array([3]),
        ...                   np.arange(3) * 0.4, np.ones((3, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with StoreWriter(f"{folder}/hall.zarr", dims=2, dt=0.4, unit="m") as writer:
        ...         writer.append(walk)
        ...     open_store(f"{folder}/hall.zarr").rows
        3
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        dims: int,
        dt: float,
        unit: str,
        source: str = "",
        licence: str = "",
        inputs: Sequence[Mapping[str, Any]] = (),
        folds: Mapping[str, Sequence[str]] | None = None,
        history: str = "",
        overwrite: bool = False,
    ) -> None:
        """Look whether a store may be written here.

        Args:
            path: Where the store shall be.
            dims: Coordinates of a position, D: 2 or 3.
            dt: Seconds per step.
            unit: Unit of the coordinates, "m", "px", "degree" or another name.
            source: Where the tracks come from.
            licence: Terms under which they may be used.
            inputs: Name, sha256 and bytes of every file read.
            folds: Test scenes of each leave-one-out fold; None: each scene is its own fold.
            history: The command that writes the store.
            overwrite: Whether a store already at the path is replaced, once this one is complete.

        Raises:
            DataError: The path is taken, or dims, dt or unit make no sense.
        """
        if dims not in (2, 3) or not 0 < dt < np.inf or not unit:
            raise DataError(
                f"dims must be 2 or 3, dt positive seconds and unit a name; "
                f"got dims={dims}, dt={dt}, unit={unit!r}"
            )
        self.path = Path(path)
        self.folds = folds
        self.report: Mapping[str, Any] = {}
        self._dims, self._dt, self._unit = dims, float(dt), unit
        self._told = {"source": source, "licence": licence, "history": history}
        self._inputs = [dict(entry) for entry in inputs]
        self._rows: dict[str, Column] = {}
        self._tables: dict[str, TableWriter] = {}
        self._placing = Placing(self.path, overwrite, is_store)

    def __enter__(self) -> Self:
        with room_for(self.path), ExitStack() as undo:
            folder = self._placing.open()
            undo.callback(self._placing.discard)
            self._group = zarr.create_group(str(folder), zarr_format=3)
            specs = row_columns(self._dims, self._unit)
            self._rows = {name: Column(self._group, name, spec) for name, spec in specs.items()}
            self._contents = Contents(self._dims)
            undo.pop_all()
        return self

    def append(self, block: TrackBlock) -> None:
        """Add whole trajectories of one scene, after those already there.

        A block that is refused leaves the store as it was, so more may follow.

        Raises:
            DataError: The block is not consistent, its times do not increase or lie off the grid
                of dt, a value is not finite, or its scene or agent has been closed before.
        """
        self._refuse_closed()
        check_block(block, self._dims, self._dt)
        codes = self._contents.add(block)
        self._rows["time"].append(block.time)
        self._rows["split"].append(codes)
        for axis, values in zip(AXES, np.asarray(block.position).T, strict=False):
            self._rows[axis].append(values)

    def append_table(self, name: str, columns: Mapping[str, ArrayLike | Sequence[str]]) -> None:
        """Add rows to a table beside the tracks, such as rows set aside by an import.

        Args:
            name: The table, for example "quarantine".
            columns: Numbers or texts, [N] each; the same names at every call.

        Raises:
            DataError: The name cannot be used, or the columns do not fit.
        """
        self._refuse_closed()
        if name not in self._tables:
            taken = {*self._rows, *trajectory_columns(text_labels=True), SEAL.split("/")[0]}
            if not name.isidentifier() or name in taken:
                raise DataError(f"a table cannot be called {name!r}; choose another name")
            self._tables[name] = TableWriter(self._group, name)
        self._tables[name].append(columns)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with room_for(self.path), ExitStack() as undo:
            undo.callback(self._placing.discard)
            if told := refusal(error, self.path):
                raise told from error
            if kind is None:
                self._finish()
                self._placing.commit()
                undo.pop_all()
            self._rows = {}

    def _finish(self) -> None:
        if not self._contents.rowsize:
            raise DataError(f"no tracks for {self.path}: nothing was appended; see the report")
        if len({column.rows for column in self._rows.values()}) != 1:
            raise DataError(f"{self.path}: an append was cut short; write the store again")
        columns = self._rows | self._trajectories()
        for column in columns.values():
            column.close()
        for table in self._tables.values():
            table.close()
        header = self._header({name: columns[name].sha256 for name in sorted(columns)})
        columns["split"].describe(flags(header.splits))
        columns["agent_type"].describe(flags(header.types))
        self._group.attrs.update(header.attributes())
        seal(self._placing.partial)

    def _trajectories(self) -> dict[str, Column]:
        values = self._contents.columns()
        columns = {}
        for name, spec in trajectory_columns("label_size" in values).items():
            columns[name] = Column(self._group, name, spec)
            columns[name].append(values[name])
        return columns

    def _refuse_closed(self) -> None:
        if not self._rows:
            raise DataError(f"{self.path} is not being written; append inside a 'with' block")

    def _header(self, content: dict[str, str]) -> Header:
        found = self._contents.summary()
        folds = None if self.folds is None else {k: list(v) for k, v in self.folds.items()}
        for fold, scenes in (folds or {}).items():
            unknown = sorted(set(scenes) - set(found["scenes"]))
            if unknown:
                raise DataError(f"fold {fold!r} names scenes that have no tracks: {unknown}")
        own = {"dims": self._dims, "dt": self._dt, "unit": self._unit, "folds": folds}
        more = {"inputs": self._inputs, "report": dict(self.report), "content": content}
        try:
            return Header.model_validate({**self._told, **own, **more, **found})
        except ValidationError as error:
            raise DataError(f"the store's attributes cannot be written: {error}") from error
