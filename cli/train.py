"""`trajflow train`: trains on a store and writes a run folder."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trajflow.cli.console import ProgressBar, log, say, say_json, span, stop_on_signal
from trajflow.cli.options import Device, Json, Loud
from trajflow.cli.options import split as separate
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, DataError

if TYPE_CHECKING:
    from trajflow.config import Config
    from trajflow.training import Event, Finished, Started, Trainer

BASELINES_SECONDS = 2.0
"""About how long the comparison with the baselines takes."""
SCORE_NAMES = {
    "energy_score": "energy score",
    "energy_score_by_recording": "by recording",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "coverage_90": "coverage@90",
    "spread_ratio": "spread",
}
"""Validation scores to print, and their names."""


ALIASES = {
    "epochs": "train.epochs",
    "updates": "train.updates",
    "batch-size": "train.batch_size",
    "lr": "train.lr",
    "history": "data.history",
    "horizon": "data.horizon",
    "split": "data.split",
    "encoder": "model.encoder",
    "preset": "flow.preset",
    "seed": "train.seed",
    "time-limit": "train.time_limit",
    "select-by": "train.select_by",
}
"""Options and the settings that they set."""


def train(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="A store, or a table of tracks, imported to a store beside it.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="RUN.toml", help="Settings in TOML; see --help-config."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.NAME=VALUE", help="One setting; may be repeated."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the training windows.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(metavar="N", help="Updates of the weights, instead of --epochs.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="Target agents in a batch.")
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Peak learning rate.")] = None,
    history: Annotated[
        int | None, typer.Option(metavar="STEPS", help="Past steps of a window.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(metavar="STEPS", help="Future steps that are forecast.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="stored|scene|time|agent", help="How to split into train, val, test."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="gru|transformer|tcn|...", help="Encoder of the past.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="mmf|mmf-paper|meanflow|consistency|terminal|energy|flow",
            help="Objective of the training.",
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit",
            metavar="5m|1h|SECONDS",
            help="Time limit of the whole command, including calibration and comparison.",
        ),
    ] = None,
    select_by: Annotated[
        str | None,
        typer.Option(
            "--select-by",
            metavar="window|recording",
            help="Choose weights by the mean over windows (default) or recordings.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="RUN", help="Run folder; default: in runs/."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Start from this run; --set model.memory=8 adds memory to it."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run at --out where it stopped.")
    ] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="With --resume: train a run to more --epochs or --updates in total."
        ),
    ] = False,
    race: Annotated[
        bool,
        typer.Option(
            "--race/--no-race",
            help="Compare short trainings on validation for settings that do not follow from the "
            "tracks.",
        ),
    ] = True,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print windows, settings, updates and time; write nothing."),
    ] = False,
    device: Device = "auto",
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Train in N processes on this machine, each on its part of every batch and, with "
            "--device cuda, its own GPU. For several machines use `torchrun -m trajflow train`.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order, noise.")] = None,
    log_to: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            metavar="csv|tensorboard|wandb|mlflow",
            help="Also write losses and scores to a logger; repeatable. Extras: log (TensorBoard), "
            "wandb, mlflow.",
        ),
    ] = None,
    help_config: Annotated[
        bool,
        typer.Option(
            "--help-config",
            help="Print all settings with default, type and meaning; with -o as commented TOML.",
        ),
    ] = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Train a forecaster. Ctrl-C saves; --resume continues, also after a crash.

    The best weights have the lowest mean energy score over windows of the validation split; "by
    recording" is the mean over recordings, by which --select-by recording chooses. If the
    validation split has 60 people or more who were not trained on, half of them are reserved for
    calibration. With 20 reserved people or more, the run is also calibrated and its OOD detector is
    fitted; see `trajflow fit`.
    """
    began = time.monotonic()
    options = {name: context.params[name.replace("-", "_")] for name in ALIASES}
    options = {name: value for name, value in options.items() if value is not None}
    words = [*(set_ or ()), *([] if race or resume else ["train.race=false"])]
    settings = [*words, *_words_of_options(options, words)]
    from trajflow.config import Config

    if help_config:
        _show_config(Config.load(config, settings), out, as_json)
        return
    if data is None:
        raise ConfigError("train needs DATA: a store, or a table of tracks such as tracks.csv")
    from trajflow.training.launch import check_processes, is_launched, launch
    from trajflow.training.loggers import check_loggers

    loggers = separate(log_to)
    check_loggers(loggers)
    if extend and not resume:
        raise ConfigError("--extend goes with --resume: train DATA --out RUN --resume --extend")
    if resume:
        for name, value in (("--dry-run", dry_run), ("--init", init)):
            if value:
                raise ConfigError(f"{name} is for a new run; leave it out, or --resume")
        _refuse_beside_resume(
            **{f"--{name}": not (extend and name in ("epochs", "updates")) for name in options},
            **{"--config": config, "--set": words},
        )
        if out is None:
            raise ConfigError("--resume needs the run to continue: --out runs/NAME")
    new_config = None if resume else Config.load(config, settings)
    if processes is not None and not is_launched():
        from trajflow.runs import RunFolder

        train = (new_config or RunFolder.open(str(out)).config).train
        check_processes(processes, train.batch_size, device)
        if processes > 1:
            raise typer.Exit(launch(context.obj, processes))
    from trajflow.training import start
    from trajflow.training.distributed import joined_processes

    with joined_processes(device) as device:
        if new_config is None:
            assert out is not None
            if extend:
                trainer = start.extend_training(
                    data, out, epochs=epochs, updates=updates, device=device
                )
            else:
                trainer = start.resume_training(data, out, device)
        elif dry_run:
            _show_plan(data, new_config, device, init, as_json)
            return
        else:
            trainer = start.start_training(data, new_config, out, device, began, init)
        _train(trainer, loggers, as_json)


def _refuse_beside_resume(**options: object) -> None:
    """Refuse settings, by the names of their options."""
    unused = sorted(name for name, value in options.items() if value)
    if unused:
        raise ConfigError(
            f"a resumed run keeps its settings; leave out {', '.join(unused)}, or "
            "train a new run; --extend with --epochs or --updates trains longer"
        )


def _train(trainer: "Trainer", loggers: Sequence[str], as_json: bool) -> None:
    """Train, calibrate, fit the OOD detector, and print a summary."""
    from trajflow.fitting import fit_trained
    from trajflow.training import distributed

    with stop_on_signal(trainer.stop) as request:
        distributed.barrier()  # from here on all processes handle signals
        last = _watch(_events(trainer, loggers))
    if not distributed.is_main():
        return
    distributed.leave()
    if last.reason != "stopped":
        with ProgressBar("windows") as progress:
            fit_trained(trainer, progress.report)
    _show_end(last, trainer, as_json)
    if last.reason == "stopped":
        raise typer.Exit(request.exit_code)


def _words_of_options(options: Mapping[str, object], words: Sequence[str]) -> list[str]:
    """The settings of options such as --lr, as words of `--set`.

    Raises:
        ConfigError: An option and a word of `--set` are of the same setting, or exclude each other.
    """
    by_setting = {word.partition("=")[0].strip() for word in words}
    if {"epochs", "updates"} <= set(options):
        raise ConfigError("--epochs and --updates both set the length of training; use one")
    result = []
    for name, value in options.items():
        other = {"epochs": "train.updates", "updates": "train.epochs"}.get(name)
        for setting in (ALIASES[name], other):
            if setting in by_setting:
                raise ConfigError(f"--{name} and --set {setting}=... set the same; use one of them")
        result.append(f"{ALIASES[name]}={value}")
        if name == "epochs":
            result.append("train.updates=none")
    return result


def _show_plan(data: Path, config: "Config", device: str, init: Path | None, as_json: bool) -> None:
    """Print what a training would do, and how long it would take on this machine."""
    from trajflow.training.start import plan_training

    plan = plan_training(data, config, device, init)
    if as_json:
        say_json(plan)
        return
    names = ["updates", "epochs", "weights", "device"]
    names += ["seconds_per_update", "seconds_per_validation"]
    summary = {name.replace("_", " "): plan[name] for name in names}
    say("\n".join(plan["lines"]))
    say(pairs(summary | {"estimated time": span(plan["seconds"]), "written": "nothing"}))


def _watch(events: Iterable["Event"]) -> "Finished":
    """Print the events of a training on stderr; returns the last one."""
    from trajflow.training import Evaluated, Finished, Returned, Started, Step, TemperatureChosen

    progress = ProgressBar("step")
    for event in events:
        if isinstance(event, Started):
            log.info(_started(event))
            progress = ProgressBar("step", event.steps, start=event.step)
        elif isinstance(event, Step):
            note = f"epoch {event.epoch:.1f}  loss {event.loss:.4f}  lambda {event.weight:.2f}"
            progress.update(event.step, note, remaining=event.eta)
        elif isinstance(event, Evaluated):
            words = [f"epoch {event.epoch:5.1f}", span(event.seconds), _scores(event.metrics)]
            log.info("  ".join([*words, "best"] if event.best else words))
        elif isinstance(event, Returned):
            log.warning(
                "loss is %s at step %d; going back to step %d with a lower learning rate, %.3g",
                event.loss,
                event.since,
                event.step,
                event.lr,
            )
        elif isinstance(event, TemperatureChosen):
            log.info("temperature %g; %s", event.temperature, _scores(event.metrics))
            if event.at_bound:
                log.warning(
                    "the temperature is at the bound of its search, %g: the run may need more "
                    "updates or more people",
                    event.temperature,
                )
        elif isinstance(event, Finished):
            progress.close()
            return event
    raise AssertionError("a training ends with Finished")


def _started(event: "Started") -> str:
    epochs = event.steps / event.steps_per_epoch
    start = f", from step {event.step}" if event.step else ""
    parallel = f" with {event.threads} threads" if event.threads > 1 else ""
    parallel += f" in {event.processes} processes" if event.processes > 1 else ""
    return (
        f"{event.parameters:,} weights on {event.device}{parallel}, "
        f"{event.steps} steps of {epochs:g} epochs{start}"
    )


def _scores(metrics: Mapping[str, float]) -> str:
    """Validation scores in one line."""
    return "  ".join(
        f"{name} {metrics[key]:.4g}" for key, name in SCORE_NAMES.items() if key in metrics
    )


def _events(trainer: "Trainer", loggers: Sequence[str]) -> Iterable["Event"]:
    """The events of a training, also written to loggers."""
    from trajflow.training import distributed

    if not loggers or trainer.finished or not distributed.is_main():
        return trainer.run()
    from trajflow.training.loggers import log_events

    return log_events(trainer.run(), loggers, trainer.folder.path)


def _show_config(config: "Config", out: Path | None, as_json: bool) -> None:
    """Print all settings with their values, or write them as commented TOML.

    Raises:
        DataError: The file exists.
    """
    from trajflow.config_help import commented_toml, settings_of
    from trajflow.io import write_whole

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
    rows = [
        [s.name, "none" if s.value is None else json.dumps(s.value), s.kind, s.meaning]
        for s in settings
    ]
    say(table(["setting", "value", "type", "meaning"], rows, limit=400))


def _show_end(last: "Finished", trainer: "Trainer", as_json: bool) -> None:
    """Print the results of a training and the next command."""
    from trajflow.evaluation.comparison import overfitting, validation_verdict
    from trajflow.evaluation.report import best_validation

    folder, data = trainer.folder, trainer.data
    best, path = best_validation(folder), data.store.path
    stopped = last.reason == "stopped"
    compared = bool(best) and not stopped and trainer.has_time(BASELINES_SECONDS)
    verdict = validation_verdict(folder, data) if compared else ""
    warning = "" if stopped else overfitting(folder, path)
    if as_json:
        summary = {"run": str(folder.path), "reason": last.reason, "steps": last.step}
        summary |= {"select_by": trainer.settings.select_by, "warning": warning}
        say_json({**summary, "seconds": last.seconds, "best": best, "verdict": verdict})
        return
    resume = f"train {path} --out {folder.path} --resume"
    command = resume if stopped else f"evaluate {folder.path} {path}"
    summary = {"run": folder.path, "steps": last.step, "time": span(last.seconds)}
    summary |= {"weights by": f"mean over {trainer.settings.select_by}s (--select-by)"}
    say(pairs(summary | best.get("metrics", {}) | {"next": f"trajflow {command}"}))
    if warning:
        say(warning)
    if verdict:
        say(f"on the validation windows the run {verdict}")
    elif best and not stopped:
        say("not compared with the baselines: the time limit leaves no time for it")
