"""How strange pasts are to a trained run, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from trajflow.types import Bools, Floats


@dataclass(frozen=True)
class Strangeness:
    """How unlike everything a run has learned from each of N pasts is.

    Attributes:
        score: Share of validation people who are less strange, [N], above 0 and at most 1. Of new
            people like those, about one in twenty has more than 0.95.
        parts: The same by each score alone, [N] by name.
        reasons: What is strange about each past, in words; "" of one that is not.
        usual: The same share among people of a usual recording, [N]. Where one recording is unlike
            the others, by its clock or its noise, its people are most of those with a score above
            0.95; elsewhere this share finds more, but of new people of that recording it may call
            most strange.
        risk: Energy score that is to be expected of a forecast from it, [N], in the unit of the
            tracks. A strange past may be easy to forecast from, and an ordinary one hard.
    """

    score: Floats
    parts: Mapping[str, Floats]
    reasons: tuple[str, ...]
    risk: Floats
    usual: Floats

    def strange(self, level: float = 0.95) -> Bools:
        """Whether more than so many validation people are less strange, [N]."""
        return self.score > level
