"""What a benchmark will do, decided before anything is done: a list of trials."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trajflow.config import Config
from trajflow.errors import RunError
from trajflow.evaluation import Judging
from trajflow.io import write_whole
from trajflow.text import file_name

FILE = "plan.json"


def named(fold: str, method: str, seed: int) -> str:
    """What a trial is called, whatever the data call their fold."""
    return f"{file_name(fold)}-{method}-{seed}"


@dataclass(frozen=True)
class Trial:
    """One forecaster on one fold.

    Attributes:
        fold: The fold.
        method: The preset that is trained, or the floor.
        seed: Seed of the training.
        config: All settings.
        evaluations: How it is judged once it is there.
        floor: Whether it is a floor.
        members: Names of the trials that it mixes evenly; then nothing is trained.
    """

    fold: str
    method: str
    seed: int
    config: Config
    evaluations: tuple[Judging, ...]
    floor: bool = False
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A name that no other trial of the plan has, good for a folder."""
        return named(self.fold, self.method, self.seed)

    def folder(self, results: Path) -> Path:
        """Where the trial's weights and reports are."""
        return results / ("floors" if self.floor else "runs") / self.name


@dataclass(frozen=True)
class Plan:
    """All trials of a benchmark on one store.

    Attributes:
        benchmark: Its name.
        data: Name of the store, without its folder.
        fingerprint: Checksum of the tracks.
        trials: The trials, in the order of work.
    """

    benchmark: str
    data: str
    fingerprint: str
    trials: tuple[Trial, ...]

    def trial(self, name: str) -> Trial:
        """The trial of a name."""
        return next(trial for trial in self.trials if trial.name == name)

    def joined(self, other: "Plan") -> "Plan":
        """This plan and what another has beside it.

        Raises:
            RunError: They are of different tracks, or a trial has other settings there.
        """
        if (self.benchmark, self.fingerprint) != (other.benchmark, other.fingerprint):
            raise RunError(
                f"these results are of {other.benchmark} on {other.data} "
                f"({other.fingerprint[:8]}), not of {self.benchmark} on {self.data} "
                f"({self.fingerprint[:8]}); choose another --out"
            )
        known = {trial.name: trial for trial in other.trials}
        for trial in self.trials:
            known[trial.name] = _merged(trial, known.get(trial.name, trial))
        return replace(self, trials=tuple(known.values()))

    def save(self, results: Path) -> None:
        """Write the plan into a folder of results, joined with the one that is there."""
        results.mkdir(parents=True, exist_ok=True)
        whole = self.joined(read_plan(results)) if (results / FILE).exists() else self
        write_whole(results / FILE, json.dumps(_to_json(whole), indent=1).encode())


def read_plan(results: Path) -> Plan:
    """The plan of a folder of results.

    Raises:
        RunError: There is none.
    """
    try:
        values = json.loads((results / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(
            f"{results} has no {FILE}; run `trajflow benchmark ethucy DATA -o {results}` first"
        ) from None
    return Plan(**{**values, "trials": tuple(_trial(one) for one in values["trials"])})


def _merged(new: Trial, old: Trial) -> Trial:
    if new.config != old.config:
        raise RunError(
            f"trial {new.name} was planned with other settings ({_differing(new, old)}); "
            "ask for the same ones, or choose another --out"
        )
    others = [terms for terms in old.evaluations if terms not in new.evaluations]
    return replace(new, evaluations=(*new.evaluations, *others))


def _differing(new: Trial, old: Trial) -> str:
    one, other = new.config.model_dump(), old.config.model_dump()
    return ", ".join(
        f"{part}.{name} {other[part][name]!r}, now {value!r}"
        for part, values in one.items()
        for name, value in values.items()
        if other[part][name] != value
    )


def _to_json(plan: Plan) -> dict[str, Any]:
    trials = [
        {**vars(trial), "config": trial.config.model_dump(mode="json")}
        | {"evaluations": [asdict(terms) for terms in trial.evaluations]}
        for trial in plan.trials
    ]
    return {**vars(plan), "trials": trials}


def _trial(values: dict[str, Any]) -> Trial:
    config = Config.recorded(values["config"])
    evaluations = tuple(Judging(**terms) for terms in values["evaluations"])
    members = tuple(values.get("members", ()))
    known = {"config": config, "evaluations": evaluations, "members": members}
    return Trial(**{**values, **known})
