"""Named objectives: each preset combines time distribution, tangent, lambda and loss."""

from dataclasses import dataclass, field

from trajflow.flow.objectives import (
    Curriculum,
    EnergyObjective,
    MeanFlowObjective,
    Tangent,
    TerminalObjective,
)
from trajflow.flow.time_samplers import AnchoredTimes, LogitNormalTimes


@dataclass(frozen=True)
class Preset:
    """A named objective.

    Attributes:
        summary: One line for help texts.
        flow_ratio: Share of events with r = t; 1 is flow matching.
        tangent: As in `MeanFlowObjective`.
        curriculum: lambda along the training.
        anchored: Whether r is always 0.
        kind: Class of the objective.
    """

    summary: str
    flow_ratio: float = 0.5
    tangent: Tangent = "marginal"
    curriculum: Curriculum = field(default_factory=lambda: Curriculum(0.0, 0.0))
    anchored: bool = False
    kind: type[MeanFlowObjective] = MeanFlowObjective

    @property
    def average(self) -> bool:
        """Whether u is trained with r < t; else only u(x, t, t) can be used."""
        return self.flow_ratio < 1

    def objective(
        self, times: LogitNormalTimes | None = None, power: float = 0.0
    ) -> MeanFlowObjective:
        """The objective; `times` sets the distribution of t and r."""
        times = times or LogitNormalTimes(self.flow_ratio)
        return self.kind(
            times=AnchoredTimes(times.t_mean, times.t_std) if self.anchored else times,
            curriculum=self.curriculum,
            tangent=self.tangent,
            power=power,
        )


PRESETS = {
    "mmf": Preset(
        "Modular MeanFlow with the marginal tangent, lambda from 0 to 1",
        curriculum=Curriculum(0.0, 1.0),
    ),
    "mmf-paper": Preset(
        "Modular MeanFlow as published: the path's own tangent, lambda from 0 to 1",
        tangent="path",
        curriculum=Curriculum(0.0, 1.0),
    ),
    "meanflow": Preset("MeanFlow: the path's own tangent, lambda 0", tangent="path"),
    "consistency": Preset(
        "consistency training: every interval ends at the data", tangent="path", anchored=True
    ),
    "terminal": Preset(
        "terminal velocity matching: the end of a step moves as the flow does",
        kind=TerminalObjective,
    ),
    "energy": Preset(
        "energy score of one-step draws, with a share of Modular MeanFlow",
        curriculum=Curriculum(0.0, 1.0),
        kind=EnergyObjective,
    ),
    "flow": Preset("flow matching: r = t, needs many steps", flow_ratio=1.0, tangent="path"),
}
