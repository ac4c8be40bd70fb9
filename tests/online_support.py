"""What tests of the loop share: a clock that is told, and a predictor that knows its own answer."""

import numpy as np

from trajflow.forecast import Forecast

HISTORY, HORIZON, DT = 5, 3, 0.5


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Walker:
    """All futures stay where the agent was last; each draw takes its time."""

    history, horizon, dims, dt = HISTORY, HORIZON, 2, DT

    def __init__(self, clock=None, each=0.0):
        self.clock, self.each = clock, each
        self.past = self.around = self.told = None

    def predict(self, past, neighbors=None, samples=20, seed=None, agents=(), **told):
        self.past, self.around, self.told = np.array(past), np.array(neighbors), told
        assert np.isfinite(past).all(-1).any(-1).all(), "somebody was never seen"
        if self.clock is not None:
            self.clock.now += self.each * samples * len(past)
        seen = np.isfinite(past).all(-1)
        last = past.shape[1] - 1 - seen[:, ::-1].argmax(1)
        future = np.repeat(past[np.arange(len(past)), last][:, None], self.horizon, 1)
        return Forecast(np.repeat(future[None], samples, 0), told.get("dt", DT), tuple(agents))


def line(time, start=0.0, pace=2.0):
    """Where someone is who walks evenly."""
    return np.array([start + pace * time, 1.0])
