"""What a training says while it runs: one moving line, and a line for each validation."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from trajflow.cli.console import Progress, log, span

if TYPE_CHECKING:
    from trajflow.training import Evaluated, Event, Finished, Returned, Started, Step

SHOWN = {
    "energy_score": "energy score",
    "energy_score_by_recording": "by recording",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "coverage_90": "inside 90 %",
    "spread_ratio": "spread",
}


def watch(events: Iterable["Event"]) -> "Finished":
    """Show the events of a training on stderr; returns the last one."""
    from trajflow.training import Evaluated, Finished, Returned, Started, Step, Tempered

    progress = Progress("step")
    for event in events:
        if isinstance(event, Started):
            log.info(introduce(event))
            progress = Progress("step", event.steps, start=event.step)
        elif isinstance(event, Step):
            progress.update(event.step, losses(event), left=event.eta)
        elif isinstance(event, Evaluated):
            log.info(judgement(event))
        elif isinstance(event, Returned):
            log.warning(going_back(event))
        elif isinstance(event, Tempered):
            log.info("noise of deviation %g; %s", event.temperature, scores_of(event.metrics))
            if event.at_bound:
                log.warning(
                    "the deviation of the noise is at the end of the search, %g: a better one may "
                    "lie beyond; the run may have learned too little, or from too few people",
                    event.temperature,
                )
        elif isinstance(event, Finished):
            progress.close()
            return event
    raise AssertionError("a training ends with Finished")


def introduce(event: "Started") -> str:
    """What is trained, where, and for how long."""
    epochs = event.steps / event.steps_per_epoch
    begun = f", from step {event.step}" if event.step else ""
    several = f" with {event.threads} threads" if event.threads > 1 else ""
    return (
        f"{event.parameters:,} weights on {event.device}{several}, "
        f"{event.steps} steps of {epochs:g} epochs{begun}"
    )


def going_back(event: "Returned") -> str:
    """That a loss was not finite, and where the training goes on."""
    return (
        f"loss is {event.loss} at step {event.since}; going back to step {event.step} "
        f"and on with a learning rate of {event.rate:.3g}"
    )


def losses(event: "Step") -> str:
    """Where a training is."""
    return f"epoch {event.epoch:.1f}  loss {event.loss:.4f}  lambda {event.weight:.2f}"


def judgement(event: "Evaluated") -> str:
    """How the validation part is forecast at this step."""
    best = ["best"] if event.best else []
    scores = scores_of(event.metrics)
    return "  ".join([f"epoch {event.epoch:5.1f}", span(event.seconds), scores, *best])


def scores_of(metrics: Mapping[str, float]) -> str:
    """Validation scores in one line."""
    return "  ".join(f"{name} {metrics[key]:.3f}" for key, name in SHOWN.items() if key in metrics)
