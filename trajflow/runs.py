"""A run folder: settings, events, weights and what is needed to trust or resume them."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajflow.config import Config
from trajflow.errors import RunError

CONFIG, RECORD, EVENTS, WEIGHTS, RESUME = (
    "config.toml",
    "run.json",
    "events.jsonl",
    "weights.safetensors",
    "resume.pt",
)


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename: a reader sees the old file or the new one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True)
class RunFolder:
    """One training on disk."""

    path: Path

    @classmethod
    def create(cls, path: str | Path, config: Config, record: Mapping[str, Any]) -> "RunFolder":
        """A new run folder with its settings and its record.

        Raises:
            RunError: The folder exists and is not empty.
        """
        folder = cls(Path(path))
        if folder.path.exists() and any(folder.path.iterdir()):
            raise RunError(
                f"{path} exists; go on with it by --out {path} --resume, or choose another --out"
            )
        folder.path.mkdir(parents=True, exist_ok=True)
        write_whole(folder.path / CONFIG, config.to_toml().encode())
        folder.record(record)
        return folder

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """An existing run folder, named by itself or by any file in it.

        Raises:
            RunError: There is none.
        """
        place = Path(path)
        for candidate in (place, place.parent):
            if (candidate / CONFIG).is_file() and (candidate / RECORD).is_file():
                return cls(candidate)
        raise RunError(
            f"{path} is not a run folder (no {CONFIG} and {RECORD}); "
            "`trajflow train DATA.zarr --out RUN` makes one"
        )

    @property
    def config(self) -> Config:
        """The settings the run was started with."""
        return Config.load(self.path / CONFIG)

    def record(self, values: Mapping[str, Any]) -> None:
        """Replace the record of what the run was made from."""
        write_whole(self.path / RECORD, json.dumps(values, indent=2).encode())

    def read_record(self) -> dict[str, Any]:
        """The record of what the run was made from."""
        try:
            values: dict[str, Any] = json.loads((self.path / RECORD).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"{self.path / RECORD} cannot be read: {error}") from None
        return values

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event as one line."""
        with (self.path / EVENTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def events(self) -> Iterator[dict[str, Any]]:
        """The events so far; a line that is still being written is left for later."""
        path = self.path / EVENTS
        if not path.is_file():
            return
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file of the run, whole."""
        write_whole(self.path / name, content)

    def read(self, name: str, otherwise: str) -> bytes:
        """A file of the run, in memory.

        Raises:
            RunError: It is missing; the message ends with `otherwise`.
        """
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise RunError(f"{self.path} has no {name}: {otherwise}") from None
