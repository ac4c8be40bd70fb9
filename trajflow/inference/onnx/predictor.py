"""The predictor of an exported model: pasts in as numpy, a `Forecast` out, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import ConfigError, RunError
from trajflow.inference.base import Predictor
from trajflow.inference.choosing import LEARNED, Selection
from trajflow.inference.noise import normal
from trajflow.inference.onnx.artifact import (
    LARGEST,
    Artifact,
    ModelSpec,
    check_file,
)
from trajflow.inference.onnx.golden import check_golden
from trajflow.inference.onnx.session import GraphSession
from trajflow.inference.scenes import (
    ROWS,
    Draw,
    OutOfMemory,
    Request,
    Scenes,
    draw_within_memory,
    learned_numbers,
    most_at_once,
)
from trajflow.io import read_whole
from trajflow.manifest import EXPORT, model_digests
from trajflow.ood.detector import Detector
from trajflow.text import safe
from trajflow.types import Floats, Ints


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
        self.learned = {n: LearnedWeights(artifact.group(f"set-{n}")) for n in self.spec.learned}
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

    def carry(self, request: Request, noise: NDArray[Any]) -> Floats:
        """Futures [S, N, F, D] of the N targets from noise [S, N, ...], world coordinates.

        One call of the graph computes at most `scenes.ROWS` futures and `scenes.PAIRS` pairs of
        agents; more are computed in several calls.
        """
        return self._carry(request, noise)[0]

    def _carry(
        self, request: Request, noise: NDArray[Any], draw: Draw | None = None
    ) -> tuple[Floats, Floats]:
        """As `carry`, and the contexts [N, H]; each part is drawn by `draw`."""
        draw = draw or self._carried
        joint = self.spec.joint
        most = most_at_once(request.past, len(noise), joint)
        try:
            if len(request.past) == 1 and noise.shape[1] <= most and len(noise) <= ROWS:
                return draw_within_memory(draw, request, noise, joint)
            futures = np.empty((*noise.shape[:2], self.horizon, self.dims))
            contexts = np.empty((noise.shape[1], self._width))
            for part, agents in request.cut(most, joint):
                for first in range(0, len(noise), ROWS):
                    draws = slice(first, first + ROWS)
                    result = draw_within_memory(draw, part, noise[draws, agents], joint)
                    futures[draws, agents], contexts[agents] = result
        except OutOfMemory as error:
            raise RunError(f"the exported model cannot forecast: {error}") from None
        return futures, contexts

    def _carried(
        self, request: Request, noise: NDArray[Any], learned: Ints | None = None
    ) -> tuple[Floats, Floats]:
        """Futures [S, N, F, D] and contexts [N, H] in one call; see `Scenes.inputs`."""
        scenes = Scenes.of(request.past, request.target, self.spec.neighbors)
        futures, contexts = self._run(("futures", "context"), scenes, request, noise, learned)
        result = scenes.picked(futures)
        context = (contexts[0] if len(contexts) == 1 else contexts[*scenes.place]).astype(float)
        if not math.isfinite(futures.sum() + contexts.sum()):
            finite = np.isfinite(result).all((0, 2, 3)) & np.isfinite(context).all(1)
            bad = scenes.seen_agents & ~finite
            if bad.any():  # those of an agent who was never seen mean nothing
                raise RunError(
                    f"the exported model gives futures that are not finite, for {bad.sum()} of "
                    f"{len(bad)} agents; export the run again"
                )
        return result, context

    def _selection(self, samples: int, draws: int | None, select: str | None) -> Selection | None:
        if self.run is None and select not in (None, LEARNED):
            raise ConfigError(
                f"an exported model cannot choose by {select!r}; load the run folder, or take "
                "plain draws or select='learned'"
            )
        if self.run is None and select == LEARNED and samples not in self.learned:
            counts = ", ".join(map(str, sorted(self.learned))) or "none"
            raise ConfigError(
                f"no learned set of {samples} futures (there are: {counts}); "
                "`trajflow fit RUN DATA samples` learns one, then export the run again"
            )
        return super()._selection(samples, draws, select)

    def _draw(
        self, request: Request, samples: int, seed: int | None
    ) -> tuple[Floats, tuple[Floats, ...]]:
        noise = normal(seed, request.keys, samples, self.horizon * self.dims)
        futures, contexts = self._carry(request, noise)
        return futures, (contexts,)

    def _contexts(self, request: Request) -> tuple[Floats, ...]:
        contexts = np.empty((int(request.target.sum()), self._width))
        joint = self.spec.joint
        for part, agents in request.cut(most_at_once(request.past, 1, joint), joint):
            scenes = Scenes.of(part.past, part.target, self.spec.neighbors)
            noise = np.zeros((1, len(part.keys), self.horizon * self.dims), np.float32)
            part = replace(part, memory=None, types=None)
            (result,) = self._run(("context",), scenes, part, noise)
            contexts[agents] = result[*scenes.place]
        return (contexts,)

    def _chosen(
        self, request: Request, wanted: Selection, seed: int | None
    ) -> tuple[Floats, Floats]:
        in_graph = "learned_noises" in self.session.inputs and wanted.count in self.learned
        if wanted.rule != LEARNED or not in_graph:
            if self.run is None:
                raise RunError("it was exported by an earlier version; export the run again")
            return cast(tuple[Floats, Floats], self._torch._chosen(request, wanted, seed))
        numbers = learned_numbers(self.learned, wanted.count, request, self.horizon * self.dims)
        futures, context = self._carry(
            request,
            numbers,
            lambda part, own: self._carried(part, own[:0], own[:, 0, 0].astype(int)),
        )
        return futures, self.learned[wanted.count](context)

    def _run(
        self,
        outputs: tuple[str, ...],
        scenes: Scenes,
        request: Request,
        noise: NDArray[Any],
        learned: Ints | None = None,
    ) -> list[NDArray[np.float32]]:
        """Outputs of the graph."""
        noise = noise.astype(np.float32, copy=False)
        inputs = scenes.inputs(request, noise, self.format, learned)
        inputs["learned"] = np.full(len(noise), -1)  # of earlier versions: for drawn noise
        try:
            result = self.session.run(outputs, {name: inputs[name] for name in self.session.inputs})
        except OutOfMemory:
            raise
        except RunError as error:
            raise RunError(f"the exported model cannot forecast: {error}") from None
        samples, count, most, _ = inputs["noise"].shape
        samples += len(inputs["learned_noises"])
        shapes: dict[str, tuple[int, ...]] = {
            "futures": (samples, count, most, self.horizon, self.dims),
            "context": (count, most, self._width),
        }
        for name, one in zip(outputs, result, strict=True):
            if one.shape != shapes[name]:
                raise RunError(
                    f"the exported model gives {name} of shape {list(one.shape)} where "
                    f"{list(shapes[name])} is due; export the run again"
                )
        return result


class LearnedWeights:
    """How likely each of K learned samples of an agent is the nearest to what will happen."""

    LAYERS = ("read.0", "read.2", "weigh")

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take weights and biases by the names of `LearnedSamples`.

        Raises:
            RunError: They do not fit together.
        """
        try:
            self._layers = [
                (arrays[f"{name}.weight"].T, arrays[f"{name}.bias"]) for name in self.LAYERS
            ]
            if not np.isfinite(self(np.zeros((1, self.width)))).all():
                raise ValueError
        except (KeyError, TypeError, ValueError, IndexError):
            raise RunError(
                "its learned samples do not fit together; export the run again"
            ) from None

    @property
    def width(self) -> int:
        """Length H of the contexts it reads."""
        return int(self._layers[0][0].shape[0])

    def __call__(self, context: Floats) -> Floats:
        """Weights [K, N] of contexts [N, H]."""
        values = context
        for weight, bias in self._layers[:-1]:
            values = values @ weight + bias
            values = values / (1 + np.exp(-values))
        weight, bias = self._layers[-1]
        values = values @ weight + bias
        shares = np.exp(values - values.max(1, keepdims=True))
        return np.asarray((shares / shares.sum(1, keepdims=True)).T)


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
