"""Names that would command a terminal, through every command and screen: they must be inert.

    python examples/faults/hostile_labels.py [--json] [--keep FOLDER] [--only WORD]

Two stores of the same tracks and two runs trained on them alike, one with tame names, one with
hostile ones: escape sequences (colour, title, clipboard, links), C1 controls, markup with actions,
marks that turn or hide writing, in scenes, ids, types, parts, folds, unit, licence, file and folder
names, and the quarantine. Every command and screen is recorded on a pseudo-terminal over both. The
hostile recording may hold no kind of escape sequence and no control letter that the tame one does
not hold, nothing that sets a title or a clipboard, and must end with the same exit code.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from labelled_data import HOSTILE, Names, write_store, write_table
from pty_recording import Recording, controls, kinds

TINY = [
    "--set", "model.width=16", "--set", "model.decoder_width=16", "--set", "model.decoder_depth=1",
    "--set", "train.epochs=1", "--set", "train.batch_size=32", "--set", "train.samples=4",
]  # fmt: skip


def commands(place: Path, names: Names) -> dict[str, list[object]]:
    """Every command over the files of a place, those that make something first."""
    store, run = place / names.file("data.zarr"), place / names.file("run")
    table, made = place / names.file("rows.csv"), place / names.file("made.zarr")
    out = place / names.file("out.csv")
    fold = ["--set", f"data.fold={names.of('fold', 1)}"]
    return {
        "data info": ["data", "info", store, "--all"],
        "data info json": ["data", "info", store, "--json"],
        "data check": ["data", "check", store],
        "data plot": ["data", "plot", store, "-o", place / names.file("plot.svg")],
        "data import": ["data", "import", "table", table, "-o", made],
        "data import refused": [
            "data", "import", "table", table, "-o", f"{made}2", "--on-problem", "refuse",
        ],
        "data import column": ["data", "import", "table", table, "-o", f"{made}3", "--columns",
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
        "data repair": ["data", "check", place / names.file("hurt.zarr"), "--repair",
                        place / names.file("saved.zarr")],
        "not there": ["doctor", place / names.file("nothing.zarr")],
        "no run": ["evaluate", place / names.file("nothing"), store],
    }  # fmt: skip


def registered() -> set[str | tuple[str, str]]:
    """Every command there is: its word, or both for those of `data`."""
    from trajflow.cli.app import app, data

    shown = [one for one in app.registered_commands if not one.hidden]
    own: set[str | tuple[str, str]] = {_word(one) for one in shown}
    return own | {("data", _word(one)) for one in data.registered_commands}


def _word(one: object) -> str:
    return str(one.name or one.callback.__name__)  # type: ignore[attr-defined]


NEEDED = ("train", "train fold")
"""What the others need."""
HOME = ("", "Strange")
SCREENS: dict[str, list[tuple[str, str]]] = {
    "home": [HOME, ("j", ""), ("k", ""), (":", "(?i)search"), ("\x1b", "")],
    "help": [HOME, ("?", "q closes"), ("j", ""), ("q", "")],
    "training": [HOME, ("w", "Forecasts")],
    "data": [HOME, ("d", "Examine"), ("e", "files|time|labels"), ("y", "")],
    "forecast": [
        HOME, ("\r", "Resample"), ("a", ""), ("]", ""), ("v", ""), ("u", ""), ("P", ""), ("C", ""),
    ],
    "go to": [HOME, ("\r", "Resample"), ("/", "(?i)window"), ("\x1b", "")],
    "rivals": [HOME, ("\r", "Resample"), ("V", "cv"), ("\x1b", "")],
    "edit": [HOME, ("\r", "best on average"), ("e", "Put back"), ("e", "Resample")],
    "strange": [HOME, ("o", "out of distribution")],
    "start": [HOME, ("n", "run folder"), ("\x1b", "")],
}  # fmt: skip
"""What is pressed on each screen, and what must then be seen: words that no other screen has."""


def record(words: list[object], cwd: Path) -> tuple[bytes, int | None]:
    """What a command writes on a terminal, and its exit code."""
    recording = Recording(words, cwd, {"XDG_CACHE_HOME": str(cwd / "cache")})
    code = recording.finish(240)
    return recording.raw, code


def record_screen(name: str, place: Path) -> tuple[bytes, int | None]:
    """What the application writes while a screen is opened and used; no code if it never opens."""
    recording = Recording(["tui", place], place, {"XDG_CACHE_HOME": str(place / "cache")})
    lost = False
    for key, seen in SCREENS[name]:
        if key:
            recording.press(key)
        if seen:
            lost |= not recording.until(seen, 90)
        recording.rest(1.0)
    code = recording.leave("\x1b", "Q")
    return recording.raw, None if lost else code


def compare(
    name: str, tame: tuple[bytes, int | None], hostile: tuple[bytes, int | None]
) -> dict[str, object]:
    """What the hostile recording holds that the tame one does not."""
    strange = sorted(kinds(hostile[0]) - kinds(tame[0]))
    strange += sorted(controls(hostile[0]) - controls(tame[0]))
    strange += [kind for kind in kinds(hostile[0]) if kind.startswith(("ESC]0", "ESC]52", "ESC]8"))]
    told = {"what": name, "bytes": len(hostile[0]), "code": hostile[1], "strange": strange}
    return told | {"ok": not strange and tame[1] == hostile[1] is not None, "tame_code": tame[1]}


def main() -> None:
    """Record all, compare, and say what is not inert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="commands and screens whose names hold this")
    parser.add_argument("--keep", type=Path, help="folder for the recordings")
    asked = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        places, sides = {}, {}
        for kind, words in (("tame", ()), ("hostile", HOSTILE)):
            place = places[kind] = Path(folder, kind)
            place.mkdir()
            names = Names(words)
            write_store(place / names.file("data.zarr"), names)
            write_table(place / names.file("rows.csv"), names)
            hurt = place / names.file("hurt.zarr")
            shutil.copytree(place / names.file("data.zarr"), hurt)
            (hurt / "x" / "c" / "0").rename(hurt / "seal" / "zarr.json")
            shutil.copy(place / names.file("data.zarr") / "x" / "c" / "0", hurt / "x" / "c" / "0")
            sides[kind] = commands(place, names)
        for name in sides["tame"]:
            words = tuple(map(str, sides["tame"][name][:2]))
            known = words[0] in registered() or words in registered()
            if known and (asked.only in name or name in NEEDED):
                found = {kind: record(sides[kind][name], places[kind]) for kind in places}
                results.append(_said(name, found, asked))
        for name in SCREENS:
            if asked.only in f"screen {name}":
                found = {kind: record_screen(name, places[kind]) for kind in places}
                results.append(_said(f"screen {name}", found, asked))
    bad = [one for one in results if not one["ok"]]
    told = {"recorded": len(results), "not_inert": len(bad)}
    if asked.json:
        print(json.dumps({**told, "all": results}, indent=2))
    else:
        print(", ".join(f"{name} {count}" for name, count in told.items()))
    sys.exit(1 if bad else 0)


def _said(
    name: str, found: dict[str, tuple[bytes, int | None]], asked: argparse.Namespace
) -> dict[str, object]:
    """Compare two recordings, keep them if that was asked, and print how they compare."""
    one = compare(name, found["tame"], found["hostile"])
    if asked.keep:
        asked.keep.mkdir(exist_ok=True)
        for kind, (raw, _) in found.items():
            (asked.keep / f"{name.replace(' ', '-')}.{kind}").write_bytes(raw)
    if not asked.json:
        how = "inert" if one["ok"] else "NOT INERT"
        codes = f"exit {one['code']}, tame {one['tame_code']}"
        print(f"{how:9} {name:22} {codes}  {one['strange'] or ''}", flush=True)
    return one


if __name__ == "__main__":
    main()
