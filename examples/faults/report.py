"""The options that all fault scripts share, and how they print their results."""

import argparse
import json


def option_parser(description: str | None, count: int | None = None) -> argparse.ArgumentParser:
    """A parser with `--json`, and with `--count` and `--seed` if a default count is given."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    if count is not None:
        parser.add_argument("--count", type=int, default=count, help=f"repetitions; {count}")
        parser.add_argument("--seed", type=int, default=0, help="random seed; 0")
    return parser


def print_report(results: dict[str, object], as_json: bool) -> None:
    """Print results as a JSON object, or as a Markdown table of one row."""
    if as_json:
        print(json.dumps(results, indent=1))
        return
    print("| " + " | ".join(results) + " |")
    print("|" + "---|" * len(results))
    print("| " + " | ".join(map(str, results.values())) + " |")
