"""What a screen asks of the application: small messages that bubble up to it."""

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message


@dataclass
class OpenForecast(Message):
    """Show the windows of a store beside what a run forecasts of them.

    Attributes:
        run: Run folder.
        data: Store.
        part: "train", "val" or "test".
        second: Another run to be shown side by side, if any.
    """

    run: Path
    data: Path
    part: str = "test"
    second: Path | None = None


@dataclass
class OpenOod(Message):
    """Show how well a run notices what is out of its distribution."""

    run: Path
    data: Path


@dataclass
class OpenTraining(Message):
    """Show a training, also while it runs; `data` is the store it learns from, if known."""

    run: Path
    data: Path | None = None


@dataclass
class OpenData(Message):
    """Show what a store holds."""

    store: Path


@dataclass
class NewTraining(Message):
    """Ask for the settings of a training from a store, and start it."""

    store: Path


@dataclass
class Complain(Message):
    """Tell the user what went wrong; the text may come from data and is shown as it is."""

    text: str


@dataclass
class Tell(Message):
    """Tell the user what happened."""

    text: str
