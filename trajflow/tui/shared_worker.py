"""The worker that all screens of an application share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trajflow.tui.worker import Worker

if TYPE_CHECKING:
    from textual.app import App


def worker_of(app: App[Any]) -> Worker:
    """The worker of an app: its attribute `worker`, made and started if there is none."""
    found = getattr(app, "worker", None)
    if not isinstance(found, Worker):
        found = Worker(app)
        setattr(app, "worker", found)  # noqa: B010
    found.start()
    return found
