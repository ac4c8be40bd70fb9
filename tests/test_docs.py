"""Docstrings: axes come from one alphabet, arrays say their axes, examples run."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from trajflow.cli.app import app
from trajflow.config import Config
from trajflow.config_help import settings_of

ROOT = Path(__file__).parents[1]
ALPHABET = {
    "B": "scenes",
    "A": "agents",
    "T": "past steps",
    "F": "future steps",
    "D": "coordinates",
    "S": "samples",
    "H": "width",
    "N": "tokens or rows",
    "W": "windows",
    "K": "trajectories of a store, or classes",
    "Q": "quantile levels",
}
BRACKET = re.compile(r"(?<![\w\])`'\"])\[([^\[\]\n]{1,60})\](?!\()")
AXIS = re.compile(r"[A-Z](?: ?[-+*] ?(?:[A-Z]|\d+))*|\d+ ?[-+*] ?[A-Z]")
FREE = re.compile(r"\*|\.\.\.|\d+")
ARRAYS = ("Tensor", "NDArray", "ndarray", "Floats", "Bools", "Ints")


def modules() -> list[str]:
    tops = {"trajflow": "trajflow", "datasets": "trajflow.datasets", "cli": "trajflow.cli"}
    names = []
    for top, package in tops.items():
        for path in sorted((ROOT / top).rglob("*.py")):
            inside = path.relative_to(ROOT / top)
            if top == "trajflow" and inside.parts[0] in ("datasets", "cli", "__main__.py"):
                continue
            parts = [package, *inside.with_suffix("").parts]
            names.append(".".join(parts).removesuffix(".__init__"))
    return names


def documented(name: str) -> Iterator[tuple[str, str]]:
    """Every docstring of a file, with where it stands."""
    tree = ast.parse(inspect.getsource(importlib.import_module(name)))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield f"{name}.{getattr(node, 'name', '')}", text


def shapes(text: str) -> Iterator[list[str]]:
    """The shapes of a text: brackets in which every entry is an axis, a number, * or ..."""
    for match in BRACKET.finditer(text):
        entries = [entry.strip() for entry in match[1].split(",")]
        known = [AXIS.fullmatch(entry) or FREE.fullmatch(entry) for entry in entries]
        if all(known) and not all(entry.isdigit() for entry in entries):
            yield entries


def strangers(text: str) -> set[str]:
    letters = {c for entries in shapes(text) for entry in entries for c in entry if c.isupper()}
    return letters - set(ALPHABET)


@pytest.mark.parametrize("name", modules())
def test_axes_come_from_one_alphabet(name):
    found = {where: strangers(text) for where, text in documented(name)}
    assert not {where: letters for where, letters in found.items() if letters}


@pytest.mark.parametrize("name", modules())
def test_public_functions_of_arrays_say_their_axes(name):
    silent = [
        f"{name}.{label}"
        for label, function, text in public_functions(name)
        if takes_arrays(function) and not list(shapes(text)) and "any shape" not in text
    ]
    assert not silent


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        outcome = doctest.DocTestRunner(verbose=False).run(test)
        assert outcome.failed == 0, f"the example of {test.name} fails"


@pytest.mark.parametrize("name", modules())
def test_an_example_is_code_that_can_run(name):
    for where, text in documented(name):
        assert "Example:" not in text or ">>>" in text.split("Example:")[1], where


def test_the_checks_see_what_they_should():
    assert strangers("Positions, [B, A, T, D].") == set()
    assert strangers("Scores of the modes, [B, M].") == {"M"}
    assert strangers("[*, A, T + F, 2 * H] and [..., F, 3]; a list[int], `x[I]`, [red]") == set()
    assert list(shapes("one of [x, y[, z]]")) == []


def public_functions(name: str) -> Iterator[tuple[str, typing.Any, str]]:
    """Functions and methods for others, each with its docstring and that of its class."""
    module = importlib.import_module(name)
    for label, thing in vars(module).items():
        if label.startswith("_") or getattr(thing, "__module__", None) != name:
            continue
        if inspect.isfunction(thing):
            yield label, thing, inspect.getdoc(thing) or ""
        elif inspect.isclass(thing):
            for key, method in inspect.getmembers_static(thing, inspect.isfunction):
                if method.__module__ == name and not key.startswith("_"):
                    both = f"{inspect.getdoc(thing)}\n{inspect.getdoc(method)}"
                    yield f"{label}.{key}", method, both


def takes_arrays(function: typing.Any) -> bool:
    words = [str(annotation) for annotation in inspect.get_annotations(function).values()]
    return any(re.search(rf"\b{kind}\b", word) for word in words for kind in ARRAYS)


def test_the_documentation_builds_and_knows_every_command(tmp_path):
    pytest.importorskip("mkdocs", reason="`make docs` installs mkdocs")
    pytest.importorskip("mkdocstrings", reason="`make docs` installs mkdocstrings")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "cli" / "index.html").read_text(encoding="utf-8")
    assert "trajflow data import" in page
    assert "fit-surprise" not in page
    assert "train.lr" in (tmp_path / "settings" / "index.html").read_text(encoding="utf-8")


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
COMMAND = re.compile(r"^[ $>]*trajflow ((?:[a-z-]+ )+.*)$|`trajflow ((?:[a-z-]+ )+[^`]*)`", re.M)
SETTING = re.compile(r"`((?:data|train|model|flow|samples)\.[a-z_]+)(?:=[^`]*)?`")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name
)
def test_pages_name_options_and_settings_that_exist(page):
    text = re.sub(r"--plugin \S+ ", "", page.read_text(encoding="utf-8"))
    options = {}
    for match in COMMAND.finditer(text):
        command, words = typer.main.get_command(app), (match[1] or match[2]).split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        exist = {
            name for option in command.params for name in (*option.opts, *option.secondary_opts)
        }
        used = {
            option for word in words for option in re.findall(r"(?:^|\[)(--?[a-z][a-z-]*)", word)
        }
        options[match[0]] = used - exist - {"--help", "-h"}
    assert not {line: wrong for line, wrong in options.items() if wrong}
    settings = {setting.name for setting in settings_of(Config())}
    assert set(SETTING.findall(text)) <= settings | {"model.onnx", "train.sbatch"}  # names of files
