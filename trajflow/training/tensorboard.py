"""A training's events as TensorBoard scalars, beside the run's own events.jsonl."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from trajflow.errors import MissingExtra
from trajflow.training.events import Evaluated, Event, Step


def logged(events: Iterable[Event], folder: Path) -> Iterator[Event]:
    """Pass the events on, writing losses and validation scores below `folder`.

    Raises:
        MissingExtra: The package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise MissingExtra(
            "TensorBoard logs need the package tensorboard: pip install 'trajflow[log]'"
        ) from None
    with SummaryWriter(str(folder)) as writer:
        for event in events:
            for name, value in _scalars(event).items():
                writer.add_scalar(name, value, event.step)
            yield event


def _scalars(event: Event) -> dict[str, float]:
    if isinstance(event, Step):
        return {"train/loss": event.loss, "train/lambda": event.weight, "train/rate": event.lr}
    if isinstance(event, Evaluated):
        return {f"validation/{name}": value for name, value in event.metrics.items()}
    return {}
