"""`trajflow train`: a store in, a run folder out."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trajflow.cli.console import ProgressBar, asking, log, say, say_json, span
from trajflow.cli.options import Device, Json, Loud
from trajflow.cli.tables import pairs, table
from trajflow.errors import ConfigError, DataError

if TYPE_CHECKING:
    from trajflow.config import Config
    from trajflow.runs import RunFolder
    from trajflow.training import Evaluated, Event, Finished, Returned, Started, Step, Trainer

SHOWN = {
    "energy_score": "energy score",
    "energy_score_by_recording": "by recording",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "coverage_90": "coverage@90",
    "spread_ratio": "spread",
}
"""Validation scores that are shown, and what they are called."""


def train(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A store made by `data import` or `data make`."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="RUN.toml", help="Settings; all have defaults.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.NAME=VALUE", help="One setting; may be repeated."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="gru|transformer|tcn|...", help="What reads the past.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="mmf|mmf-paper|meanflow|consistency|terminal|energy|flow",
            help="Which objective is trained.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RUN", help="Run folder; runs/... if not.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run at --out stopped.")
    ] = False,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order, noise.")] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard; extra `log`.")
    ] = False,
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
    """Train a forecaster; Ctrl-C saves, and --resume goes on, also after a crash.

    The best weights are those with the lowest energy score on the validation split, over windows
    spread evenly over it, each of which weighs the same; "by recording" is the mean in which each
    recording does. Half of the validation people are kept back from that choice where 60 or more
    of them were not trained on. With 20 people left the run is also calibrated and its OOD detector
    is fitted; see `trajflow fit`.
    """
    settings = [*(set_ or ())]
    for name, value in (
        ("model.encoder", encoder),
        ("flow.preset", preset),
        ("train.seed", seed),
    ):
        settings += [] if value is None else [f"{name}={value}"]
    if help_config:
        _show_config(_config(config, settings), out, as_json)
        return
    if data is None:
        raise ConfigError("train needs DATA: a store made by `data import` or `data make`")
    from trajflow.fitting import fit_trained
    from trajflow.training.start import resume_training, start_training

    if resume:
        if out is None:
            raise ConfigError("--resume needs the run to go on with: --out runs/NAME")
        if config or settings:
            raise ConfigError(
                "a resumed run keeps its settings; leave out --config, --set, --encoder, --preset "
                "and --seed, or train a new run"
            )
        trainer = resume_training(data, out, device)
    else:
        trainer = start_training(data, _config(config, settings), out, device)
    with asking(trainer.stop) as asked:
        last = _watch(_events(trainer, tensorboard))
    if last.reason != "stopped":
        with ProgressBar("windows") as progress:
            fit_trained(trainer, progress.report)
    _show_end(last, trainer.folder, data, as_json)
    if last.reason == "stopped":
        raise typer.Exit(asked.exit_code)


def _config(file: Path | None, settings: list[str]) -> "Config":
    from trajflow.config import Config

    return Config.load(file, settings)


def _watch(events: Iterable["Event"]) -> "Finished":
    """Show the events of a training on stderr; returns the last one."""
    from trajflow.training import Evaluated, Finished, Returned, Started, Step, Tempered

    progress = ProgressBar("step")
    for event in events:
        if isinstance(event, Started):
            log.info(_started(event))
            progress = ProgressBar("step", event.steps, start=event.step)
        elif isinstance(event, Step):
            progress.update(event.step, _losses(event), left=event.eta)
        elif isinstance(event, Evaluated):
            log.info(_validated(event))
        elif isinstance(event, Returned):
            log.warning(_returned(event))
        elif isinstance(event, Tempered):
            log.info("noise of deviation %g; %s", event.temperature, _scores(event.metrics))
            if event.at_bound:
                log.warning(
                    "the deviation of the noise is at the end of the search, %g: a better one may "
                    "lie beyond; the run may have learned too little, or from too few people",
                    event.temperature,
                )
        elif isinstance(event, Finished):
            progress.close()
            return event
    raise AssertionError("a training ends with Finished")


def _started(event: "Started") -> str:
    """What is trained, where, and for how long."""
    epochs = event.steps / event.steps_per_epoch
    begun = f", from step {event.step}" if event.step else ""
    several = f" with {event.threads} threads" if event.threads > 1 else ""
    return (
        f"{event.parameters:,} weights on {event.device}{several}, "
        f"{event.steps} steps of {epochs:g} epochs{begun}"
    )


def _returned(event: "Returned") -> str:
    """That a loss was not finite, and where the training goes on."""
    return (
        f"loss is {event.loss} at step {event.since}; going back to step {event.step} "
        f"and on with a learning rate of {event.lr:.3g}"
    )


def _losses(event: "Step") -> str:
    """Where a training is."""
    return f"epoch {event.epoch:.1f}  loss {event.loss:.4f}  lambda {event.weight:.2f}"


def _validated(event: "Evaluated") -> str:
    """How the validation split is forecast at this step."""
    best = ["best"] if event.best else []
    scores = _scores(event.metrics)
    return "  ".join([f"epoch {event.epoch:5.1f}", span(event.seconds), scores, *best])


def _scores(metrics: Mapping[str, float]) -> str:
    """Validation scores in one line."""
    return "  ".join(f"{name} {metrics[key]:.3f}" for key, name in SHOWN.items() if key in metrics)


def _events(trainer: "Trainer", tensorboard: bool) -> Iterable["Event"]:
    """The events of a training as they happen, also written for TensorBoard if asked."""
    if not tensorboard or trainer.finished:
        return trainer.run()
    from trajflow.training.tensorboard import logged

    return logged(trainer.run(), trainer.folder.path / "tensorboard")


def _show_config(config: "Config", out: Path | None, as_json: bool) -> None:
    """Print all settings with their values here, or write them as commented TOML.

    Raises:
        DataError: The file is there already.
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
    rows = [[one.name, _shown(one.value), one.kind, one.meaning] for one in settings]
    say(table(["setting", "value", "type", "meaning"], rows, limit=400))


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(value)


def _show_end(last: "Finished", folder: "RunFolder", data: Path, as_json: bool) -> None:
    """Say what came out of a training and what to do next."""
    from trajflow.evaluation.report import best_validation

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
