"""Names with terminal commands, through every command and screen: they must have no effect.

    python examples/faults/hostile_labels.py [--json] [--keep FOLDER] [--only TEXT]

Two stores of the same tracks and two runs trained on them, one with ordinary names and one with
hostile names: escape sequences (colour, title, clipboard, links), C1 controls, markup with actions,
and characters that turn or hide text, in scenes, ids, types, folds, unit, licence, file and folder
names, and the quarantine table. Every command and screen is recorded on a pseudo-terminal for both.
The hostile recording must not contain a kind of escape sequence or a control character that the
other one does not contain, nothing that sets a title or the clipboard, and must end with the same
exit code.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from fixtures import TINY_SETTINGS, set_options
from labelled_data import HOSTILE, Names, write_store, write_table
from report import option_parser, print_report
from terminal import Recording, control_characters, escape_kinds

TINY = set_options((*TINY_SETTINGS, "train.epochs=1"))
Output = tuple[bytes, int | None]
"""The recorded bytes and the exit code."""


def commands(place: Path, names: Names) -> dict[str, list[object]]:
    """Every command with the files of a folder; those that write files come first."""
    store, run = place / names.file("data.zarr"), place / names.file("run")
    table, imported = place / names.file("rows.csv"), place / names.file("made.zarr")
    out = place / names.file("out.csv")
    fold = ["--set", f"data.fold={names.of('fold', 1)}"]
    return {
        "data info": ["data", "info", store, "--all"],
        "data info json": ["data", "info", store, "--json"],
        "data check": ["data", "check", store],
        "data plot": ["data", "plot", store, "-o", place / names.file("plot.svg")],
        "data import": ["data", "import", "table", table, "-o", imported],
        "data import refused": [
            "data", "import", "table", table, "-o", f"{imported}2", "--on-problem", "refuse",
        ],
        "data import column": ["data", "import", "table", table, "-o", f"{imported}3", "--columns",
                               f"x={names.of('no', 2)}"],
        "data make": ["data", "make", names.of("fork", 2), "-o", place / names.file("f.zarr")],
        "doctor": ["doctor", store],
        "doctor json": ["doctor", store, "--json"],
        "train": ["train", store, "--out", run, *TINY],
        "train fold": ["train", store, "--out", f"{run}2", *TINY, *fold],
        "train unknown": ["train", store, "--out", f"{run}3", "--set", f"{names.of('a', 2)}=1"],
        "evaluate": ["evaluate", run, store, "--split", "val"],
        "evaluate json": ["evaluate", run, store, "--split", "val", "--json"],
        "fit calibration": ["fit", run, store, "calibration"],
        "fit samples": ["fit", run, store, "samples"],
        "fit ood": ["fit", run, store, "ood"],
        "runs": ["runs", place],
        "data add-image": ["data", "add-image", store, names.of("a", 1),
                           place / names.file("m.png"), "--metres-per-pixel", "0.1"],
        "compare": ["compare", "--anyway", run, f"{run}2"],
        "predict": ["predict", run, store, "-o", out],
        "predict table": ["predict", run, table, "-o", place / "table.csv", "--dt", "0.4"],
        "plot": ["plot", run, store, "-o", place / names.file("forecasts.svg"), "--split", "val"],
        "plot scene": ["plot", run, store, "-o", place / "f.svg", "--scene", names.of("no", 3)],
        "evaluate ood": ["evaluate", run, store, "--split", "val", "--ood", "--corruptions",
                         "noise", "--windows", "20"],
        "bench": ["bench", run, "--show", "footprint", "--seconds", "0.05"],
        "report": ["report", run, store, "-o", place / names.file("report.html"), "--split", "val"],
        "export": ["export", run, "-o", place / names.file("model.onnx")],
        "data repair": ["data", "check", place / names.file("damaged.zarr"), "--repair",
                        place / names.file("saved.zarr")],
        "not there": ["doctor", place / names.file("nothing.zarr")],
        "no run": ["evaluate", place / names.file("nothing"), store],
    }  # fmt: skip


def registered() -> set[str | tuple[str, str]]:
    """The name of every visible command, as a pair for those of `data`."""
    from trajflow.cli.app import app, data

    visible = [command for command in app.registered_commands if not command.hidden]
    names: set[str | tuple[str, str]] = {_name(command) for command in visible}
    return names | {("data", _name(command)) for command in data.registered_commands}


def _name(command: object) -> str:
    return str(command.name or command.callback.__name__)  # type: ignore[attr-defined]


REQUIRED = ("train", "train fold")
"""Commands whose runs the others need."""
HOME = ("", "1 run, 1 store")
FORECAST = ("\r", "Resample")
SCREENS: dict[str, list[tuple[str, str]]] = {
    "home": [HOME, ("j", ""), ("k", ""), (":", "(?i)search"), ("\x1b", "")],
    "help": [HOME, ("?", "Screenshot"), ("}", ""), ("?", "")],
    "training": [HOME, ("w", "Forecasts")],
    "data": [HOME, ("d", "· data"), ("j", ""), ("n", "run folder"), ("\x1b", "")],
    "forecast": [
        HOME, FORECAST, ("a", ""), ("]", ""), ("v", ""), ("u", ""), ("P", ""), ("C", ""),
    ],
    "go to": [HOME, FORECAST, ("/", "(?i)window"), ("\x1b", "")],
    "compare": [HOME, FORECAST, ("V", "cv"), ("\x1b", "")],
    "edit": [HOME, ("\r", r"seed \d"), ("e", "Nudge|edit"), ("e", "")],
    "ood": [HOME, ("o", "Evaluate|Chart")],
    "new training": [HOME, ("n", "run folder"), ("\x1b", "")],
}  # fmt: skip
"""Keys to press on each screen, and text that must then appear and is on no other screen."""


def record(arguments: list[object], folder: Path) -> Output:
    """Run a command on a terminal."""
    recording = Recording(arguments, folder)
    code = recording.finish(240)
    return recording.raw, code


def record_screen(name: str, folder: Path) -> Output:
    """Open and use a screen of the terminal UI; no exit code if its text does not appear."""
    recording = Recording(["tui", folder / "screens"], folder)
    complete = True
    for key, text in SCREENS[name]:
        if key:
            recording.press(key)
        complete = complete and (not text or recording.wait_for(text, 90))
        recording.record(1.0)
    code = recording.quit("\x1b", "Q")
    return recording.raw, code if complete else None


def compare(name: str, ordinary: Output, hostile: Output) -> dict[str, object]:
    """What the hostile recording contains that the ordinary one does not."""
    kinds = escape_kinds(hostile[0])
    extra = sorted(kinds - escape_kinds(ordinary[0]))
    extra += sorted(control_characters(hostile[0]) - control_characters(ordinary[0]))
    extra += [kind for kind in kinds if kind.startswith(("ESC]0", "ESC]52", "ESC]8"))]
    return {
        "name": name,
        "ok": not extra and hostile[1] is not None and hostile[1] == ordinary[1],
        "bytes": len(hostile[0]),
        "code": hostile[1],
        "ordinary_code": ordinary[1],
        "extra": extra,
    }


def prepare(folder: Path, names: Names) -> None:
    """Write the store, a damaged copy and the table that the commands read."""
    folder.mkdir()
    store, damaged = folder / names.file("data.zarr"), folder / names.file("damaged.zarr")
    write_store(store, names)
    write_table(folder / names.file("rows.csv"), names)
    shutil.copytree(store, damaged)
    shutil.copy(store / "x" / "c" / "0", damaged / "seal" / "zarr.json")


def copy_run(folder: Path, names: Names) -> None:
    """Copy the run and its store to a folder of their own, which the terminal UI opens."""
    for name in ("data.zarr", "run"):
        shutil.copytree(folder / names.file(name), folder / "screens" / names.file(name))


def main() -> None:
    """Record all commands and screens; exit code 1 if a hostile name had an effect."""
    parser = option_parser(__doc__)
    parser.add_argument("--only", default="", help="commands and screens that contain this text")
    parser.add_argument("--keep", type=Path, help="folder for the recordings")
    options = parser.parse_args()
    comparisons: list[dict[str, object]] = []

    def add(name: str, ordinary: Output, hostile: Output) -> None:
        comparison = compare(name, ordinary, hostile)
        comparisons.append(comparison)
        if options.keep:
            options.keep.mkdir(exist_ok=True)
            for kind, (raw, _) in {"ordinary": ordinary, "hostile": hostile}.items():
                (options.keep / f"{name.replace(' ', '-')}.{kind}").write_bytes(raw)
        if not options.json:
            outcome = "ok" if comparison["ok"] else "EFFECT"
            codes = f"exit {comparison['code']}, ordinary {comparison['ordinary_code']}"
            print(f"{outcome:7} {name:22} {codes}  {comparison['extra'] or ''}", flush=True)

    with tempfile.TemporaryDirectory() as place:
        folders = {Path(place, "ordinary"): Names(()), Path(place, "hostile"): Names(HOSTILE)}
        for folder, names in folders.items():
            prepare(folder, names)
        ordinary, hostile = (commands(folder, names) for folder, names in folders.items())
        pairs = [(name, [ordinary[name], hostile[name]]) for name in ordinary]
        for name, both in pairs:
            words = tuple(map(str, ordinary[name][:2]))
            exists = words[0] in registered() or words in registered()
            if exists and (options.only in name or name in REQUIRED):
                add(name, *(record(*pair) for pair in zip(both, folders, strict=True)))
        for folder, names in folders.items():
            copy_run(folder, names)
        for name in SCREENS:
            if options.only in f"screen {name}":
                add(f"screen {name}", *(record_screen(name, folder) for folder in folders))
    failed = sum(not comparison["ok"] for comparison in comparisons)
    results: dict[str, object] = {"recorded": len(comparisons), "with an effect": failed}
    if options.json:
        print(json.dumps({**results, "all": comparisons}, indent=1))
    else:
        print_report(results, False)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
