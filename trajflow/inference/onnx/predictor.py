"""The predictor of an exported model: pasts in as numpy, a `Forecast` out, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import ConfigError, RunError
from trajflow.forecast import LEARNED
from trajflow.inference.base import Predictor
from trajflow.inference.noise import normal, place_keys
from trajflow.inference.onnx.artifact import (
    LARGEST,
    Artifact,
    ModelSpec,
    check_file,
)
from trajflow.inference.onnx.golden import check_golden
from trajflow.inference.onnx.padding import ROWS, Scenes, check_shape, cut, most_at_once
from trajflow.inference.onnx.session import GraphSession, OutOfMemory
from trajflow.io import read_whole
from trajflow.manifest import EXPORT, model_digests
from trajflow.ood.detector import Detector
from trajflow.text import safe
from trajflow.types import Bools, Floats, Ints, type_codes


class OnnxPredictor(Predictor):
    """Draws futures from an exported model, in the world coordinates and unit of the pasts.

    It answers as the run that it was exported from does: equal seeds stand for equal noise, see
    `trajflow.inference.noise`.

    Example:
        >>> from trajflow.inference.onnx.predictor import OnnxPredictor
        >>> OnnxPredictor.load("no/such/model.onnx")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: no model at no/such/model.onnx; `trajflow export RUN -o \
model.onnx` makes one
    """

    FIT: ClassVar[str] = "`trajflow fit RUN DATA ood` fits that, then export the run again"
    backend = "onnx"
    run: Path | None = None
    """The run folder whose weights choose samples of many draws; None: nothing does."""

    def __init__(self, artifact: Artifact, session: GraphSession) -> None:
        """Take what a file carries and what computes it.

        Raises:
            RunError: It does not say what is needed, or its graph does not do what it did when it
                was made.
        """
        self.spec, self.facts, self.session = ModelSpec.of(artifact.facts), artifact.facts, session
        self.format, self.calibration = self.spec.format, self.spec.calibration
        self.temperature, self.steps = self.spec.temperature, self.spec.evaluations
        self.learned = {
            n: NumpyLearnedSamples(artifact.group(f"set-{n}")) for n in self.spec.learned
        }
        self._width = check_golden(artifact, self.spec, session)
        self.detector = _detector_in(artifact, self._width)

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
    def of_run(cls, run: Path, steps: int, threads: int, fall_back: bool) -> OnnxPredictor:
        """The predictor of the export beside the weights of a run folder.

        Args:
            run: The folder.
            steps: Network evaluations per draw.
            threads: How many threads compute.
            fall_back: Whether the weights compute what the export cannot.

        Raises:
            RunError: There is none, or it does not forecast as the run does.
            MissingExtra: onnxruntime is not installed.
        """
        path = run / EXPORT
        if not path.exists():
            raise RunError(f"no {path}; `trajflow export {run}` makes it")
        exported = cls.load(path, threads)
        facts, again = exported.facts, f"`trajflow export {run} --overwrite` makes it again"
        if exported.steps != steps:
            raise RunError(
                f"{path} draws in {exported.steps} evaluations and not in {steps}; `trajflow "
                f"export {run} --overwrite --steps {steps}` makes it again"
            )
        if facts.get("precision") != "fp32":
            raise RunError(f"{path} does not compute in fp32 as the run does; {again}")
        if facts.get("types") and "types" not in exported.session.inputs:
            raise RunError(f"{path} takes no agent types as the run does; {again}")
        made, now = facts.get("files"), model_digests(run)
        made = made if isinstance(made, dict) else {}
        changed = sorted(n for n in made.keys() | now.keys() if made.get(n) != now.get(n))
        if changed:
            raise RunError(f"{path} was made of another {safe(' and '.join(changed))}; {again}")
        exported.run = run if fall_back else None
        return exported

    @property
    def model(self) -> Any:
        """An exported model has none: this raises an `AttributeError` that says what has."""
        raise AttributeError(
            "forecasts of an exported model have no torch module; load the run folder with "
            "backend='torch'"
        )

    @cached_property
    def _torch(self) -> Any:
        assert self.run is not None
        if model_digests(self.run) != self.facts["files"]:
            raise RunError(f"{self.run} was changed since it was loaded; load it again")
        kind = import_module("trajflow.inference.predictor").TorchPredictor
        return kind.load(self.run, steps=self.steps)

    @classmethod
    def of(cls, content: bytes, threads: int = 1) -> OnnxPredictor:
        """The predictor of the bytes of an exported model, checked as by `load`.

        Raises:
            RunError: They are damaged, or of another kind.
            MissingExtra: onnxruntime is not installed.
        """
        check_file(content)
        session = GraphSession(content, threads)
        return cls(Artifact.of(session.metadata), session)

    def carry(
        self,
        past: Floats,
        target: Bools,
        noise: NDArray[Any],
        dt_ratio: float | Floats = 1.0,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
    ) -> Floats:
        """Futures of the N targets from given noise, [S, N, F, D], world coordinates.

        One call of the graph computes at most `padding.ROWS` futures and `padding.PAIRS` pairs of
        agents; more are computed in several calls.

        Args:
            past: World positions, [B, A, T, D]; NaN where unseen.
            target: Who is forecast, [B, A].
            noise: Normal numbers, [S, N, ...] with F * D for each sample.
            dt_ratio: Seconds per step over those of the training tracks, [B] or one for all.
            memory: What is remembered, [B, A, K, T + F, D + 1]; None: nothing.
            types: Names of the agents' types, [B, A]; None: all are unknown.
        """
        return self._carry(past, target, noise, dt_ratio, memory, types)[0]

    def _carry(
        self,
        past: Floats,
        target: Bools,
        noise: NDArray[Any],
        dt_ratio: float | Floats,
        memory: Floats | None,
        types: NDArray[np.str_] | None = None,
    ) -> tuple[Floats, Floats]:
        """As `carry`, and the contexts [N, H]."""
        clock = np.full(len(past), dt_ratio, np.float32)
        most = most_at_once(past, len(noise), self.spec.joint)
        if len(past) == 1 and noise.shape[1] <= most and len(noise) <= ROWS:
            return self._within(past, target, noise, clock, memory, types)
        futures = np.empty((*noise.shape[:2], self.horizon, self.dims))
        contexts = np.empty((noise.shape[1], self._width))
        for some, agents in cut(target, most, self.spec.joint):
            for first in range(0, len(noise), ROWS):
                draws = slice(first, first + ROWS)
                result = self._within(past, some, noise[draws, agents], clock, memory, types)
                futures[draws, agents], contexts[agents] = result
        return futures, contexts

    def _within(
        self,
        past: Floats,
        target: Bools,
        noise: NDArray[Any],
        dt_ratio: NDArray[np.float32],
        memory: Floats | None,
        types: NDArray[np.str_] | None,
    ) -> tuple[Floats, Floats]:
        """Futures [S, N, F, D] and contexts [N, H], in as many calls as the memory allows."""
        joint = self.spec.joint
        try:
            return self._carried(past, target, noise, dt_ratio, memory, types)
        except OutOfMemory as error:
            if len(noise) > 1:
                halves = np.array_split(noise, 2)
                drawn = [
                    self._within(past, target, half, dt_ratio, memory, types) for half in halves
                ]
                return np.concatenate([futures for futures, _ in drawn]), drawn[0][1]
            if noise.shape[1] == 1 or (joint and target.any(1).sum() == 1):
                raise RunError(
                    f"the exported model cannot forecast one agent among {past.shape[1]}: {error}; "
                    "give fewer neighbors"
                ) from None
        most = -(-int(target.any(1).sum() if joint else noise.shape[1]) // 2)
        parts = cut(target, most, joint)
        drawn = [
            self._within(past, some, noise[:, agents], dt_ratio, memory, types)
            for some, agents in parts
        ]
        futures, contexts = zip(*drawn, strict=True)
        return np.concatenate(futures, 1), np.concatenate(contexts)

    def _carried(
        self,
        past: Floats,
        target: Bools,
        noise: NDArray[Any],
        dt_ratio: NDArray[np.float32],
        memory: Floats | None,
        types: NDArray[np.str_] | None,
    ) -> tuple[Floats, Floats]:
        """Futures [S, N, F, D] and contexts [N, H] in one call."""
        scenes, clock = self._padded(past, target, dt_ratio)
        some = None if memory is None else memory[target]
        names = None if types is None else types[target]
        futures, contexts = self._run(("futures", "context"), scenes, noise, clock, some, names)
        result = scenes.picked(futures)
        context = (contexts[0] if len(contexts) == 1 else contexts[*scenes.place]).astype(float)
        if not math.isfinite(result.sum() + context.sum()):
            finite = np.isfinite(result).all((0, 2, 3)) & np.isfinite(context).all(1)
            bad = scenes.seen_agents & ~finite
            if bad.any():  # those of an agent who was never seen mean nothing
                raise RunError(
                    f"the exported model gives futures that are not finite, for {bad.sum()} of "
                    f"{len(bad)} agents; export the run again"
                )
        return result, context

    def _padded(
        self, past: Floats, target: Bools, dt_ratio: NDArray[np.float32]
    ) -> tuple[Scenes, NDArray[np.float32]]:
        """Scenes in which somebody is a target, and their clocks."""
        if len(past) > 1 and not (wanted := target.any(1)).all():
            past, target, dt_ratio = past[wanted], target[wanted], dt_ratio[wanted]
        return Scenes.of(past, target, self.spec.neighbors), dt_ratio

    def _selection(self, samples: int, draws: int | None, select: str | None) -> Any:
        """How many learned futures are wanted, or what torch shall choose; None: plain draws."""
        if select is None and draws in (None, samples):
            return None
        if self.run is not None and (select != LEARNED or samples not in self.learned):
            return self._torch._selection(samples, draws, select)
        if select is None:
            raise ConfigError(f"{samples} samples of {draws} draws; say by `select` how to choose")
        if select != LEARNED:
            raise ConfigError(
                f"an exported model cannot choose by {select!r}; ask the run folder, or take "
                "plain draws or select='learned'"
            )
        if samples not in self.learned:
            counts = ", ".join(map(str, sorted(self.learned))) or "none"
            raise ConfigError(
                f"no learned set of {samples} futures (there are: {counts}); "
                "`trajflow fit RUN DATA samples` learns one, then export the run again"
            )
        return samples

    def _draw(
        self,
        past: Floats,
        target: Bools,
        samples: int,
        seed: int | None,
        dt_ratio: float | Floats,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
        keys: Ints | None = None,
    ) -> tuple[Floats, tuple[Floats, ...]]:
        keys = place_keys(target) if keys is None else keys
        noise = normal(seed, keys, samples, self.horizon * self.dims)
        futures, contexts = self._carry(past, target, noise, dt_ratio, memory, types)
        return futures, (contexts,)

    def _contexts(
        self, past: Floats, target: Bools, dt_ratio: float | Floats
    ) -> tuple[Floats, ...]:
        clock = np.broadcast_to(np.asarray(dt_ratio, np.float32), (len(past),))
        contexts = np.empty((int(target.sum()), self._width))
        joint = self.spec.joint
        for some, agents in cut(target, most_at_once(past, 1, joint), joint):
            scenes, own = self._padded(past, some, clock)
            shape = (1, scenes.place.shape[1], self.horizon * self.dims)
            (result,) = self._run(("context",), scenes, np.zeros(shape, np.float32), own)
            contexts[agents] = result[*scenes.place]
        return (contexts,)

    def _chosen(
        self,
        past: Floats,
        target: Bools,
        wanted: Any,
        seed: int | None,
        dt_ratio: float | Floats,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
        keys: Ints | None = None,
    ) -> tuple[Floats, Floats]:
        """Learned futures [S, N, F, D] of the N targets and their weights [S, N]."""
        if not isinstance(wanted, int):
            chosen = self._torch._chosen(past, target, wanted, seed, dt_ratio, memory, types, keys)
            return cast(tuple[Floats, Floats], chosen)
        (context,) = self._contexts(past, target, dt_ratio)
        noise, weights = self.learned[wanted](context)
        full = np.zeros((wanted, len(context), self.horizon * self.dims), np.float32)
        # The graph widens its noise by the temperature, and learned noise is as wide as it is.
        full[..., : noise.shape[-1]] = noise / self.temperature
        return self.carry(past, target, full, dt_ratio, memory, types), weights

    def _run(
        self,
        outputs: tuple[str, ...],
        scenes: Scenes,
        noise: NDArray[Any],
        dt_ratio: NDArray[np.float32],
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Outputs of the graph.

        `memory` is what is remembered for the N agents, [N, K, T + F, D + 1], and `types` the names
        of their types, [N].
        """
        inputs: dict[str, NDArray[Any]]
        inputs = {"past": scenes.past, "noise": scenes.spread(noise.astype(np.float32, copy=False))}
        if "dt_ratio" in self.session.inputs:
            inputs["dt_ratio"] = np.array(dt_ratio)
        if "memory" in self.session.inputs:
            steps = self.history + self.horizon
            inputs["memory"] = scenes.remembered(memory, (self.format.memory, steps, self.dims + 1))
        if "types" in self.session.inputs:
            codes = np.zeros((len(scenes.past), scenes.most), np.int64)
            if types is not None:
                codes[*scenes.place] = type_codes(types, self.format.types)
            inputs["types"] = codes
        try:
            result = self.session.run(outputs, inputs)
        except OutOfMemory:
            raise
        except RunError as error:
            raise RunError(f"the exported model cannot forecast: {error}") from None
        samples, count, most, _ = inputs["noise"].shape
        shapes: dict[str, tuple[int, ...]] = {
            "futures": (samples, count, most, self.horizon, self.dims),
            "context": (count, most, self._width),
        }
        for name, one in zip(outputs, result, strict=True):
            check_shape(name, one, shapes[name])
        return result


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


def _detector_in(artifact: Artifact, width: int) -> Detector | None:
    """The OOD detector that an exported model carries, for contexts of `width`; None without one.

    Raises:
        RunError: It is damaged.
    """
    facts = artifact.facts.get("ood")
    if facts is None:
        return None
    try:
        detector = Detector.unpacked(facts, artifact.group("ood"))
        if detector.gaussian.mean.shape != (width,):
            raise ValueError("it is of contexts of another size")
        return detector
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(f"its OOD detector cannot be read: {error!r}") from None
