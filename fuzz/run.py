"""Fuzz one of our parsers, or all of them.

    python fuzz/run.py [TARGET ...] [--seconds 600] [--plain]

With atheris (`pip install atheris`) inputs are guided by the code they reach; without it, or with
--plain, they are changed at random. An input that is not handled is kept in fuzz/found/TARGET-...
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
FOUND = HERE / "found"


def main() -> None:
    """Run each target in a process of its own; exit code 1 if one has a crash."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        _one(asked.targets[0], asked.seconds, asked.plain)
        return
    sys.path.insert(0, str(HERE))
    from targets import TARGETS

    crashed = []
    for name in asked.targets or sorted(TARGETS):
        began = time.monotonic()
        words = [sys.executable, __file__, name, "--here", "--seconds", str(asked.seconds)]
        done = subprocess.run(words + ["--plain"] * asked.plain, check=False)
        outcome = "ok" if done.returncode == 0 else f"CRASH ({done.returncode})"
        print(f"{name:10} {time.monotonic() - began:7.0f} s  {outcome}", flush=True)
        crashed += [name] * bool(done.returncode)
    sys.exit(1 if crashed else 0)


def _one(name: str, seconds: int, plain: bool) -> None:
    sys.path.insert(0, str(HERE))
    try:
        if plain:
            raise ImportError
        import atheris
    except ImportError:
        _changed(name, seconds)
    else:
        _guided(atheris, name, seconds)


def _changed(name: str, seconds: int) -> None:
    from mutating import fuzz
    from seeds import WORDS, seeds

    with tempfile.TemporaryDirectory() as place:
        check = _keeping(name, Path(place))
        tried = fuzz(check, seeds(name, Path(place)), WORDS, seconds=seconds, seed=int(time.time()))
    print(f"{name}: {tried} inputs, changed at random", flush=True)


def _guided(atheris: object, name: str, seconds: int) -> None:
    with atheris.instrument_imports(include=["trajflow"]):  # type: ignore[attr-defined]
        import targets  # noqa: F401
    from seeds import WORDS, seeds

    with tempfile.TemporaryDirectory() as place:
        corpus, room = Path(place, "corpus"), Path(place, "room")
        corpus.mkdir()
        room.mkdir()
        for number, each in enumerate(seeds(name, room)):
            (corpus / str(number)).write_bytes(each)
        words = Path(place, "words")
        escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
        words.write_text("".join(f'"{word}"\n' for word in escaped))
        limits = [f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=3000", "-verbosity=0"]
        limits += ["-print_final_stats=1", f"-dict={words}", "-max_len=65536"]
        atheris.Setup([name, *limits, str(corpus)], _keeping(name, room))  # type: ignore[attr-defined]
        atheris.Fuzz()  # type: ignore[attr-defined]


def _keeping(name: str, room: Path) -> Callable[[bytes], None]:
    """The target, which keeps an input that it does not handle before it fails."""
    from targets import TARGETS

    def check(data: bytes) -> None:
        try:
            TARGETS[name](data, room)
        except Exception:
            FOUND.mkdir(exist_ok=True)
            kept = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            kept.write_bytes(data)
            traceback.print_exc()
            print(f"kept {kept}", flush=True)
            raise

    return check


if __name__ == "__main__":
    main()
