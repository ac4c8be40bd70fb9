"""Pages of the documentation that are made from the program: its commands and its settings."""

import json
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from trajflow.cli.app import app
from trajflow.config import Config
from trajflow.config_help import settings_of


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in (("cli.md", commands()), ("settings.md", settings())):
        files.append(File.generated(config, name, content=text))
    return files


def commands() -> str:
    """All commands with their arguments and options."""
    root: Any = typer.main.get_command(app)
    for name in [name for name, command in root.commands.items() if command.hidden]:
        del root.commands[name]
    context = typer.Context(root, info_name="trajflow")
    return str(get_docs_for_click(obj=root, ctx=context, name="trajflow", title="Command line"))


def settings() -> str:
    """All settings of a training with default, type and meaning."""
    rows = []
    for one in settings_of(Config()):
        value = "none" if one.value is None else json.dumps(one.value)
        kind = one.kind.replace("|", "\\|")
        rows.append(f"| `{one.name}` | `{value}` | {kind} | {one.meaning} |")
    table = "\n".join(rows)
    return (
        "# Settings\n\n`trajflow train DATA --set NAME=VALUE` sets one, `--config RUN.toml` many; "
        "`trajflow train --help-config -o RUN.toml` writes all with their meaning.\n\n"
        f"| setting | default | type | meaning |\n|---|---|---|---|\n{table}\n"
    )
