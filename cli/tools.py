"""`trajflow export`, `trajflow report`, `trajflow doctor` and `trajflow tui`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.console import ProgressBar, say, say_json, show_findings
from trajflow.cli.options import (
    Device,
    Json,
    Loud,
    Overwrite,
    RunPath,
    Samples,
    Seed,
    Split,
    Steps,
)
from trajflow.cli.tables import pairs
from trajflow.errors import ConfigError


def export(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="With --check: tracks to compare scores on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The .onnx file; default: model.onnx in the run folder, where forecasts of the "
            "run use it, or model-int8.onnx.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="fp32|int8", help="Precision of large matrix products.")
    ] = "fp32",
    check: Annotated[
        bool,
        typer.Option("--check", help="First compare forecasts, and scores on DATA, with the run."),
    ] = False,
    ood: Annotated[
        bool, typer.Option("--ood/--no-ood", help="Whether to include the OOD detector.")
    ] = True,
    steps: Steps = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Export a run as an ONNX graph from pasts and noise to futures.

    Running the file needs numpy and onnxruntime only. With --check, the file is written only if its
    forecasts, and its scores on DATA, agree with those of the run.
    """
    from trajflow.export import ExportOptions, export_run

    options = ExportOptions(precision, check, steps, ood)
    exported = export_run(run, out, options, data, overwrite=overwrite)
    if as_json:
        say_json(exported)
    else:
        say(pairs(exported))


def report(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="A store; default: that of the last evaluation."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT.html", help="The file; it is replaced.")
    ] = Path("report.html"),
    split: Split = "test",
    samples: Samples = 20,
    steps: Steps = 1,
    seed: Seed = 0,
    panels: Annotated[int, typer.Option(min=1, max=20, help="Maps per kind of window.")] = 6,
    device: Device = "auto",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Write an HTML report of a run: scores and baselines, calibration, OOD table, maps.

    It opens in any browser, offline too. The OOD table comes from the last
    `trajflow evaluate RUN DATA --ood`.
    """
    from trajflow.evaluation import EvaluationOptions
    from trajflow.html_report import write_html_report

    options = EvaluationOptions(split=split, samples=samples, steps=steps, seed=seed)
    with ProgressBar("windows") as progress:
        write_html_report(
            run,
            data,
            out,
            options,
            panels=panels,
            device=device,
            on_progress=progress.report,
        )
    if as_json:
        say_json({"out": str(out), "bytes": out.stat().st_size})
    else:
        say(str(out))


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    name: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The repository; it is made if needed.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Upload a run to the Hugging Face Hub with a model card: data, scores and how to use it.

    Weights, settings, calibration, OOD detector and learned samples are uploaded; tracks, events
    and reports are not. Log in by `hf auth login` or HF_TOKEN. `Predictor.from_pretrained` opens
    the run elsewhere. It needs the extra `hub`.
    """
    from trajflow.hub import push_run

    address = push_run(run, name, private=private)
    say_json({"repository": name, "commit": address}) if as_json else say(address)


def doctor(
    path: Annotated[
        Path | None, typer.Argument(metavar="[DATA|RUN]", help="A store, or a run folder.")
    ] = None,
    history: Annotated[int, typer.Option(min=1, help="Past steps of a counted window.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Future steps of a counted window.")] = 12,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Check tracks or a run; without an argument, check the machine.

    Tracks: units, frame interval, gaps, jumps, reused ids, standing agents, leakage. A run: damaged
    files, and whether it loads. The machine: installation, device, threads, disk.
    The exit code is 3 if there is an error.
    """
    from trajflow.doctor import check_machine, check_run, is_run

    if path is None:
        show_findings(check_machine(Path()), as_json)
    elif is_run(path):
        show_findings(check_run(path), as_json)
    else:
        from trajflow.datasets.doctor import doctor as check_store
        from trajflow.datasets.store import open_store

        show_findings(check_store(open_store(path), history, horizon), as_json)


def tui(
    path: Annotated[
        Path,
        typer.Argument(metavar="FOLDER|RUN|STORE", help="A folder to browse, or a run or store."),
    ] = Path("."),
    theme: Annotated[str, typer.Option(help="dark, light, ansi-dark, or a Textual theme.")] = (
        "dark"
    ),
    no_mouse: Annotated[
        bool, typer.Option("--no-mouse", help="Leave the mouse to the terminal, to select text.")
    ] = False,
) -> None:
    """Browse forecasts, watch trainings and look at tracks in the terminal.

    If the folder has neither runs nor stores, a small generated demo is opened.
    """
    from trajflow.remote import url_of

    served = "TEXTUAL_DRIVER" in os.environ  # by `textual serve`, to a browser
    if not (served or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise ConfigError("`tui` needs a terminal; do not run it in a pipe")

    if (url := url_of(path)) is not None:
        raise ConfigError(
            f"the terminal UI opens local folders only; copy {url} to this machine first"
        )
    if not path.exists():
        raise ConfigError(f"no folder, run or store at {path}")
    from trajflow.jobs import end_with_terminal
    from trajflow.tui.app import TrajflowApp

    if not served:
        end_with_terminal(sys.stdin.fileno())
    TrajflowApp(path, theme).run(mouse=not no_mouse)
