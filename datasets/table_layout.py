"""How the table of a store was read, so that a run can read the next one alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from trajflow.datasets.store import Store
from trajflow.errors import RunError

Canonical = Literal["scene", "agent", "type", "time", "frame", "x", "y", "z", "split"]


class TableLayout(BaseModel):
    """How the table was read that a run was trained on.

    Attributes:
        columns: Name in the table of each canonical column.
        scale: What positions were multiplied by; None: nothing.
        row_interval: Usual time between two rows of an agent, in seconds, or in frames where the
            table counts frames.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    columns: dict[Canonical, Annotated[str, Field(max_length=1000)]]
    scale: PositiveFloat | None = None
    row_interval: PositiveFloat | None = None

    @classmethod
    def of_store(cls, store: Store) -> Self | None:
        """How the table of a store was read; None for a store of another origin."""
        report = store.header.report
        if not report.get("columns"):
            return None
        try:
            return cls.model_validate(report)
        except ValidationError:
            return None

    @classmethod
    def of_run(cls, facts: Mapping[str, Any]) -> Self:
        """How the table of a run was read; without columns if it was not trained on one.

        Raises:
            RunError: The run says nonsense of it.
        """
        try:
            return cls.model_validate(facts.get("table") or {"columns": {}})
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise RunError(f"the run does not say how its table was read ({why})") from None
