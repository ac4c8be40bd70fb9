"""What `trajflow evaluate` asks for, turned into a report of a run or of a floor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.console import Progress, counted, log
from trajflow.errors import ConfigError, RunError

if TYPE_CHECKING:
    from trajflow.config import Config
    from trajflow.datasets.loader import TrackData
    from trajflow.datasets.store import Store
    from trajflow.evaluation import Forecaster, Judging

SIZE = 512
"""Targets in a batch."""


@dataclass(frozen=True)
class Protocol:
    """What is judged, and how.

    Attributes:
        part: "train", "val" or "test".
        fold: Leave-one-out fold, or None for the one that the run left out, if any.
        samples: Draws of each agent.
        steps: Network evaluations per draw.
        seed: Seed of the draws.
        miss: Distance beyond which the best endpoint is a miss, in the unit of the tracks.
        collide: Distance below which two agents collide, in the unit of the tracks.
        agreement: Whether joint scores of shuffled samples are wanted of one that is not joint.
        select: Rule that chooses the samples of more draws; None: plain draws.
        draws: How many these are; None: as many as is usual.
        clocks: Real seconds per step of some recordings, as `Judging` has them.
    """

    part: str
    fold: str | None
    samples: int
    steps: int
    seed: int
    miss: float = 2.0
    collide: float = 0.2
    agreement: bool = False
    select: str | None = None
    draws: int | None = None
    clocks: str = ""

    def judging(self, joint: bool = False, standing: float | None = None) -> "Judging":
        """The terms of the evaluation.

        Raises:
            ConfigError: The samples cannot be chosen so.
        """
        from trajflow.choosing import selection_of
        from trajflow.evaluation import Judging
        from trajflow.evaluation.joint import SHUFFLES

        chosen = selection_of(self.select, self.samples, self.draws)
        return Judging(
            samples=self.samples,
            draws=chosen.draws if chosen else 0,
            selection=chosen.rule if chosen else "plain",
            joint=joint,
            steps=self.steps,
            seed=self.seed,
            miss=self.miss,
            collide=self.collide,
            shuffles=SHUFFLES if (joint and not chosen) or self.agreement else 0,
            standing=standing,
            clocks=self.clocks,
        )


def of_run(
    paths: Sequence[Path], how: Protocol, words: Sequence[str], device: str
) -> dict[str, Any]:
    """The report of a run, also kept in its folder.

    Raises:
        ConfigError: It is not asked for as RUN DATA.
        RunError: The run has learned from what is to be judged, or does not fit.
    """
    from trajflow.cli.judgements import keep
    from trajflow.datasets.store import open_store
    from trajflow.inference.predict import load_predictor
    from trajflow.inference.tables import check_fit
    from trajflow.run_data import track_data
    from trajflow.runs import RunFolder

    if len(paths) != 2:
        raise ConfigError(f"evaluate needs RUN DATA, or --baseline NAME DATA; got {_told(paths)}")
    if words:
        raise ConfigError("--set is for a baseline; a run is judged with its own windows")
    run, place = paths
    folder, store = RunFolder.open(run), open_store(place)
    predictor = load_predictor(run, device, how.steps)
    check_fit(predictor, store, place)
    config = _with_fold(folder.config, how.fold)
    data = track_data(store, config)
    record = folder.read_record()
    if record.get("store") == store.fingerprint() and config.data != folder.config.data:
        raise RunError(
            f"{run} left out {_fold(folder.config)} of these very tracks and has learned from "
            f"{_fold(config)}; train with --set data.fold={how.fold} to judge it there"
        )
    report = _judge(predictor, data, config, how, str(run))
    if run.suffix != ".onnx":
        keep(folder, report)
    return report


def of_baseline(
    name: str, paths: Sequence[Path], how: Protocol, words: Sequence[str]
) -> dict[str, Any]:
    """The report of a floor that learns from the training part of the same tracks.

    Raises:
        ConfigError: It is not asked for as DATA, or there is no such floor.
    """
    from trajflow.baselines import load
    from trajflow.config import Config
    from trajflow.datasets.store import open_store
    from trajflow.run_data import track_data

    fit = load(name)
    if len(paths) != 1:
        raise ConfigError(f"--baseline needs DATA alone; got {_told(paths)}")
    if how.select is not None:
        raise ConfigError("--select is for a run; the samples of a baseline are not chosen")
    config, store = _with_fold(Config.load(None, words), how.fold), open_store(paths[0])
    unsplit = how.part == "test" and "test" not in store.splits
    if config.data.fold is None and unsplit and store.folds:
        return _over_folds(name, store, config, how)
    data = track_data(store, config)
    log.info("%s learns from the training part", name)
    floor = fit(data.batches("train", SIZE), how.samples, how.seed)
    return _judge(floor, data, config, how, name)


def _over_folds(name: str, store: "Store", config: "Config", how: Protocol) -> dict[str, Any]:
    """The report of a floor on every fold, after learning from the others' training parts."""
    from trajflow.baselines import load
    from trajflow.evaluation import evaluate_folds
    from trajflow.evaluation.motion import standing_pace
    from trajflow.run_data import track_data

    names, hashes = list(store.folds or {}), dict[str, str]()

    def folds() -> Iterator["TrackData"]:
        with Progress("folds", len(names)) as progress:
            for done, fold in enumerate(names):
                yield (data := track_data(store, _with_fold(config, fold)))
                hashes[fold] = data.describe()["hash"]
                progress.update(done + 1)

    first = track_data(store, _with_fold(config, names[0]))
    terms = how.judging(standing=standing_pace(first, "train"))
    report = evaluate_folds(load(name), folds(), terms, SIZE)
    made = {"fold": "each of " + ", ".join(names), "hash": hashes}
    told = _protocol(store, config, how) | made
    return {"name": name, "protocol": told, **report.to_json()}


def _judge(
    forecaster: "Forecaster", data: "TrackData", config: "Config", how: Protocol, name: str
) -> dict[str, Any]:
    from trajflow.evaluation import judge
    from trajflow.evaluation.clocks import read_clocks, told
    from trajflow.evaluation.motion import standing_pace

    total = data.describe()["parts"][how.part]["windows"]
    clocks = read_clocks(how.clocks)
    parts = told(data.batches(how.part, SIZE), data.store.scenes, clocks, data.store.dt)
    batches = counted("windows", parts, lambda b: b.targets, total)
    terms = how.judging(config.model.joint, standing_pace(data, how.part))
    report = judge(forecaster, batches, data.groups(how.part), terms)
    return {
        "name": name,
        "protocol": _protocol(data.store, config, how) | {"hash": data.describe()["hash"]},
        **report.to_json(),
    }


def _protocol(store: "Store", config: "Config", how: Protocol) -> dict[str, Any]:
    return {
        "data": str(store.path),
        "fingerprint": store.fingerprint(),
        "split": how.part,
        "fold": config.data.fold,
        "history": config.data.history,
        "horizon": config.data.horizon,
        "stride": config.data.stride,
        "unit": store.unit,
        "seed": how.seed,
    }


def _with_fold(config: "Config", fold: str | None) -> "Config":
    if fold is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def _fold(config: "Config") -> str:
    return f"fold {config.data.fold!r}" if config.data.fold else "the test part"


def _told(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "nothing"
