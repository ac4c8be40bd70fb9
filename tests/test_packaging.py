"""The wheel, built from the sdist of the files git knows, works outside the repository."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = {"trajflow/datasets": "../datasets", "trajflow/cli": "../cli"}


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, arguments)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def project_files() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("the tests run outside a clone")
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel built from the sdist built from a copy of the project."""
    copy = tmp_path_factory.mktemp("copy")
    for name in project_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """A folder outside the repository into which the wheel is installed."""
    target = tmp_path_factory.mktemp("site")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--no-compile", "--target", target, wheel, cwd=target)
    return target


@pytest.mark.parametrize("name", ["trajflow", "trajflow.datasets", "trajflow.cli.app"])
def test_the_installed_wheel_imports_outside_the_repository(installed, name):
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); import {name} as m; "
    where = run(sys.executable, "-I", "-c", code + "print(m.__file__)", cwd=installed)
    assert Path(where.strip()).is_relative_to(installed)


def test_the_installed_command_runs(installed):
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); from trajflow.cli import main; "
    words = run(sys.executable, "-I", "-c", code + "main(['--version'])", cwd=installed)
    assert words == f"trajflow {project()['project']['version']}\n"


def test_the_wheel_holds_every_file_of_the_packages(built):
    (wheel,) = built.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = (".py", ".toml", ".typed", ".tcss", ".zip", ".npz")
    tops = {"datasets": "trajflow/datasets", "cli": "trajflow/cli", "trajflow": "trajflow"}
    for name in project_files():
        top, _, rest = name.partition("/")
        if top in tops and name.endswith(kinds):
            assert f"{tops[top]}/{rest}" in held, f"{name} is not in the wheel"
    assert not [name for name in held if name.startswith(("datasets/", "cli/", "tests/"))]


def test_the_listed_packages_are_the_folders():
    tops = {"trajflow": "trajflow", "datasets": "trajflow.datasets", "cli": "trajflow.cli"}
    folders = set()
    for name in project_files():
        top, *below = Path(name).parts[:-1] or [""]
        if top in tops and name.endswith((".py", ".toml")):
            folders.add(".".join([tops[top], *below]))
    assert set(project()["tool"]["setuptools"]["packages"]) == folders


def test_git_keeps_the_two_links_as_links():
    project_files()
    for link, target in LINKS.items():
        mode, blob, *_ = run("git", "ls-files", "-s", link, cwd=ROOT).split()
        assert mode == "120000"
        assert run("git", "cat-file", "blob", blob, cwd=ROOT) == target


def test_a_bare_import_of_datasets_in_the_repository_names_the_mistake():
    code = "import datasets"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "trajflow.datasets" in done.stderr.splitlines()[-1]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
