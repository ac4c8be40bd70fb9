"""How runs and stores stand in the list, and what is told of the one that is chosen."""

from trajflow.tui.jobs.found import Run, Tracks
from trajflow.tui.widgets.entries import Entry
from trajflow.tui.widgets.facts import Line
from trajflow.tui.widgets.words import ago, count, number, share, span

MARKS = {"training": "◐", "done": "●", "stopped": "○", "damaged": "!"}
TONES = {"training": "busy", "done": "good", "stopped": "calm", "damaged": "bad"}


def entry_of(thing: Run | Tracks, now: float) -> Entry:
    """A run or a store as an entry of the list, `now` being seconds since 1970."""
    when = ago(max(0.0, now - thing.changed))
    if isinstance(thing, Tracks):
        tone, mark = ("bad", "!") if thing.problem else ("calm", "▤")
        return Entry(thing.path, mark, tone, thing.name, when, thing.problem or _size(thing))
    state = thing.state
    below = thing.problem or f"{_kind(thing)} · {_score(thing)}"
    right = when if state == "done" else state
    curve = tuple(thing.history.scores("energy_score"))
    return Entry(thing.path, MARKS[state], TONES[state], thing.name, right, below, curve)


def told_of_run(run: Run, data: Tracks | None) -> list[Line]:
    """What the preview tells of a run."""
    if run.problem:
        return [[("damaged", run.problem)], [("folder", str(run.path))]]
    past, epochs = run.history, number(run.history.epochs)
    begun = f"{number(past.epoch)} of {epochs} epochs" if epochs != "-" else "not begun"
    fold = [("fold", run.fold)] if run.fold else []
    return [
        [
            ("energy score", number(past.best("energy_score"))),
            ("minADE", number(past.best("min_ade"))),
        ],
        [
            ("inside 90 %", share(past.best("coverage_90"))),
            ("minFDE", number(past.best("min_fde"))),
        ],
        [(run.state, begun), *fold],
        [("in", span(past.seconds)), ("tracks", data.name if data else "not here")],
    ]


def told_of_tracks(tracks: Tracks) -> list[Line]:
    """What the preview tells of a store."""
    if tracks.problem or tracks.about is None:
        return [[("damaged", tracks.problem)], [("folder", str(tracks.path))]]
    about = tracks.about
    agents = ", ".join(f"{count(n)} {kind}" for kind, n in about["agents"].items())
    return [
        [("rows", count(about["rows"])), ("tracks", count(about["trajectories"]))],
        [("scenes", str(about["scenes"])), ("agents", agents)],
        [("step", f"{tracks.dt:g} s"), ("recorded", span(about["duration"]))],
        [("source", str(about["source"] or "unknown"))],
    ]


def _kind(run: Run) -> str:
    return f"{run.encoder} · {run.preset}"


def _score(run: Run) -> str:
    score = number(run.history.best("energy_score"))
    return f"energy {score}" if score != "-" else "nothing judged yet"


def _size(tracks: Tracks) -> str:
    about = tracks.about or {}
    return f"{count(about['trajectories'])} tracks · {about['scenes']} scenes · {tracks.dt:g} s"
