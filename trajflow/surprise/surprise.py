"""What a run knows of the ordinary, and how strange other pasts are to it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trajflow.surprise.features import risk_features, track_features
from trajflow.surprise.forest import Forest
from trajflow.surprise.kinds import Kinds
from trajflow.surprise.ranks import Ranks
from trajflow.surprise.risk import Risk
from trajflow.surprise.scores import State, load
from trajflow.surprise.scores.neighbours import components
from trajflow.surprise.sight import Sight, Viewer, look
from trajflow.surprise.strangeness import Strangeness
from trajflow.types import Bools, Floats

EXPOSURE = "faults"
"""Name of the score that was learned from known faults."""
NOVELTY = ("mahalanobis", "neighbours")
"""Scores that know nothing of faults, for those that nobody thought of."""
TOLD = ("missing", "repeated", "filled", "glitch", "pace", "roughness", *NOVELTY)
"""Scores that explain most, in this order; what the track itself shows is told first."""
STRANGE = 0.95
"""Surprise above which a reason is given."""


@dataclass(frozen=True)
class Origin:
    """What a surprise was fitted with.

    Attributes:
        learned: People of the training part that scores were fitted on.
        people: People of the validation part it was calibrated on.
        left_out: People of the validation part it was not, because the run has trained on them.
        independent: Whether none of the people had a part in choosing weights or temperature.
        windows: Their windows.
        seed: Seed of the faults.
        store: Fingerprint of the tracks.
        weights: SHA-256 of the weights file.
        dt: Seconds per step; 0 if nobody said.
        unit: Unit of the tracks.
        evaluations: Network evaluations of the draws whose error is expected; 0: not recorded.
        temperature: Deviation of their noise.
    """

    learned: int = 0
    people: int = 0
    left_out: int = 0
    independent: bool = False
    windows: int = 0
    seed: int = 0
    store: str = ""
    weights: str = ""
    dt: float = 0.0
    unit: str = ""
    evaluations: int = 0
    temperature: float = 1.0


@dataclass(frozen=True)
class Made:
    """Everything that was fitted on training people.

    Attributes:
        states: What each score has learned.
        forest: Tells faulty tracks from ordinary ones.
        kinds: Tells which fault it is.
    """

    states: Mapping[str, State]
    forest: Forest
    kinds: Kinds

    def values(self, sight: Sight) -> dict[str, Floats]:
        """What each score says of N agents, [N] by name; the larger the stranger."""
        told = {name: load(name).values(state, sight) for name, state in self.states.items()}
        return {**told, EXPOSURE: self.forest(track_features(sight.motion))}

    def outlook(self, values: Mapping[str, Floats], sight: Sight) -> Floats:
        """What tells how well N agents can be forecast, [N, ...], of `values` [N] and the sight."""
        return risk_features(values, components(self.states["neighbours"], sight), sight)


@dataclass(frozen=True)
class Surprise:
    """Scores that were fitted on training people, and their ranks among validation people.

    Attributes:
        made: The scores.
        held: Ranks of those to combine among training people they were not fitted on.
        parts: Ranks of each score among validation people.
        whole: Ranks of the combination among validation people.
        usual: The same in a usual recording of theirs, see `Ranks.usual`.
        risk: Tells the energy score to expect.
        origin: What it was fitted with.
    """

    made: Made
    held: Mapping[str, Ranks]
    parts: Mapping[str, Ranks]
    whole: Ranks
    usual: Ranks
    risk: Risk
    origin: Origin

    def of(self, viewer: Viewer, past: Floats, target: Bools) -> Strangeness:
        """How strange the N targets are, in the order of `np.nonzero(target)`.

        Args:
            viewer: The model it was fitted for, however it is computed.
            past: World positions, [B, A, T, D]; NaN where not seen.
            target: Whose strangeness is asked for, [B, A].
        """
        return self.judge(look(viewer, past, target, self.origin.dt, self.origin.unit))

    def judge(self, sight: Sight) -> Strangeness:
        """How strange N agents are by what there is to see of them."""
        values = self.made.values(sight)
        parts = {name: self.parts[name].below(one) for name, one in values.items()}
        rare = combined(self.held, values)
        score, usual = self.whole.below(rare), self.usual.below(rare)
        expected = self.risk(self.made.outlook(values, sight))
        reasons = self._reasons(sight, score, parts)
        return Strangeness(score, parts, tuple(reasons), sight.motion.usual * expected, usual)

    def _reasons(self, sight: Sight, score: Floats, parts: Mapping[str, Floats]) -> list[str]:
        """What is strange about each of N agents, in words; "" of one that is not."""
        strange = np.flatnonzero(score > STRANGE)
        some, reasons = sight.take(strange), [""] * len(sight)
        if not len(strange):
            return reasons
        states = self.made.states
        said = {name: load(name).reasons(state, some) for name, state in states.items()}
        likest = self.made.kinds.said(track_features(some.motion))
        for place, row in enumerate(strange):
            told = [said[name][place] for name in _telling(parts, int(row))]
            if parts[EXPOSURE][row] > STRANGE or not told:
                told.append(likest[place])
            reasons[row] = "; ".join(told)
        return reasons


def _telling(parts: Mapping[str, Floats], row: int) -> list[str]:
    """The three scores that best explain one agent's strangeness; fewer if it is not theirs."""
    high = [name for name in parts if name != EXPOSURE and parts[name][row] > STRANGE]

    def order(name: str) -> tuple[bool, float, int]:
        place = TOLD.index(name) if name in TOLD else len(TOLD)
        return place >= TOLD.index(NOVELTY[0]), -round(float(parts[name][row]), 2), place

    return sorted(high, key=order)[:3]


def combined(held: Mapping[str, Ranks], values: Mapping[str, Floats]) -> Floats:
    """How strange agents are by all scores, [N]; only the order counts.

    The rarest of what the scores say, in which those that know nothing of faults must be rarer.
    """
    rare = {name: -np.log1p(-ranks.below(values[name]) + 1e-12) for name, ranks in held.items()}
    novel = np.max([rare[name] for name in NOVELTY if name in rare], axis=0)
    return np.asarray(np.maximum(rare[EXPOSURE], novel - PENALTY))


PENALTY = np.log(4)
"""By how much rarer; what it costs to look twice more."""
