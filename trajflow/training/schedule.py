"""The learning rate of each update, and when a training ends: updates, time limit, patience."""

import logging
import math
import time

from trajflow.config import TrainConfig
from trajflow.training import distributed
from trajflow.training.plan import seconds_after

OVERRUN = 1.1
"""What would end later than a tenth after the time limit is left out."""
REPLAN_BELOW = 0.97
"""The number of updates is lowered when less than this share of them fits the time limit."""
log = logging.getLogger("trajflow")


class Schedule:
    """When a training updates, validates and ends.

    Attributes:
        updates_per_epoch: Updates in an epoch.
        total: Updates of the whole training; lowered when they are too slow for the time limit.
        validate_every: Updates between two validations.
        lr_factor: Multiplies the learning rate; below 1 after a loss was not finite.
        seconds_before: Seconds of earlier parts of the training; they count for the time limit.
        validation_seconds: Duration of the last validation.
        late: Whether the time limit has ended the training.
    """

    def __init__(self, settings: TrainConfig, updates_per_epoch: int) -> None:
        self.settings, self.updates_per_epoch = settings, updates_per_epoch
        self.total = settings.updates or settings.epochs * updates_per_epoch
        self.validate_every = max(1, round(settings.validate_every * updates_per_epoch))
        self.lr_factor = 1.0
        self.seconds_before = self.validation_seconds = 0.0
        self.late = False
        self.start(0)

    def start(self, step: int) -> None:
        """Start the clock; updates are timed from `step` on."""
        self._start_time, self._start_step = time.monotonic(), step

    def seconds(self) -> float:
        """Seconds of the training so far."""
        return self.seconds_before + time.monotonic() - self._start_time

    def lr(self, step: int) -> float:
        """Learning rate of an update: linear warm-up, then a half cosine down to zero.

        Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017,
        eq. 5 without restarts.
        """
        peak, warmup = self.settings.lr, max(1, round(self.settings.warmup * self.total))
        if step < warmup:
            return self.lr_factor * peak * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.total - warmup)
        return self.lr_factor * peak * 0.5 * (1 + math.cos(math.pi * progress))

    def ends(self, step: int, best_step: int) -> bool:
        """Whether the training ends here: all updates made, out of time, or out of patience."""
        return step >= self.total or self.late or self._out_of_patience(step, best_step)

    def _out_of_patience(self, step: int, best_step: int) -> bool:
        # Not in the first half: the score often improves only as the learning rate falls.
        patience = self.settings.patience
        validations = step // self.validate_every - best_step // self.validate_every
        return patience is not None and validations >= patience and 2 * step >= self.total

    def out_of_time(self, step: int) -> bool:
        """Whether the rest of the time limit is needed for the work after the last update."""
        return self.settings.time_limit is not None and step > 0 and self._time_for_updates() < 0

    def _time_for_updates(self) -> float:
        limit = self.settings.time_limit or math.inf
        return limit - self.seconds() - seconds_after(self.settings, self.validation_seconds)

    def has_time(self, seconds: float) -> bool:
        """Whether work of this duration ends within the time limit, or a tenth after it."""
        limit = self.settings.time_limit
        return limit is None or self.seconds() + seconds <= OVERRUN * limit

    def replan(self, step: int) -> None:
        """Lower `total` when updates are slower than planned.

        The learning rate then still falls to zero within the time limit.
        """
        done = step - self._start_step
        if self.settings.time_limit is None or done < 1 or step >= self.total:
            return
        seconds_per_update = (time.monotonic() - self._start_time) / done
        total = distributed.from_main(
            lambda: step + max(0, int(self._time_for_updates() / seconds_per_update))
        )
        if total < REPLAN_BELOW * self.total:
            log.info(
                "updates are slower than planned: %d instead of %d fit the time limit",
                total,
                self.total,
            )
            self.total = max(step + 1, total)
