"""What a fault script found: one table row for people, one JSON object for programs."""

import argparse
import json


def arguments(count: int, what: str, **more: int) -> argparse.Namespace:
    """The words of the command line: how often, from which seed, and how it is told.

    Args:
        count: How often, if nothing is said.
        what: What the script does.
        more: Further numbers that may be chosen, by name.
    """
    parser = argparse.ArgumentParser(description=what)
    for name, usual in more.items():
        parser.add_argument(f"--{name}", type=int, default=usual, help=str(usual))
    parser.add_argument("--count", type=int, default=count, help=f"how often; {count}")
    parser.add_argument("--seed", type=int, default=0, help="what all chance is drawn from")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def tell(found: dict[str, object], as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print("| " + " | ".join(found) + " |")
    print("|" + "---|" * len(found))
    print("| " + " | ".join(map(str, found.values())) + " |")
