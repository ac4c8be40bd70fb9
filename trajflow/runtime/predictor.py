"""The predictor of an exported model: pasts in as numpy, a `Forecast` out, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trajflow.asking import PredictorBase
from trajflow.batch import Bools, Floats
from trajflow.errors import ConfigError, RunError
from trajflow.files import read_whole
from trajflow.forecast import LEARNED
from trajflow.runtime.archive import is_archive
from trajflow.runtime.artefact import LARGEST
from trajflow.runtime.facts import Facts, surprise_in
from trajflow.runtime.golden import check_golden, check_sight
from trajflow.runtime.learned import LearnedSet
from trajflow.runtime.opening import Model
from trajflow.runtime.scenes import ROWS, Scenes, check_shape, cut, most_at_once
from trajflow.runtime.session import OutOfMemory
from trajflow.runtime.viewing import EngineViewer


class Predictor(PredictorBase):
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

    FIT: ClassVar[str] = "`trajflow fit-surprise RUN DATA` fits that, then export the run again"

    def __init__(self, model: Model, threads: int = 1) -> None:
        """Take what a file carries and what computes it.

        Raises:
            RunError: It does not say what is needed, or its graphs do not do what they did when it
                was made.
        """
        artefact = model.artefact
        told = Facts.of(artefact.facts)
        self.facts, self.engine, self.threads = artefact.facts, model.engine, threads
        self.known, self.calibration = told.known, told.calibration
        self.temperature, self.steps, self._limit = told.temperature, told.steps, told.limit
        self._joint = told.joint
        self.sets = {n: LearnedSet(artefact.under(f"set-{n}")) for n in told.sets}
        check_golden(artefact, model.engine)
        self.surprise = surprise_in(artefact)
        if self.surprise is not None and model.sight is not None:
            noise = artefact.arrays["surprise/noise"]
            sight = model.sight
            self._sight = EngineViewer(self.known, self._limit, sight, noise, self._joint)
            check_sight(artefact, self.surprise, self._sight)

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Predictor:
        """The predictor of an exported model.

        The file is checked first: its digest, that it reads no other file, and that its graphs
        still make of the inputs it carries what they made of them when it was exported.

        Args:
            path: An .onnx file of `trajflow export`, or a .pt2 file, which is code: load your own
                only. That needs torch.
            threads: How many threads compute.

        Raises:
            RunError: There is none, it is damaged, or it is of another kind.
            MissingExtra: There is no onnxruntime, or no torch for a .pt2 file.
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
            return cls.of(content, threads)
        except RunError as error:
            raise RunError(f"{path} cannot be used: {error}") from None

    @classmethod
    def of(cls, content: bytes, threads: int = 1) -> Predictor:
        """The predictor of an exported model's bytes, checked as by `load`.

        Raises:
            RunError: They are damaged, or of another kind.
            MissingExtra: What computes it is not installed.
        """
        if not is_archive(content):  # a stranger's graph shows first what it takes
            cls(Model.of(content, trial=True))
        return cls(Model.of(content, threads), threads)

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
        clock = np.broadcast_to(np.asarray(rate, np.float32), (len(past),))
        futures = np.empty((*noise.shape[:2], self.horizon, self.dims))
        most = most_at_once(past, len(noise), self._joint)
        for some, agents in cut(target, most, self._joint):
            for first in range(0, len(noise), ROWS):
                draws = slice(first, first + ROWS)
                futures[draws, agents] = self._within(past, some, noise[draws, agents], clock)
        return futures

    def _within(
        self, past: Floats, target: Bools, noise: NDArray[Any], rate: NDArray[np.float32]
    ) -> Floats:
        """Futures [S, N, F, D] in as many calls as the memory of a graph asks for."""
        try:
            return self._carried(past, target, noise, rate)
        except OutOfMemory as error:
            if len(noise) > 1:
                halves = np.array_split(noise, 2)
                return np.concatenate([self._within(past, target, h, rate) for h in halves])
            if noise.shape[1] == 1 or (self._joint and target.any(1).sum() == 1):
                raise RunError(
                    f"the exported model cannot forecast one agent among {past.shape[1]}: {error}; "
                    "give fewer neighbours"
                ) from None
        most = -(-int(target.any(1).sum() if self._joint else noise.shape[1]) // 2)
        parts = cut(target, most, self._joint)
        drawn = [self._within(past, some, noise[:, agents], rate) for some, agents in parts]
        return np.concatenate(drawn, 1)

    def _carried(
        self, past: Floats, target: Bools, noise: NDArray[Any], rate: NDArray[np.float32]
    ) -> Floats:
        """Futures [S, N, F, D] in one call."""
        scenes, clock = self._scenes(past, target, rate)
        found = scenes.picked(self._run("futures", scenes, noise, clock))
        bad = np.asarray(~np.isfinite(found).all((0, 2, 3)))
        if bad.any():
            raise RunError(
                f"the exported model gives futures that are not finite, for {bad.sum()} of "
                f"{len(bad)} agents; export the run again"
            )
        return found

    def _scenes(
        self, past: Floats, target: Bools, rate: NDArray[np.float32]
    ) -> tuple[Scenes, NDArray[np.float32]]:
        """Scenes in which somebody is a target, and their clocks."""
        asked = target.any(1)
        if not asked.all():
            past, target, rate = past[asked], target[asked], rate[asked]
        return Scenes.of(past, target, self._limit), rate

    def _viewer(self) -> EngineViewer:
        return self._sight

    def _selection(self, samples: int, draws: int | None, select: str | None) -> int | None:
        """How many learned futures are wanted; None: plain draws."""
        if select is None and draws in (None, samples):
            return None
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
        return samples

    def _draw(
        self, past: Floats, target: Bools, samples: int, seed: int | None, rate: float | Floats
    ) -> Floats:
        """Futures of the N targets, [S, N, F, D]."""
        shape = (samples, int(target.sum()), self.horizon * self.dims)
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return self.carry(past, target, noise, rate)

    def _chosen(
        self, past: Floats, target: Bools, wanted: int, seed: int | None, rate: float | Floats
    ) -> tuple[Floats, Floats]:
        """Learned futures [S, N, F, D] of the N targets and their weights [S, N]."""
        clock = np.broadcast_to(np.asarray(rate, np.float32), (len(past),))
        size, learned = self.horizon * self.dims, self.sets[wanted]
        context = np.empty((int(target.sum()), learned.width))
        for some, agents in cut(target, most_at_once(past, 1, self._joint), self._joint):
            scenes, own = self._scenes(past, some, clock)
            nothing = np.zeros((1, scenes.place.shape[1], size), np.float32)
            found = self._run("context", scenes, nothing, own, learned.width)
            context[agents] = found[*scenes.place]
        noise, weights = learned(context)
        full = np.zeros((wanted, len(context), size), np.float32)
        # The graph widens its noise by the temperature, and a learned set is as wide as it is.
        full[..., : noise.shape[-1]] = noise / self.temperature
        return self.carry(past, target, full, rate), weights

    def _run(
        self,
        output: str,
        scenes: Scenes,
        noise: NDArray[Any],
        rate: NDArray[np.float32],
        width: int = 0,
    ) -> NDArray[np.float32]:
        inputs = {"past": scenes.past, "noise": scenes.spread(noise.astype(np.float32, copy=False))}
        if "rate" in self.engine.inputs:
            inputs["rate"] = np.array(rate)
        try:
            (found,) = self.engine(output, **inputs)
        except OutOfMemory:
            raise
        except RunError as error:
            raise RunError(f"the exported model cannot forecast: {error}") from None
        samples, count, most, _ = inputs["noise"].shape
        futures = samples, count, most, self.horizon, self.dims
        check_shape(output, found, (count, most, width) if width else futures)
        return found
