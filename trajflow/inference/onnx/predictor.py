"""The predictor of an exported model: pasts in as numpy, a `Forecast` out, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import ConfigError, RunError
from trajflow.forecast import LEARNED
from trajflow.inference.base import Predictor
from trajflow.inference.onnx.artifact import (
    LARGEST,
    Artifact,
    ModelSpec,
    check_file,
    check_graph,
)
from trajflow.inference.onnx.golden import check_golden, check_sight
from trajflow.inference.onnx.padding import ROWS, Scenes, check_shape, cut, most_at_once
from trajflow.inference.onnx.session import OutOfMemory, Session
from trajflow.io import read_whole
from trajflow.surprise.packing import unpacked
from trajflow.surprise.sight import AGAIN, View
from trajflow.surprise.surprise import Surprise
from trajflow.types import Bools, Floats

SIGHT_OUTPUTS = ("context", "once", "twice")
"""Outputs of the graph that surprise looks by."""


class OnnxPredictor(Predictor):
    """Draws futures from an exported model, in the world coordinates and unit of the pasts.

    It answers as `trajflow.Predictor` does, with noise of its own: a seed stands for
    `numpy.random.default_rng(seed).standard_normal((S, N, F * D), dtype=numpy.float32)`, the N
    agents that are forecast in the order of their scenes. From equal noise both draw the same.

    Example:
        >>> from trajflow.inference.onnx.predictor import OnnxPredictor
        >>> OnnxPredictor.load("no/such/model.onnx")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: no model at no/such/model.onnx; `trajflow export RUN -o \
model.onnx` makes one
    """

    FIT: ClassVar[str] = "`trajflow fit RUN DATA ood` fits that, then export the run again"

    def __init__(self, artifact: Artifact, session: Session, sight: Session | None = None) -> None:
        """Take what a file carries and what computes it.

        Raises:
            RunError: It does not say what is needed, or its graphs do not do what they did when it
                was made.
        """
        self.spec, self.facts, self.session = ModelSpec.of(artifact.facts), artifact.facts, session
        self.format, self.calibration = self.spec.format, self.spec.calibration
        self.temperature, self.steps = self.spec.temperature, self.spec.evaluations
        self.learned = {
            n: NumpyLearnedSamples(artifact.group(f"set-{n}")) for n in self.spec.learned
        }
        check_golden(artifact, self.spec, session)
        self.surprise = _surprise_in(artifact)
        if self.surprise is not None and sight is not None:
            self._sight = EngineViewer(self.spec, sight, artifact.arrays["surprise/noise"])
            check_sight(artifact, self.surprise, self._sight)

    @classmethod
    def load(  # type: ignore[override]
        cls, path: str | Path, threads: int = 1
    ) -> OnnxPredictor:
        """The predictor of an exported model.

        The file is checked first: its digest, that it reads no other file, and that its graph still
        makes of the inputs it carries what it made of them when it was exported.

        Args:
            path: An .onnx file of `trajflow export`.
            threads: How many threads compute.

        Raises:
            RunError: There is none, it is damaged, or it is of another kind.
            MissingExtra: onnxruntime is not installed.
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
    def of(cls, content: bytes, threads: int = 1) -> OnnxPredictor:
        """The predictor of the bytes of an exported model, checked as by `load`.

        Raises:
            RunError: They are damaged, or of another kind.
            MissingExtra: onnxruntime is not installed.
        """
        check_file(content)
        session = Session(content, threads)
        artifact = Artifact.of(session.metadata)
        if not artifact.sight:
            return cls(artifact, session)
        check_graph(artifact.sight)
        return cls(artifact, session, Session(artifact.sight, threads))

    def carry(
        self, past: Floats, target: Bools, noise: NDArray[Any], dt_ratio: float | Floats = 1.0
    ) -> Floats:
        """Futures of the N targets from given noise, [S, N, F, D], world coordinates.

        One call of the graph computes at most `padding.ROWS` futures and `padding.PAIRS` pairs of
        agents; more are computed in several calls.

        Args:
            past: World positions, [B, A, T, D]; NaN where unseen.
            target: Who is forecast, [B, A].
            noise: Normal numbers, [S, N, ...] with F * D for each sample.
            dt_ratio: Seconds per step over those that are usual, [B] or one for all.
        """
        clock = np.broadcast_to(np.asarray(dt_ratio, np.float32), (len(past),))
        futures = np.empty((*noise.shape[:2], self.horizon, self.dims))
        most = most_at_once(past, len(noise), self.spec.joint)
        for some, agents in cut(target, most, self.spec.joint):
            for first in range(0, len(noise), ROWS):
                draws = slice(first, first + ROWS)
                futures[draws, agents] = self._within(past, some, noise[draws, agents], clock)
        return futures

    def _within(
        self, past: Floats, target: Bools, noise: NDArray[Any], dt_ratio: NDArray[np.float32]
    ) -> Floats:
        """Futures [S, N, F, D] in as many calls as the memory of a graph allows."""
        joint = self.spec.joint
        try:
            return self._carried(past, target, noise, dt_ratio)
        except OutOfMemory as error:
            if len(noise) > 1:
                halves = np.array_split(noise, 2)
                return np.concatenate([self._within(past, target, h, dt_ratio) for h in halves])
            if noise.shape[1] == 1 or (joint and target.any(1).sum() == 1):
                raise RunError(
                    f"the exported model cannot forecast one agent among {past.shape[1]}: {error}; "
                    "give fewer neighbors"
                ) from None
        most = -(-int(target.any(1).sum() if joint else noise.shape[1]) // 2)
        parts = cut(target, most, joint)
        drawn = [self._within(past, some, noise[:, agents], dt_ratio) for some, agents in parts]
        return np.concatenate(drawn, 1)

    def _carried(
        self, past: Floats, target: Bools, noise: NDArray[Any], dt_ratio: NDArray[np.float32]
    ) -> Floats:
        """Futures [S, N, F, D] in one call."""
        scenes, clock = self._padded(past, target, dt_ratio)
        found = scenes.picked(self._run("futures", scenes, noise, clock))
        if not np.isfinite(found).all():
            bad = scenes.known & ~np.isfinite(found).all((0, 2, 3))
            if bad.any():  # those of an agent who was never seen mean nothing
                raise RunError(
                    f"the exported model gives futures that are not finite, for {bad.sum()} of "
                    f"{len(bad)} agents; export the run again"
                )
        return found

    def _padded(
        self, past: Floats, target: Bools, dt_ratio: NDArray[np.float32]
    ) -> tuple[Scenes, NDArray[np.float32]]:
        """Scenes in which somebody is a target, and their clocks."""
        wanted = target.any(1)
        if not wanted.all():
            past, target, dt_ratio = past[wanted], target[wanted], dt_ratio[wanted]
        return Scenes.of(past, target, self.spec.neighbors), dt_ratio

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
        if samples not in self.learned:
            known = ", ".join(map(str, sorted(self.learned))) or "none"
            raise ConfigError(
                f"no learned set of {samples} futures (there are: {known}); "
                "`trajflow fit RUN DATA samples` learns one, then export the run again"
            )
        return samples

    def _draw(
        self, past: Floats, target: Bools, samples: int, seed: int | None, dt_ratio: float | Floats
    ) -> Floats:
        """Futures of the N targets, [S, N, F, D]."""
        shape = (samples, int(target.sum()), self.horizon * self.dims)
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return self.carry(past, target, noise, dt_ratio)

    def _chosen(
        self, past: Floats, target: Bools, wanted: int, seed: int | None, dt_ratio: float | Floats
    ) -> tuple[Floats, Floats]:
        """Learned futures [S, N, F, D] of the N targets and their weights [S, N]."""
        clock = np.broadcast_to(np.asarray(dt_ratio, np.float32), (len(past),))
        size, learned, joint = self.horizon * self.dims, self.learned[wanted], self.spec.joint
        context = np.empty((int(target.sum()), learned.width))
        for some, agents in cut(target, most_at_once(past, 1, joint), joint):
            scenes, own = self._padded(past, some, clock)
            nothing = np.zeros((1, scenes.place.shape[1], size), np.float32)
            found = self._run("context", scenes, nothing, own, learned.width)
            context[agents] = found[*scenes.place]
        noise, weights = learned(context)
        full = np.zeros((wanted, len(context), size), np.float32)
        # The graph widens its noise by the temperature, and learned noise is as wide as it is.
        full[..., : noise.shape[-1]] = noise / self.temperature
        return self.carry(past, target, full, dt_ratio), weights

    def _run(
        self,
        output: str,
        scenes: Scenes,
        noise: NDArray[Any],
        dt_ratio: NDArray[np.float32],
        width: int = 0,
    ) -> NDArray[np.float32]:
        inputs = {"past": scenes.past, "noise": scenes.spread(noise.astype(np.float32, copy=False))}
        if "rate" in self.session.inputs:
            inputs["rate"] = np.array(dt_ratio)
        try:
            (found,) = self.session.run([output], inputs)
        except OutOfMemory:
            raise
        except RunError as error:
            raise RunError(f"the exported model cannot forecast: {error}") from None
        samples, count, most, _ = inputs["noise"].shape
        futures = samples, count, most, self.horizon, self.dims
        check_shape(output, found, (count, most, width) if width else futures)
        return found


class NumpyLearnedSamples:
    """K noises for each agent, and how likely each leads nearest to what will happen."""

    LAYERS = ("read.0", "read.2", "move", "weigh")

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take weights and biases by the names of a `NumpyLearnedSamples`.

        Raises:
            RunError: They do not fit together.
        """
        self._arrays = arrays
        names = {f"{name}.{kind}" for name in self.LAYERS for kind in ("weight", "bias")}
        try:
            if set(arrays) != names | {"start"}:
                raise ValueError
            noise, weights = self(np.zeros((1, self.width)))
            fits = weights.shape == noise.shape[:2] == (len(arrays["start"]), 1)
            if not fits or not all(np.isfinite(one).all() for one in arrays.values()):
                raise ValueError
        except (TypeError, ValueError, IndexError):
            raise RunError(
                "its learned samples do not fit together; export the run again"
            ) from None

    @property
    def width(self) -> int:
        """Length H of the contexts it reads."""
        return int(self._arrays["read.0.weight"].shape[1])

    def __call__(self, context: Floats) -> tuple[Floats, Floats]:
        """Noises [K, N, ...] and weights [K, N] of contexts [N, H]."""
        hidden = _silu(self._layer("read.2", _silu(self._layer("read.0", context))))
        start = self._arrays["start"]
        moved = self._layer("move", hidden).reshape(-1, *start.shape)
        shares = self._layer("weigh", hidden)
        shares = np.exp(shares - shares.max(1, keepdims=True))
        return (start + moved).swapaxes(0, 1), (shares / shares.sum(1, keepdims=True)).T

    def _layer(self, name: str, x: Floats) -> Floats:
        weight, bias = (self._arrays[f"{name}.{kind}"] for kind in ("weight", "bias"))
        return np.asarray(x @ weight.T + bias)


def _silu(x: Floats) -> Floats:
    return np.asarray(x / (1 + np.exp(-x)))


class EngineViewer:
    """What a graph makes of pasts, every agent's futures from the same noise."""

    def __init__(self, spec: ModelSpec, session: Any, noise: NDArray[np.float32]) -> None:
        """Look by a graph.

        Args:
            spec: What is known of the model.
            session: What computes `SIGHT_OUTPUTS` of `past` and `noise`.
            noise: Noise of an agent, [S, N].
        """
        self.usual, self.horizon = spec.format.displacement_scale, spec.format.horizon
        self._limit, self._joint = spec.neighbors, spec.joint
        self._session, self._noise = session, noise

    def __call__(self, past: Floats, target: Bools) -> View:
        """What it makes of the targets [B, A] of pasts [B, A, T, D], in world coordinates."""
        most = most_at_once(past, len(self._noise), self._joint)
        parts = [self._seen(past, some) for some, _ in cut(target, most, self._joint)]
        if len(parts) == 1:
            return parts[0]
        parts = parts or [self._seen(past, target)]
        axes = {"context": 0, "once": 1, "twice": 1}
        whole = [np.concatenate([getattr(v, n) for v in parts], a) for n, a in axes.items()]
        return View(*whole)

    def _seen(self, past: Floats, target: Bools) -> View:
        """The same in one call."""
        scenes = Scenes.of(past, target, self._limit)
        draws, size = self._noise.shape
        wide = (draws, len(past), scenes.most, size)
        noise = np.array(np.broadcast_to(self._noise[:, None, None], wide))
        context, once, twice = self._session.run(
            SIGHT_OUTPUTS, {"past": scenes.past, "noise": noise}
        )
        check_shape("context", context, (*wide[1:3], *context.shape[2:][:1]))
        for name, found, count in (("once", once, draws), ("twice", twice, AGAIN)):
            check_shape(name, found, (count, *wide[1:3], self.horizon, size // self.horizon))
        mine = context[*scenes.place].astype(np.float64)
        view = View(mine, scenes.picked(once), scenes.picked(twice))
        if not all(np.isfinite(one).all() for one in (mine, view.once, view.twice)):
            raise RunError("the exported model sees what is not finite; export the run again")
        return view


def _surprise_in(artifact: Artifact) -> Surprise | None:
    """The surprise that an exported model carries; None if it has none.

    Raises:
        RunError: It is not whole.
    """
    facts = artifact.facts.get("surprise")
    if facts is None:
        return None
    try:
        if not artifact.sight or "surprise/noise" not in artifact.arrays:
            raise ValueError("it has nothing to look by")
        return unpacked(facts, artifact.group("surprise"))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(f"what it knows of surprise cannot be read: {error!r}") from None
