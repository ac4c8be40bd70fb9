"""What becomes of a training whose loss is not a number any more."""

from dataclasses import dataclass

from trajflow.errors import TrajflowError

SLOWED = 0.3
"""What the learning rate is multiplied with after the first time."""


class Diverged(TrajflowError):
    """The loss is not a number any more, for the second time."""

    exit_code = 1


@dataclass(eq=False)
class NotFinite(Exception):
    """A loss, a gradient or a validation that is not finite.

    Attributes:
        loss: What it was.
        step: The step that would have learned from it.
    """

    loss: float
    step: int

    def advice(self, folder: object, lr: float) -> str:
        """What to say to a user, of a run that had a learning rate."""
        return (
            f"loss is {self.loss} at step {self.step}; it was so before, and {SLOWED:g} of the "
            f"rate did not help. The weights of the last validation are kept in {folder}. "
            f"Lower train.lr (now {lr}) or flow.lambda_end, and look at the tracks with "
            "`trajflow doctor`"
        )
