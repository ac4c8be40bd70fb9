"""Regions around forecasts as the command line asks for them, and a word on what they are worth."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from trajflow.cli.console import log

if TYPE_CHECKING:
    from trajflow.calibration import Calibration
    from trajflow.outlook import Futures


def with_regions(
    futures: Iterable["Futures"],
    calibration: "Calibration | None",
    level: float,
    path: bool,
    samples: int,
) -> tuple[Iterator["Futures"], dict[str, Any]]:
    """The forecasts with their regions, and facts about these to be kept with them.

    Args:
        futures: Forecasts, some agents at a time.
        calibration: That of the run, if it has one for such forecasts.
        level: Share of the futures that shall be inside.
        path: Whether all steps of a future shall be inside at once.
        samples: Draws of each forecast.
    """
    from trajflow.calibration import region_of

    steps: Literal["each", "path"] = "path" if path else "each"
    known = calibration if calibration is not None and calibration.serves(samples) else None
    if known is None:
        why = _why(calibration)
        log.warning("regions are not calibrated, but as wide as the samples say: %s", why)
    elif math.isinf(known.factor(level, steps).max()):
        few = "%d people are too few for a level of %g: radii are infinite; the highest is %g"
        log.warning(few, known.origin.people, level, known.highest)
    else:
        log.info("regions are calibrated on %d people", known.origin.people)
    facts = {"coverage": level, "region": steps, "calibrated": known is not None}
    return (
        replace(some, region=region_of(some.samples, level, steps, known)) for some in futures
    ), facts


def _why(calibration: "Calibration | None") -> str:
    if calibration is None:
        return "`trajflow calibrate RUN DATA` with the same --steps makes them hold"
    return f"the calibration of the run is for {calibration.origin.samples} samples or more"
