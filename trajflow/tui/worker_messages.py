"""What a screen hears from the worker process."""

from typing import Any

from textual.message import Message

from trajflow.tui.worker_requests import Request


class Answered(Message):
    """A request was answered, in whole or, while it goes on, in part.

    Attributes:
        number: What `Worker.ask` returned.
        request: What was asked.
        value: The answer.
    """

    def __init__(self, number: int, request: Request, value: Any) -> None:
        super().__init__()
        self.number, self.request, self.value = number, request, value


class Finished(Message):
    """Nothing more comes for a request: it is done, was cancelled, or a newer one replaced it."""

    def __init__(self, number: int, request: Request) -> None:
        super().__init__()
        self.number, self.request = number, request


class Failed(Message):
    """A request could not be answered.

    Attributes:
        number: What `Worker.ask` returned.
        request: What was asked.
        text: What was wrong and what to do, in one or two sentences.
        trace: Where it happened if nobody expected it, else empty.
        died: Whether the whole process ended; the app tells of it, and it is started again.
    """

    def __init__(
        self, number: int, request: Request, text: str, trace: str = "", died: bool = False
    ) -> None:
        super().__init__()
        self.number, self.request, self.text, self.trace = number, request, text, trace
        self.died = died


class WorkerReady(Message):
    """The worker has loaded what it needs, after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class WorkerDied(Message):
    """The worker process ended by itself; `again` says whether it is started once more."""

    def __init__(self, text: str, again: bool) -> None:
        super().__init__()
        self.text, self.again = text, again
