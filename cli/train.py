"""`trajflow train`: a store in, a run folder out."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.options import Device, Json, Loud
from trajflow.errors import ConfigError


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
            metavar="mmf|mmf-paper|meanflow|consistency|terminal|flow",
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

    The best weights are those with the lowest energy score on the validation part, over windows
    spread evenly over it, each of which weighs the same; "by recording" is the mean in which each
    recording does. Half of the validation people are kept back from that choice where 60 or more
    of them were not trained on. With 20 people left the run is also calibrated and learns what is
    strange to it; see `trajflow calibrate` and `trajflow fit-surprise`.
    """
    from trajflow.calibration import FILE as CALIBRATION
    from trajflow.cli.calibrating import calibrate_trained
    from trajflow.cli.console import asking
    from trajflow.cli.fitting_surprise import fit_trained
    from trajflow.cli.training import Ask, events_of, finish, prepare, show_config
    from trajflow.cli.training_view import watch
    from trajflow.files import Manifest
    from trajflow.surprise import FILE as SURPRISE
    from trajflow.training.reproducible import reproducible

    if help_config:
        show_config(Ask(Path(), config, tuple(set_ or ()), encoder, preset, seed), out, as_json)
        return
    if data is None:
        raise ConfigError("train needs DATA: a store made by `data import` or `data make`")
    ask = Ask(data, config, tuple(set_ or ()), encoder, preset, seed)
    trainer = prepare(ask, out, resume, device)
    with asking(trainer.stop) as asked:
        last = watch(events_of(trainer, tensorboard))
    if last.reason != "stopped":
        there = Manifest.read(trainer.folder.path).files if trainer.finished else {}
        with reproducible(trainer.settings.threads, trainer.device):
            if CALIBRATION not in there:
                calibrate_trained(trainer)
            if SURPRISE not in there:
                fit_trained(trainer)
    finish(last, trainer.folder, data, as_json)
    if last.reason == "stopped":
        raise typer.Exit(asked.exit_code)
