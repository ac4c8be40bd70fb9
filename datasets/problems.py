"""The problems that rows of an import can have, and what the user wants done about each."""

from collections.abc import Mapping

from trajflow.errors import ConfigError, did_you_mean

PROBLEMS = {
    "malformed": "a line without the columns of the others",
    "no-label": "no name for the scene or the agent",
    "not-a-number": "a time or coordinate that is no finite decimal number",
    "mixed-units": "a scene or agent whose steps and place are of another order of magnitude",
    "duplicate": "the same agent, time and place once more",
    "conflict": "one agent at two places at one time; all of them are set apart",
    "off-grid": "a time further than a quarter of dt from a whole step, or a second row in a step",
    "teleport": "a place that the agent cannot have reached",
}
"""What each problem means, in the order in which rows are judged."""
POLICIES = ("quarantine", "refuse")


def policies(wanted: Mapping[str, str] | str | None) -> dict[str, str]:
    """What to do about each problem: "quarantine" unless something else is wanted.

    Args:
        wanted: A policy for all problems, or policies by problem.

    Raises:
        ConfigError: A problem or a policy is unknown.
    """
    if isinstance(wanted, str):
        wanted = dict.fromkeys(PROBLEMS, wanted)
    for problem, policy in (wanted or {}).items():
        if problem not in PROBLEMS:
            raise ConfigError(did_you_mean("problem", problem, tuple(PROBLEMS)))
        if policy not in POLICIES:
            raise ConfigError(did_you_mean("policy", policy, POLICIES))
    return dict.fromkeys(PROBLEMS, POLICIES[0]) | dict(wanted or {})
