"""The predictor of an exported model: pasts in as numpy, a `Forecast` out, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.batch import Batch, Bools, Floats
from trajflow.calibration import Calibration
from trajflow.calibration.storage import understood
from trajflow.errors import ConfigError, RunError, TrajflowError
from trajflow.files import read_whole
from trajflow.forecast import Forecast
from trajflow.pasts import PastShape
from trajflow.rates import Rates
from trajflow.runtime.artefact import LARGEST, Artefact, opened
from trajflow.runtime.golden import check_golden
from trajflow.runtime.learned import LearnedSet
from trajflow.runtime.scenes import Scenes
from trajflow.runtime.session import Engine, Session

LEARNED = "learned"


class Predictor:
    """Draws futures from an exported model, in the world coordinates and unit of the pasts.

    It answers as `trajflow.Predictor` does, with noise of its own: a seed stands for
    `numpy.random.default_rng(seed).standard_normal((S, N, F * D), dtype=numpy.float32)`, the N
    agents that are forecast in the order of their scenes. From equal noise both draw the same.

    Example:
        >>> from trajflow.runtime import Predictor
        >>> Predictor.load("no/such/model.onnx")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: no model at no/such/model.onnx; `trajflow export RUN -o \
model.onnx` makes one
    """

    def __init__(self, artefact: Artefact, engine: Engine, threads: int = 1) -> None:
        """Take an artefact and what computes its graph.

        Raises:
            RunError: They do not say what is needed, or the graph does not do what it did when it
                was made.
        """
        self.facts, self.engine, self.threads = artefact.facts, engine, threads
        try:
            self.history, self.horizon, self.dims = (
                int(self.facts[name]) for name in ("history", "horizon", "dims")
            )
            self.dt, self.unit = float(self.facts["dt"]), str(self.facts["unit"])
            self.temperature = float(self.facts["temperature"])
            self.steps = int(self.facts["evaluations"])
            limit = self.facts["neighbours"]
            self._limit = None if limit is None else int(limit)
            rates = self.facts["least_rate"], self.facts["most_rate"]
            self.dts = float(rates[0]) * self.dt, float(rates[1]) * self.dt
            said = self.facts["calibration"]
            self.calibration: Calibration | None = None if said is None else understood(said)
            counts = [int(count) for count in self.facts["sets"]]
            if not min(self.dt, self.temperature, 1 if limit is None else limit) > 0:
                raise ValueError("dt, temperature and neighbours must be above 0")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RunError(f"it does not say what a predictor must know: {error!r}") from None
        self.sets = {n: LearnedSet(artefact.under(f"set-{n}")) for n in counts}
        check_golden(artefact, engine)

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Predictor:
        """The predictor of an exported model.

        The file is checked first: its digest, that it reads no other file, and that the graph
        still makes of the inputs it carries what it made of them when it was exported.

        Args:
            path: An .onnx file of `trajflow export`.
            threads: How many threads compute.

        Raises:
            RunError: There is none, it is damaged, or it is of another kind.
            MissingExtra: There is no onnxruntime.
        """
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}")
        try:
            content = read_whole(Path(path), LARGEST)
        except OSError:
            raise RunError(
                f"no model at {path}; `trajflow export RUN -o model.onnx` makes one"
            ) from None
        try:
            artefact = opened(content)
            return cls(artefact, Session(content, threads), threads)
        except RunError as error:
            raise RunError(f"{path} cannot be used: {error}") from None

    def predict(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | Sequence[ArrayLike] | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
        draws: int | None = None,
        select: str | None = None,
        dt: float | None = None,
        surprise: bool = False,
    ) -> Forecast:
        """Draw `samples` futures of every agent; the arguments are those of `trajflow.Predictor`.

        Args:
            past: World positions of the last T steps, oldest first, [*, A, T, D]; NaN where a
                step is missing.
            neighbours: Others who are around but are not forecast: [*, N, T, D] with N of them,
                or, where their number differs, one [N, T, D] for each scene.
            samples: Draws S.
            seed: Equal seeds give equal forecasts; None draws afresh.
            agents: Ids of the A agents, carried into the forecast.
            draws: As many as samples, or None.
            select: "learned" for a set the run has learned; None: plain draws.
            dt: Seconds per step of the past; None: as trained.
            surprise: Must be false: exported models cannot say it.

        Returns:
            Samples [S, *, A, F, D], in the unit and world frame of the past.

        Raises:
            TrajflowError: A shape is wrong, or an agent was never seen.
            ConfigError: It is something that only the run itself can do.
        """
        shape = PastShape(self.history, self.dims)
        known = shape.points(past, "past")
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        lead, count = known.shape[:-3], known.shape[-3]
        points = known.reshape(-1, *known.shape[-3:])
        shape.check_seen(points, agents)
        full = np.concatenate([points, shape.around(neighbours, len(points))], 1)
        target = np.zeros(full.shape[:2], bool)
        target[:, :count] = True
        self._check_choice(samples, draws, select)
        if surprise:
            self.check_surprise()
        rate, weights = self._rates.of(dt), None
        if select is None:
            drawn = self._draw(full, target, samples, seed, rate)
        else:
            drawn, shares = self._learned(full, target, samples, rate)
            weights = shares.reshape(samples, *lead, count)
        drawn = drawn.reshape(samples, *lead, count, self.horizon, self.dims)
        calibration = self.calibration if rate == 1 else None
        return Forecast(drawn, rate * self.dt, tuple(agents), weights, calibration)

    def carry(
        self, past: Floats, target: Bools, noise: NDArray[Any], rate: float | Floats = 1.0
    ) -> Floats:
        """Futures of the N targets from given noise, [S, N, F, D], world coordinates.

        Args:
            past: World positions, [B, A, T, D]; NaN where unseen.
            target: Who is forecast, [B, A].
            noise: Normal numbers, [S, N, ...] with F * D for each sample.
            rate: Seconds per step over those that are usual, [B] or one for all.
        """
        scenes = Scenes.of(past, target, self._limit)
        return scenes.picked(self._run("futures", scenes, noise, rate))

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""
        drawn = self._draw(batch.past, batch.target, samples, seed, self._rates.of_batch(batch))
        return batch.placed(drawn)

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """Learned futures of the batch's targets, and how likely each is.

        Args:
            batch: The scenes.
            samples: Futures S of each target.
            draws: As many as samples.
            rule: "learned".
            seed: Of no matter: a learned set is always the same.

        Returns:
            Samples [S, B, A, F, D] and weights [S, B, A]; NaN for the other agents.

        Raises:
            ConfigError: It is another rule, or no such set was exported.
        """
        self._check_choice(samples, draws, rule)
        found = self._learned(batch.past, batch.target, samples, self._rates.of_batch(batch))
        return batch.placed(found[0]), batch.placed(found[1])

    def check_surprise(self, dt: float | None = None) -> NoReturn:
        """Say that an exported model knows nothing of surprise.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "an exported model does not know what is strange to the run; ask the run folder, or "
            "leave out surprise"
        )

    def surprise_of(self, batch: Batch) -> NoReturn:
        """Say that an exported model knows nothing of surprise.

        Raises:
            ConfigError: Always.
        """
        self.check_surprise()

    def _check_choice(self, samples: int, draws: int | None, select: str | None) -> None:
        if select is None and draws in (None, samples):
            return
        if select is None:
            raise ConfigError(f"{samples} samples of {draws} draws; say by `select` how to choose")
        if select != LEARNED:
            raise ConfigError(
                f"an exported model cannot choose by {select!r}; ask the run folder, or take "
                "plain draws or select='learned'"
            )
        if samples not in self.sets:
            known = ", ".join(map(str, sorted(self.sets))) or "none"
            raise ConfigError(
                f"no learned set of {samples} futures (there are: {known}); `trajflow fit-set` "
                "learns one, then export the run again"
            )

    @property
    def _rates(self) -> Rates:
        return Rates(self.dt, *self.dts)

    def _draw(
        self,
        past: Floats,
        target: Bools,
        samples: int,
        seed: int | None,
        rate: float | Floats,
    ) -> Floats:
        """Futures of the N targets, [S, N, F, D]."""
        shape = (samples, int(target.sum()), self.horizon * self.dims)
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return self.carry(past, target, noise, rate)

    def _learned(
        self, past: Floats, target: Bools, samples: int, rate: float | Floats
    ) -> tuple[Floats, Floats]:
        """Futures [S, N, F, D] of the N targets and their weights [S, N]."""
        scenes = Scenes.of(past, target, self._limit)
        size, count = self.horizon * self.dims, scenes.place.shape[1]
        nothing = np.zeros((1, count, size), np.float32)
        context = self._run("context", scenes, nothing, rate)[*scenes.place]
        noise, weights = self.sets[samples](context)
        full = np.zeros((samples, count, size), np.float32)
        # The graph widens its noise by the temperature, and a learned set is as wide as it is.
        full[..., : noise.shape[-1]] = noise / self.temperature
        return scenes.picked(self._run("futures", scenes, full, rate)), weights

    def _run(
        self, output: str, scenes: Scenes, noise: NDArray[Any], rate: float | Floats
    ) -> NDArray[np.float32]:
        inputs = {"past": scenes.past, "noise": scenes.spread(noise.astype(np.float32, copy=False))}
        if "rate" in self.engine.inputs:
            told = np.broadcast_to(np.asarray(rate, np.float32), (len(scenes.past),))
            inputs["rate"] = np.ascontiguousarray(told)
        (found,) = self.engine(output, **inputs)
        return found
