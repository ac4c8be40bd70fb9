"""What is drawn on a map, what is pointed at, and what agents are called there."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Literal

import numpy as np

from trajflow.batch import Floats
from trajflow.browsing.view import View
from trajflow.text import safe, width

NAMES = ascii_letters[26:] + ascii_letters[:26] + digits


@dataclass(frozen=True)
class Layers:
    """What is drawn.

    Attributes:
        samples: As shading, as single paths, or not.
        truth: What happened.
        neighbours: Who is not forecast.
        regions: Discs that hold a share of the futures.
        axes: Marks of the coordinates, and a scale.
    """

    samples: Literal["density", "paths", "none"] = "density"
    truth: bool = True
    neighbours: bool = True
    regions: bool = False
    axes: bool = True


@dataclass(frozen=True)
class Pointing:
    """What is pointed at.

    Attributes:
        agent: The agent that stands out; None: all alike.
        step: Past step of this agent that is being changed, if any.
        sample: A sample that stands out, with its agent first, if any.
        moment: Future steps played so far, not necessarily whole; None: all at once.
        stored: The agent's past as it was before a change, [T, D], drawn faintly.
    """

    agent: int | None = None
    step: int | None = None
    sample: tuple[int, int] | None = None
    moment: float | None = None
    stored: Floats | None = None


ALL, NOTHING = Layers(), Pointing()


def narrow(text: str, limit: int = 40) -> str:
    """A string of letters of one column each, that a terminal only shows; others become ?."""
    return "".join(one if width(one) == 1 else "?" for one in safe(text, limit))


def letter(view: View, agent: int) -> str:
    """What an agent is called on the map; targets come first, neighbours are all called o."""
    if not view.target[agent]:
        return "o"
    order = int(np.count_nonzero(view.target[:agent]))
    return NAMES[order] if order < len(NAMES) else "*"
