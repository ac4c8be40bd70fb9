"""What `trajflow benchmark` asks for, done in order: a plan, its trials, its table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trajflow.cli.console import Progress, asking, complain, log, say, say_json
from trajflow.cli.tables import table
from trajflow.errors import ConfigError, RunError, did_you_mean

if TYPE_CHECKING:
    from trajflow.benchmark.drafting import Ask
    from trajflow.benchmark.plan import Plan
    from trajflow.benchmark.pool import Pool, Standing
    from trajflow.datasets.store import Store

STAGES = ("all", "train", "evaluate", "refresh", "table")
SHOWN = {
    "energy_score": "energy score",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "coverage_90": "inside 90 %",
}


@dataclass(frozen=True)
class Doing:
    """How a benchmark is carried out.

    Attributes:
        data: The store.
        out: Folder of all results.
        stage: "all", "train", "evaluate", "refresh" or "table".
        device: Where to compute.
        jobs: Trials at once.
    """

    data: Path
    out: Path
    stage: str
    device: str
    jobs: int


def names(words: str) -> tuple[str, ...]:
    """The words between commas, none of them empty."""
    return tuple(word.strip() for word in words.split(",") if word.strip())


def counts(words: str) -> tuple[int, ...]:
    """The numbers between commas.

    Raises:
        ConfigError: One is no number of at least 1.
    """
    found = names(words)
    if not all(word.isdecimal() and int(word) for word in found):
        raise ConfigError(f"--steps needs numbers of at least 1 as in 1,2,4, got {words!r}")
    return tuple(map(int, found))


def carry_out(ask: "Ask", doing: Doing) -> "Standing":
    """Plan, and do what the stage asks for.

    Raises:
        TrajflowError: The plan cannot be made, or does not fit the results that are there.
    """
    from trajflow.benchmark.drafting import plan_of
    from trajflow.benchmark.pool import Order, Pool, Standing
    from trajflow.datasets.store import open_store
    from trajflow.models.tensors import device_of

    if doing.stage not in STAGES:
        raise ConfigError(did_you_mean("stage", doing.stage, STAGES))
    if doing.stage == "table":
        return Standing(0)
    store, stage = open_store(doing.data), doing.stage
    if stage == "refresh":
        plan, stage = _planned(doing.out, store), "evaluate"
    else:
        plan = plan_of(ask, store)
        plan.save(doing.out)
    device = str(device_of(doing.device))
    pool = Pool(plan, Order(doing.out, doing.data, stage, device, doing.jobs))
    log.info("%d trials, %d at once on %s; %s", len(plan.trials), doing.jobs, device, doing.out)
    with asking(pool.stop), Progress("trials", len(plan.trials)) as progress:
        return _watched(pool, progress)


def _planned(out: Path, store: "Store") -> "Plan":
    """The plan of a folder of results, whatever the settings of today's version are.

    Raises:
        RunError: There is none, or it is of other tracks.
    """
    from trajflow.benchmark.plan import read_plan

    plan = read_plan(out)
    if plan.fingerprint != store.fingerprint():
        raise RunError(
            f"{out} holds results on {plan.data} ({plan.fingerprint[:8]}), not on {store.path} "
            f"({store.fingerprint()[:8]}); give the tracks that its runs were trained on"
        )
    return plan


def _watched(pool: "Pool", progress: Progress) -> "Standing":
    told: set[str] = set()
    for standing in pool.run():
        for name in standing.failed.keys() - told:
            complain("failed", f"{name}: {standing.failed[name]}")
        told |= set(standing.failed)
        note = " ".join(standing.running[:3]) + (" ..." if len(standing.running) > 3 else "")
        progress.update(len(standing.done), note, standing.left)
    return standing


def tabulate(out: Path, failed: Mapping[str, str], as_json: bool) -> None:
    """Write the table of all that is known, and say what matters of it.

    Raises:
        RunError: There are no results.
    """
    from trajflow.benchmark.plan import read_plan
    from trajflow.benchmark.table import Table

    made = Table.of(read_plan(out), out, failed)
    paths = made.write(out)
    if as_json:
        say_json(made.to_json())
        return
    heads = ["method", "steps", "K of draws", "seeds", *SHOWN.values()]
    say(table(heads, [_line(row.to_json()) for row in made.rows]))
    if made.missing:
        log.warning("%d trials are not done: %s", len(made.missing), ", ".join(made.missing[:9]))
    log.info("wrote %s", ", ".join(map(str, paths)))


def _line(row: Mapping[str, object]) -> list[object]:
    mean = row["mean"]
    scores = [mean.get(name) for name in SHOWN] if isinstance(mean, dict) else []
    kind = f"{row['samples']} of {row['draws']}"
    return [row["label"], row["steps"], kind, row["seeds"], *scores]
