"""What others reached, each with its source and in what its protocol differs."""

import tomllib
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Peer(BaseModel):
    """One figure of others.

    Attributes:
        method: What forecast.
        by: Who made it, and when.
        benchmark: Where it was judged.
        kind: "published" if it was read, "measured" if it was computed from what was released.
        source: Where it was read, or how it was measured.
        difference: In what its protocol differs from that of this project.
        samples, draws, selection: So many futures are judged, of so many, chosen so.
        selected_on: The part that its weights were chosen on.
        joint: Whether the best sample was chosen for a whole scene.
        folds: minADE and minFDE of each fold.
        energy: Energy score of each fold, where it is known.
        mean: Means of scores over the folds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = Field(min_length=1)
    by: str = Field(min_length=1)
    benchmark: str
    kind: Literal["published", "measured"]
    source: str = Field(min_length=1)
    difference: str = Field(min_length=1)
    samples: int = Field(ge=1)
    draws: int = Field(ge=1)
    selection: str
    selected_on: str
    joint: bool
    folds: dict[str, tuple[float, float]] = {}
    energy: dict[str, float] = {}
    mean: dict[str, float]

    def scores(self, fold: str) -> dict[str, float]:
        """Errors and energy score of a fold, as far as they are known."""
        errors = zip(("min_ade", "min_fde"), self.folds.get(fold, ()), strict=False)
        known = {"energy_score": self.energy[fold]} if fold in self.energy else {}
        return dict(errors) | known


def peers(benchmark: str | None = None) -> list[Peer]:
    """The figures of a benchmark, or of all, in the order of the file.

    Example:
        >>> from trajflow.benchmark.peers import peers
        >>> {peer.benchmark for peer in peers()} == {"ethucy", "sdd"}
        True
    """
    text = (files("trajflow.benchmark") / "peers.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)["peer"]
    found = [Peer.model_validate(row) for row in rows]
    return [peer for peer in found if benchmark in (None, peer.benchmark)]
