"""What `trajflow train` asks for, turned into a trainer, and what its end is told as."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from trajflow.cli.console import log, say, say_json, span
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from trajflow.config import Config
    from trajflow.runs import RunFolder
    from trajflow.training import Event, Finished, Trainer

SAME = {"store": "tracks", "hash": "parts of the tracks"}


@dataclass(frozen=True)
class Ask:
    """The settings of a training as the command line gives them.

    Attributes:
        data: The store.
        file: Settings in TOML, or None for the defaults.
        words: Single settings, SECTION.NAME=VALUE; they win over the file.
        encoder, preset, seed: Short names of three settings; they win over both.
    """

    data: Path
    file: Path | None = None
    words: tuple[str, ...] = ()
    encoder: str | None = None
    preset: str | None = None
    seed: int | None = None

    def config(self) -> "Config":
        """All settings."""
        from trajflow.config import Config

        short = {"model.encoder": self.encoder, "flow.preset": self.preset, "train.seed": self.seed}
        extra = [f"{name}={value}" for name, value in short.items() if value is not None]
        return Config.load(self.file, [*self.words, *extra])

    @property
    def plain(self) -> bool:
        """Whether no setting was given."""
        return not (self.file or self.words or self.encoder or self.preset or self.seed is not None)


def prepare(ask: Ask, out: Path | None, resume: bool, device: str) -> "Trainer":
    """A trainer at its first step, or where an earlier one stopped.

    Raises:
        ConfigError: A setting is wrong.
        RunError: A run cannot be made, or not be resumed with these tracks.
    """
    from trajflow.datasets.store import open_store
    from trajflow.run_data import facts_of, track_data
    from trajflow.training.setup import device_of, new_trainer

    if resume:
        return _resumed(ask, out, device)
    config, store = ask.config(), open_store(ask.data)
    path = out or free_path(
        Path("runs") / f"{ask.data.stem}-{config.model.encoder}-{config.flow.preset}"
    )
    data = track_data(store, config)
    facts = facts_of(store)
    trainer = new_trainer(config, data, str(path), data.describe(), facts, device_of(device))
    log.info("run folder %s", path)
    return trainer


def _resumed(ask: Ask, out: Path | None, device: str) -> "Trainer":
    from trajflow.datasets.store import open_store
    from trajflow.run_data import facts_of, run_data
    from trajflow.runs import RunFolder
    from trajflow.training.setup import device_of, resumed_trainer

    if out is None:
        raise ConfigError("--resume needs the run to go on with: --out runs/NAME")
    if not ask.plain:
        raise ConfigError(
            "a resumed run keeps its settings; leave out --config, --set, --encoder, --preset "
            "and --seed, or train a new run"
        )
    folder, store = RunFolder.open(out), open_store(ask.data)
    data = run_data(store, folder)
    known, given = folder.read_record(), data.describe()
    for key, what in SAME.items():
        if known.get(key) != given[key]:
            raise RunError(f"{ask.data} does not hold the {what} that {out} was trained on")
    trainer = resumed_trainer(folder, data, facts_of(store), device_of(device))
    if trainer.finished:
        log.info("%s has been trained to its end; nothing is left to train", out)
    return trainer


def events_of(trainer: "Trainer", tensorboard: bool) -> Iterable["Event"]:
    """The events of a training as they happen, also written for TensorBoard if asked."""
    if not tensorboard or trainer.finished:
        return trainer.run()
    from trajflow.training.tensorboard import logged

    return logged(trainer.run(), trainer.folder.path / "tensorboard")


def free_path(path: Path) -> Path:
    """The path, or the first of PATH-2, PATH-3, ... that is free."""
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())


def show_config(ask: Ask, out: Path | None, as_json: bool) -> None:
    """Print all settings with their values here, or write them as commented TOML.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The file is there already.
    """
    from trajflow.config_help import commented_toml, settings_of
    from trajflow.files import write_whole

    config = ask.config()
    if out is not None:
        if out.exists():
            raise DataError(f"{out} exists already; choose another path")
        write_whole(out, commented_toml(config).encode())
        say(str(out))
        return
    settings = settings_of(config)
    if as_json:
        say_json({"settings": [asdict(setting) for setting in settings]})
        return
    rows = [[one.name, _shown(one.value), one.kind, one.meaning] for one in settings]
    say(table(["setting", "value", "type", "meaning"], rows, limit=400))


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(value)


def finish(last: "Finished", folder: "RunFolder", data: Path, as_json: bool) -> None:
    """Say what came out of a training and what to do next."""
    from trajflow.cli.judgements import best_validation

    best = best_validation(folder)
    stopped = last.reason == "stopped"
    if as_json:
        known = {"run": str(folder.path), "reason": last.reason, "steps": last.step}
        say_json({**known, "seconds": last.seconds, "best": best})
        return
    again = f"train {data} --out {folder.path} --resume"
    verb = again if stopped else f"evaluate {folder.path} {data}"
    shown = {"run": folder.path, "steps": last.step, "time": span(last.seconds)}
    say(pairs(shown | best.get("metrics", {}) | {"next": f"trajflow {verb}"}))
