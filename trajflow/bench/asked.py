"""What a measurement is asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """Terms of a measurement.

    Attributes:
        agents: Numbers of agents that are forecast in one call.
        neighbours: Others around them.
        samples: Futures of each agent.
        threads: Numbers of threads.
        draws: Draws that a set is chosen of.
        seconds: For each case, in turns with the others.
        hog: Busy processes beside it; 0 for none.
        data: A store to score forecasts on.
        windows: Target agents that are scored.
        batch: Target agents of a training step.
    """

    agents: tuple[int, ...] = (1, 64)
    neighbours: int = 60
    samples: int = 20
    threads: tuple[int, ...] = (1,)
    draws: int = 400
    seconds: float = 2.0
    hog: int = 0
    data: Path | None = None
    windows: int = 1000
    batch: int = 256
