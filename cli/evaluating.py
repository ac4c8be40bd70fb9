"""What `trajflow evaluate` asks for, turned into a report of a run or of a floor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.progress import Progress
from trajflow.cli.streams import log
from trajflow.errors import ConfigError, RunError

if TYPE_CHECKING:
    from trajflow.batch import Batch
    from trajflow.config import Config
    from trajflow.datasets.data import TrackData
    from trajflow.evaluation import Forecaster

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
    """

    part: str
    fold: str | None
    samples: int
    steps: int
    seed: int


def of_run(
    paths: Sequence[Path], how: Protocol, words: Sequence[str], device: str
) -> dict[str, Any]:
    """The report of a run, also kept in its folder.

    Raises:
        ConfigError: It is not asked for as RUN DATA.
        RunError: The run has learned from what is to be judged, or does not fit.
    """
    from trajflow.cli.judgements import keep
    from trajflow.cli.loading import check_fit, load_predictor
    from trajflow.cli.training import track_data
    from trajflow.datasets.store import open_store
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
            f"{run} left out fold {folder.config.data.fold!r} of these very tracks and has learned "
            f"from {how.fold!r}; train with --set data.fold={how.fold} to judge it there"
        )
    report = _judge(predictor, data, config, how, str(run))
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
    from trajflow.cli.training import track_data
    from trajflow.config import Config
    from trajflow.datasets.store import open_store

    fit = load(name)
    if len(paths) != 1:
        raise ConfigError(f"--baseline needs DATA alone; got {_told(paths)}")
    config = _with_fold(Config.load(None, words), how.fold)
    data = track_data(open_store(paths[0]), config)
    log.info("%s learns from the training part", name)
    floor = fit(data.batches("train", SIZE), how.samples, how.seed)
    return _judge(floor, data, config, how, name)


def _judge(
    forecaster: "Forecaster", data: "TrackData", config: "Config", how: Protocol, name: str
) -> dict[str, Any]:
    from trajflow.evaluation import evaluate

    facts = data.describe()
    total = facts["parts"][how.part]["windows"]
    batches = _counted(data.batches(how.part, SIZE), total)
    groups = data.groups(how.part)
    report = evaluate(forecaster, batches, groups, samples=how.samples, seed=how.seed)
    protocol = {
        "data": str(data.store.path),
        "fingerprint": facts["store"],
        "split": how.part,
        "fold": config.data.fold,
        "history": config.data.history,
        "horizon": config.data.horizon,
        "stride": config.data.stride,
        "unit": data.store.unit,
        "seed": how.seed,
    }
    return {"name": name, "protocol": protocol, **report.to_json(), "steps": how.steps}


def _counted(batches: Iterator["Batch"], total: int) -> Iterator["Batch"]:
    done = 0
    with Progress("windows", total) as progress:
        for batch in batches:
            yield batch
            done += batch.targets
            progress.update(done)


def _with_fold(config: "Config", fold: str | None) -> "Config":
    if fold is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def _told(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "nothing"
