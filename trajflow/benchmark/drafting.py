"""From what is asked for to a plan: which trials, with which settings, judged how."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trajflow.baselines import load as load_floor
from trajflow.benchmark.plan import Plan, Trial, named
from trajflow.benchmark.recipes import recipe
from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.errors import ConfigError
from trajflow.evaluation import Judging
from trajflow.inference.choosing import LEARNED, check_rule, draws_of
from trajflow.training.setup import preset_of

FLOORS = ("cv", "cv-sampled", "anchors", "analog")
MANY_STEPS = (1, 4, 16, 64)
"""Evaluations per draw by which a preset is judged that was not made for one."""


@dataclass(frozen=True)
class Ask:
    """What a benchmark shall be made of.

    Attributes:
        benchmark: Its name.
        folds: Some of its folds; empty for all.
        seeds: So many seeds, from 0 on.
        presets: Members of the flow family that are trained.
        steps: Evaluations per draw, 1 among them or not.
        floors: Forecasters that need no training.
        select: Ways in which 20 are also chosen of many draws, as `Judging` names them.
        draws: How many these are.
        ensemble: Whether all seeds of a preset are also judged as one forecaster.
        clocks: Real seconds per step of recordings, as `Judging` has them; one evaluation per draw
            is also judged with these told.
        file: Settings in TOML.
        words: Single settings, SECTION.NAME=VALUE.
    """

    benchmark: str
    folds: tuple[str, ...] = ()
    seeds: int = 3
    presets: tuple[str, ...] = ("mmf", "flow")
    steps: tuple[int, ...] = (1,)
    floors: tuple[str, ...] = FLOORS
    select: tuple[str, ...] = ()
    draws: int = 1000
    ensemble: bool = False
    clocks: str = ""
    file: Path | None = None
    words: tuple[str, ...] = ()


def plan_of(ask: Ask, store: Store) -> Plan:
    """The trials that are asked for: floors first, then seed by seed, so that one is whole soon.

    Raises:
        ConfigError: A name or a setting is wrong, or the store does not fit.
    """
    if ask.seeds < 1 or min(ask.steps, default=1) < 1:
        raise ConfigError(f"seeds and steps must be at least 1, got {ask.seeds} and {ask.steps}")
    for rule in ask.select:
        check_rule(rule)
    return Plan(ask.benchmark, store.path.name, store.fingerprint(), tuple(_trials(ask, store)))


def _trials(ask: Ask, store: Store) -> Iterator[Trial]:
    how = recipe(ask.benchmark)
    folds = {fold: how.words(store, fold) for fold in how.folds(store, ask.folds)}
    for name in ask.floors:
        load_floor(name)
        for fold, words in folds.items():
            config = Config(data=Config.load(ask.file, [*ask.words, *words]).data)
            terms = Judging(miss=how.miss, collide=how.collide)
            yield Trial(fold, name, 0, config, (terms,), floor=True)
    for seed in range(ask.seeds):
        for preset in ask.presets:
            for fold, words in folds.items():
                own = [f"flow.preset={preset}", f"train.seed={seed}"]
                config = Config.load(ask.file, [*ask.words, *words, *own])
                yield Trial(fold, preset, seed, config, _evaluations(ask, config))
    if ask.ensemble:
        yield from _ensembles(ask, folds)


def _ensembles(ask: Ask, folds: Mapping[str, Sequence[str]]) -> Iterator[Trial]:
    """All seeds of each preset as one forecaster, for every fold."""
    if ask.seeds < 2:
        raise ConfigError(f"an ensemble needs 2 seeds or more, got {ask.seeds}")
    for preset in ask.presets:
        for fold, words in folds.items():
            config = Config.load(ask.file, [*ask.words, *words, f"flow.preset={preset}"])
            if config.model.joint:
                raise ConfigError("samples of whole scenes are not mixed; leave out --ensemble")
            found = _evaluations(replace(ask, steps=()), config)
            terms = tuple(_shared(one, ask.seeds) for one in found if one.steps == 1)
            members = tuple(named(fold, preset, seed) for seed in range(ask.seeds))
            yield Trial(fold, f"{preset}-ensemble", 0, config, terms, members=members)


def _shared(terms: Judging, members: int) -> Judging:
    """Terms of an ensemble; a set that each member has learned costs the draws of all."""
    if terms.selection != LEARNED:
        return terms
    return replace(terms, draws=members * terms.samples)


def _evaluations(ask: Ask, config: Config) -> tuple[Judging, ...]:
    how = recipe(ask.benchmark)
    plain = Judging(joint=config.model.joint, miss=how.miss, collide=how.collide)
    average = preset_of(config.flow).average
    steps = sorted({1, *ask.steps}) if average else MANY_STEPS
    found = [replace(plain, steps=count) for count in steps]
    if ask.select and average and config.model.joint:
        raise ConfigError("samples of whole scenes are not chosen; leave out --select")
    for rule in ask.select if average else ():
        draws = draws_of(rule, plain.samples, ask.draws)
        found.append(replace(plain, selection=rule, draws=draws))
    if ask.clocks and not config.model.condition_on_dt:
        raise ConfigError(
            "a clock can be told to a model of several rates: model.condition_on_dt=true"
        )
    one = [terms for terms in found if terms.steps == 1] if ask.clocks else []
    return (*found, *(replace(terms, clocks=ask.clocks) for terms in one))
