"""What all predictors share: loading, checks of what they are given, and the forecast."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from trajflow.calibration import Calibration
from trajflow.errors import (
    ConfigError,
    TrajflowError,
    TrajflowWarning,
)
from trajflow.forecast import Forecast
from trajflow.inference.choosing import Selection, selection_of
from trajflow.inference.inputs import TrackFormat
from trajflow.inference.scenes import Request
from trajflow.ood.detector import Detector, OODScores
from trajflow.place import Moment, Place
from trajflow.text import Described
from trajflow.types import Batch, Bools, Floats


class Predictor(Described, ABC):
    """Draws futures of agents; `Predictor.load` opens a run or an exported model.

    Example:
        >>> from trajflow import Predictor
        >>> Predictor.load("no/such/run")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: no weights at no/such/run; give a run folder that has validated

    Attributes:
        format: Sizes, unit and time step of its pasts and futures.
        facts: What the file says of its run; of an ensemble, those of the first member.
        calibration: What makes regions hold as often as they say, if there is anything.
        detector: The out-of-distribution detector, if one was fitted.
        steps: Network evaluations per draw.
        backend: What computes the forecasts: "torch" or "onnx".
    """

    FIT: ClassVar[str] = "`trajflow fit RUN DATA ood` fits that"
    """What helps where there is no detector."""
    format: TrackFormat
    facts: Mapping[str, Any]
    calibration: Calibration | None
    detector: Detector | None
    steps: int
    backend: str

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "cpu",
        steps: int | None = None,
        threads: int = 1,
        backend: str = "auto",
    ) -> Predictor:
        """Open a run folder, its weights file or an exported model, by what it is.

        torch is imported only where it computes.

        Args:
            path: A run folder, or an .onnx file of `trajflow export`.
            device: Where a run computes.
            steps: Network evaluations per draw; None: one of a run, and of an exported model what
                it was exported for.
            threads: Threads of an exported model; those of torch are set in torch.
            backend: What computes the forecasts of a run folder. "auto": on the processor the
                export that `trajflow export RUN` wrote beside the weights, if there is one, and
                torch for what that cannot do; an export that does not fit the run is ignored with
                a warning. "torch": the weights. "onnx": the export alone, without torch. Equal
                seeds give equal forecasts.

        Raises:
            RunError: There is no model, it is damaged, or it was exported for other `steps` or
                from other weights.
            ConfigError: There is no such backend, or it cannot compute this.
            MissingExtra: The package that computes it is not installed.
        """
        opened = import_module("trajflow.inference.loading").open_predictor
        return cast(Predictor, opened(path, device, steps, threads, backend))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        revision: str | None = None,
        device: str = "cpu",
        steps: int | None = None,
    ) -> Predictor:
        """Open a run of the Hugging Face Hub, or of a path.

        Token, endpoint and cache are those of huggingface_hub (HF_TOKEN, HF_ENDPOINT, HF_HOME).
        Only safetensors, TOML and JSON are downloaded.

        Args:
            name: A repository, "org/name", as `trajflow push` makes it; or what `load` opens.
            revision: A branch, tag or commit of the repository; None: its main branch.
            device: Where it computes.
            steps: As for `load`.

        Raises:
            RunError: There is no model, or it is damaged.
            DataError: There is no such repository or revision, or the Hub cannot be reached.
            MissingExtra: huggingface_hub is not installed.

        Examples:
            >>> from trajflow import Predictor
            >>> Predictor.from_pretrained("me/street", revision="v1")  # doctest: +SKIP
        """
        return cls.load(import_module("trajflow.hub").pretrained(name, revision), device, steps)

    def to(self, device: str) -> Predictor:
        """Compute on another device from now on.

        Args:
            device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.

        Returns:
            This predictor.

        Raises:
            ConfigError: The device is not there, or this predictor has no choice of one.
        """
        if device not in ("cpu", "auto"):
            raise ConfigError(
                f"an exported model computes on the CPU, got device {device!r}; load the run "
                "folder with backend='torch'"
            )
        return self

    def _facts(self) -> dict[str, object]:
        least, most = self.dts
        return {
            "history": self.history,
            "horizon": self.horizon,
            "dims": self.dims,
            "unit": self.unit,
            "backend": self.backend,
            "dt": f"{self.dt:g} s" if least == most else f"{least:g} to {most:g} s",
            "evaluations": self.steps,
            "calibrated": "no" if self.calibration is None else "yes",
            "ood": "no" if self.detector is None else "yes",
        }

    @property
    def history(self) -> int:
        """Past steps T."""
        return self.format.history

    @property
    def horizon(self) -> int:
        """Future steps F."""
        return self.format.horizon

    @property
    def dims(self) -> int:
        """Coordinates D."""
        return self.format.dims

    @property
    def unit(self) -> str:
        """Unit of the coordinates."""
        return self.format.unit

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return self.format.dt_range.dt

    @property
    def displacement_scale(self) -> float:
        """Typical displacement per step of the training tracks, in `unit`."""
        return self.format.displacement_scale

    @property
    def dts(self) -> tuple[float, float]:
        """Least and most seconds per step that the model was trained for."""
        return self.format.dt_range.least, self.format.dt_range.most

    def predict(
        self,
        past: ArrayLike,
        neighbors: ArrayLike | Sequence[ArrayLike] | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
        draws: int | None = None,
        select: str | None = None,
        dt: float | None = None,
        ood: bool = False,
        on_bad: Literal["raise", "quarantine"] = "raise",
        place: Place | Moment | None = None,
        earlier_paths: bool = False,
        types: ArrayLike | None = None,
    ) -> Forecast:
        """Draw `samples` futures of every agent, or choose them of more draws.

        Args:
            past: World positions of the last T steps, oldest first, [*, A, T, D]; NaN where a
                step is missing; a masked position is missing. Agents of one scene see each
                other at the present, the last step: who is missing there is forecast, but is no
                neighbor.
            neighbors: Others who are around but are not forecast: [*, N, T, D] with N of them,
                or, where their number differs, one [N, T, D] for each scene.
            samples: Draws S.
            seed: Equal seeds give equal forecasts, of a run and of its export; None draws afresh.
                The noise of an agent follows from the seed, the number of its scene and its own
                among the agents, whoever else is there.
            agents: Ids of the A agents, carried into the forecast.
            draws: How many futures to choose from; None: 20 for each that is wanted. A learned
                set is drawn as it is.
            select: Name of the rule that chooses, "kmeans", or
                "learned" for what `trajflow fit RUN DATA samples` has put into the run; None: plain
                draws. Chosen samples serve best as a set and are no draws; their weights,
                [S, *, A], say how likely each is. An exported model knows "learned" alone.
            dt: Seconds per step of the past, and so of the forecast; None: as trained. A model
                trained with `model.condition_on_dt=true` serves all within `dts`.
            ood: Whether to score how far out of distribution each past is and why, and the error
                to expect; see `Forecast.ood_score`. It uses the contexts of this forecast.
            on_bad: What becomes of a past that is infinite, absurdly large or far away, that was
                never seen, or whose id is there twice: "raise" refuses all; "quarantine" says so
                in `Forecast.faults`, gives NaN for that agent, and forecasts the others exactly
                as if all its steps were missing. Their noise is that of a call without faults.
            place: What was watched here earlier, `trajflow.Place`, for a model that was trained
                with `model.memory`: at the scene "" and its last step, or where `place.at(scene,
                now)` says. It needs `agents`, the ids as they were pushed. None: no memory.
            earlier_paths: Whether paths that others walked at the place earlier replace some of the
                samples, as often as the place's earlier forecasts say; for any model that draws
                agents one by one. Calls go forward in time.
            types: Names of the types of the A agents, [A] or [*, A], for a model that was trained
                with `model.types`; a name that it does not know, such as "", is an unknown type.
                None: all are unknown.

        Returns:
            Samples [S, *, A, F, D], in the unit and world frame of the past.

        Raises:
            TrajflowError: A shape is wrong, an agent is bad, a scene has too many, or this model's
                samples cannot be chosen so.
            ConfigError: OOD scores are wanted of a run without a detector, or at another `dt`; the
                place does not fit the model or the ids; `earlier_paths` without a place or of a
                joint model; types are given to a model without.
        """
        if on_bad not in ("raise", "quarantine"):
            raise ConfigError(f"on_bad is 'raise' or 'quarantine', got {on_bad!r}")
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        if ood:
            self.check_ood(dt)
        dt_ratio = self.format.dt_range.ratio(dt)
        wanted = None  # plain draws
        if select is not None or draws is not None:
            wanted = self._selection(samples, draws, select)
        points = self.format.numbers(past, "past")
        lead, count = points.shape[:-2], points.shape[-3]
        full, faults = self.format.scenes(points, neighbors, agents, on_bad == "raise")
        bad = None if faults is None or not faults.any() else faults.astype(bool)
        target = np.zeros(full.shape[:2], bool)
        target[:, :count] = True
        # A bad agent draws noise like any other, so that the noise of the others stays theirs.
        moment = place.at() if isinstance(place, Place) else place
        if moment is not None:
            self.check_place(moment.place, dt_ratio, earlier_paths)
        if earlier_paths:
            self.check_single()
            if moment is None:
                raise ConfigError("earlier_paths needs place=, where the paths were watched")
        memory = None
        if moment is not None and self.format.memory:
            memory = self._remembered(moment, full, count, agents)
        names = None if types is None else self.format.typed(types, lead, full.shape[:2])
        request, weights = Request.of(full, target, dt_ratio, memory, names), None
        if wanted is None:
            drawn, contexts = self._draw(request, samples, seed)
        else:
            drawn, weights = self._chosen(request, wanted, seed)
            contexts = self._contexts(request) if ood else ()
        if earlier_paths and moment is not None:
            drawn, weights = _with_paths(moment, full[:, :count], agents, drawn, weights)
        if bad is not None:
            drawn[:, bad.ravel()] = np.nan
            if weights is not None:
                weights[:, bad.ravel()] = np.nan
        weights = None if weights is None else weights.reshape(samples, *lead)
        drawn = drawn.reshape(samples, *lead, self.horizon, self.dims)
        # It was fitted without memory, at the seconds per step of the training.
        calibration = self.calibration if dt_ratio == 1 and place is None else None
        forecast = Forecast(drawn, dt_ratio * self.dt, tuple(agents), weights, calibration)
        if on_bad == "quarantine" and faults is not None:
            forecast = replace(forecast, faults=faults.reshape(lead))
        if not ood:
            return forecast
        good = np.ones(full.shape[:2], bool)[:, :count] if bad is None else ~bad
        return self._with_ood(forecast, full[:, :count], contexts, good)

    def check_place(self, place: Place, dt_ratio: float = 1.0, earlier_paths: bool = False) -> None:
        """Refuse a place that the model cannot use at so many seconds per step over the usual.

        Raises:
            ConfigError: The model was trained without memory and earlier paths are not wanted, or
                the place is of another scale.
        """
        if not self.format.memory and not earlier_paths:
            raise ConfigError(
                "the model was trained without memory; train one with model.memory=8, set "
                "earlier_paths=True, or leave place out"
            )
        scale = self.displacement_scale * dt_ratio
        if place.dims != self.dims or abs(place.scale / scale - 1) > 1e-3:
            raise ConfigError(
                f"the place has {place.dims} coordinates and scale {place.scale:g}, the model "
                f"{self.dims} and {scale:g}; make it by Place({scale:.6g}, dims={self.dims})"
            )

    def check_single(self) -> None:
        """Refuse earlier paths of a joint model.

        Raises:
            ConfigError: The model is joint.
        """
        if self.format.neighbors is None:
            raise ConfigError(
                "earlier paths are for one agent, and a joint model draws all agents of a scene "
                "together; leave out earlier_paths=True, or --earlier-paths"
            )

    def _remembered(
        self, moment: Moment, past: Floats, count: int, agents: Sequence[object]
    ) -> Floats:
        """What is remembered for the first agents of scenes [B, A, T, D]; NaN for the others."""
        some = moment.recall(past[:, :count], agents, self.format.memory, self.horizon)
        memory = np.full((*past.shape[:2], *some.shape[2:]), np.nan)
        memory[:, :count] = some
        return memory

    def _with_ood(
        self, forecast: Forecast, past: Floats, contexts: tuple[Floats, ...], good: Bools
    ) -> Forecast:
        """The forecast with the scores of its pasts [B, A, T, D] where they are good, [B, A]."""
        some = tuple(context[good.ravel()] for context in contexts)
        scores = self._ood_scores(past[good], some)
        ood_score, error = np.full((2, *good.shape), np.nan)
        reasons = np.full(good.shape, "", object)
        ood_score[good], error[good] = scores.ood_score, scores.expected_error
        reasons[good] = scores.reasons
        lead = forecast.samples.shape[1:-2]
        return replace(
            forecast,
            ood_score=ood_score.reshape(lead),
            ood_reasons=reasons.reshape(lead),
            expected_error=error.reshape(lead),
        )

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents.

        The noise of a target follows from the seed, its recording, step and number alone, so it
        is the same in any batch.
        """
        drawn, _ = self._draw(self._request(batch), samples, seed)
        return batch.placed(drawn)

    def _request(self, batch: Batch) -> Request:
        return Request.of_batch(batch, self.format.dt_range.ratios(batch))

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """Futures of the batch's targets that stand for many draws, and how likely each is.

        Args:
            batch: The scenes.
            samples: Futures S of each target.
            draws: Draws they are chosen from.
            rule: One of `trajflow.inference.choosing.rules()`; of an exported model "learned".
            seed: Equal seeds give equal futures.

        Returns:
            Samples [S, B, A, F, D] and weights [S, B, A]; NaN for the other agents.

        Raises:
            ConfigError: There is no such rule, there are too few draws, or the model is joint.
        """
        wanted = self._selection(samples, draws, rule)
        assert wanted is not None
        futures, weights = self._chosen(self._request(batch), wanted, seed)
        return batch.placed(futures), batch.placed(weights)

    def contexts(self, batch: Batch) -> Floats:
        """What the encoder makes of the pasts of a batch's N targets, [N, H].

        Raises:
            ConfigError: The predictor is an ensemble of networks, each with contexts of its own.
        """
        contexts = self._contexts(self._request(batch))
        if len(contexts) != 1:
            raise ConfigError("an ensemble has no contexts of its own; ask its members")
        return contexts[0]

    def ood(self, batch: Batch) -> OODScores:
        """How far out of distribution the pasts of a batch's targets are, by `np.nonzero`.

        Raises:
            ConfigError: There is no detector.
        """
        self.check_ood()
        contexts = self._contexts(Request.of_batch(batch, 1.0))
        return self._ood_scores(batch.past[batch.target], contexts)

    def check_ood(self, dt: float | None = None) -> Detector:
        """The detector.

        Raises:
            ConfigError: There is none, or it was not fitted for so many seconds per step.
        """
        if self.detector is None:
            raise ConfigError(f"the run has no OOD detector; {self.FIT}, or leave out ood")
        if self.format.dt_range.ratio(dt) != 1:
            raise ConfigError(
                f"the OOD detector was fitted at {self.dt:g} s per step, got dt={dt:g}; "
                "leave out ood, or resample the past"
            )
        fitted = self.detector.origin.evaluations
        if fitted not in (0, self.steps):
            warnings.warn(
                f"the expected error was fitted for draws of {fitted} evaluations, these are of "
                f"{self.steps}; `trajflow fit RUN DATA ood --steps {self.steps}` fits it anew",
                TrajflowWarning,
                stacklevel=3,
            )
        return self.detector

    def _ood_scores(self, past: Floats, contexts: tuple[Floats, ...]) -> OODScores:
        """Scores of N pasts [N, T, D] with their contexts, after `check_ood`."""
        assert self.detector is not None
        return self.detector.score(past, contexts[0])

    def _selection(self, samples: int, draws: int | None, select: str | None) -> Selection | None:
        """How samples are chosen; None: they are plain draws."""
        return selection_of(select, samples, draws)

    @abstractmethod
    def _contexts(self, request: Request) -> tuple[Floats, ...]:
        """Contexts [N, H] of the N targets, of each network, without memory and types."""

    @abstractmethod
    def _draw(
        self, request: Request, samples: int, seed: int | None
    ) -> tuple[Floats, tuple[Floats, ...]]:
        """Draws [S, N, F, D] of the N targets, and their contexts [N, H] of each network."""

    @abstractmethod
    def _chosen(
        self, request: Request, wanted: Selection, seed: int | None
    ) -> tuple[Floats, Floats]:
        """Chosen futures [S, N, F, D] of the N targets and their weights [S, N]."""


def _with_paths(
    moment: Moment,
    past: Floats,
    agents: Sequence[object],
    drawn: Floats,
    weights: Floats | None,
) -> tuple[Floats, Floats | None]:
    """Draws [S, N, F, D] of all agents of scenes [B, A, T, D] with earlier paths in them."""
    shape = (len(drawn), *past.shape[:2])
    some = None if weights is None else weights.reshape(shape)
    mixed, some = moment.with_paths(past, agents, drawn.reshape(*shape, *drawn.shape[2:]), some)
    return mixed.reshape(drawn.shape), None if some is None else some.reshape(len(drawn), -1)
