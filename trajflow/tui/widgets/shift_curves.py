"""What a report says of a shift, as curves: ROC and error retention."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trajflow.tui.widgets.curves import Curve

ROC = {"surprise": "surprise", "unaware": "unaware", "floor steps": "floor"}
RETENTION = {"surprise": "surprise", "risk": "risk", "oracle": "best"}


def roc_curves(shift: Mapping[str, Any]) -> list[Curve]:
    """Share of shifted windows found over that of ordinary ones flagged; chance is faint."""
    chance = np.array([0.0, 1.0])
    curves = [Curve("chance", chance, chance, faint=True)]
    for name, told in ROC.items():
        if name in shift.get("roc", {}):
            x, y = np.array(shift["roc"][name]).T
            curves.append(Curve(told, x, y))
    return curves


def retention_curves(one: Mapping[str, Any]) -> list[Curve]:
    """Mean energy score of those kept over the share that is kept, least first."""
    found = one.get("curves", {})
    if "kept" not in found:
        return []
    kept = np.array(found["kept"])
    late = kept >= MOST
    return [
        Curve(told, kept[late], np.array(found[name])[late])
        for name, told in RETENTION.items()
        if name in found
    ]


MOST = 0.1
"""Fewer windows than this share are too few for a mean that one can look at."""
