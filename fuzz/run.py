"""Fuzz the parsers in targets.py.

    python fuzz/run.py [TARGET ...] [--seconds 600] [--plain]

With atheris (`pip install atheris`) the inputs are guided by code coverage; without it, or with
--plain, they are changed at random. An input that causes a crash is written to
fuzz/found/TARGET-HASH.
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
CRASHES = HERE / "found"


def main() -> None:
    """Fuzz each target in a process of its own; exit code 1 if one crashes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help="names of targets; all if left out")
    parser.add_argument("--seconds", type=int, default=600, help="seconds for each target")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _fuzz(options.targets[0], options.seconds, options.plain)
        return
    sys.path.insert(0, str(HERE))
    from targets import TARGETS

    crashed = []
    for name in options.targets or sorted(TARGETS):
        start = time.monotonic()
        command = [sys.executable, __file__, name, "--here", "--seconds", str(options.seconds)]
        process = subprocess.run(command + ["--plain"] * options.plain, check=False)
        outcome = "ok" if process.returncode == 0 else f"CRASH ({process.returncode})"
        print(f"{name:10} {time.monotonic() - start:7.0f} s  {outcome}", flush=True)
        crashed += [name] * bool(process.returncode)
    sys.exit(1 if crashed else 0)


def _fuzz(name: str, seconds: int, plain: bool) -> None:
    sys.path.insert(0, str(HERE))
    try:
        if plain:
            raise ImportError
        import atheris
    except ImportError:
        _fuzz_plain(name, seconds)
    else:
        _fuzz_guided(atheris, name, seconds)


def _fuzz_plain(name: str, seconds: int) -> None:
    from mutating import fuzz
    from seeds import WORDS, seeds

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        check, seed = _check(name, folder), int(time.time())
        calls = fuzz(check, seeds(name, folder), WORDS, seconds=seconds, seed=seed)
    print(f"{name}: {calls} inputs, changed at random", flush=True)


def _fuzz_guided(atheris: object, name: str, seconds: int) -> None:
    with atheris.instrument_imports(include=["trajflow"]):  # type: ignore[attr-defined]
        import targets  # noqa: F401
    from seeds import WORDS, seeds

    with tempfile.TemporaryDirectory() as temporary:
        corpus, folder = Path(temporary, "corpus"), Path(temporary, "files")
        corpus.mkdir()
        folder.mkdir()
        for number, data in enumerate(seeds(name, folder)):
            (corpus / str(number)).write_bytes(data)
        dictionary = Path(temporary, "dictionary")
        escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
        dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
        limits = [f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=3000", "-verbosity=0"]
        limits += ["-print_final_stats=1", f"-dict={dictionary}", "-max_len=65536"]
        atheris.Setup([name, *limits, str(corpus)], _check(name, folder))  # type: ignore[attr-defined]
        atheris.Fuzz()  # type: ignore[attr-defined]


def _check(name: str, folder: Path) -> Callable[[bytes], None]:
    """The target, which writes an input that causes a crash to a file before it raises."""
    from targets import TARGETS

    def check(data: bytes) -> None:
        try:
            TARGETS[name](data, folder)
        except Exception:
            CRASHES.mkdir(exist_ok=True)
            file = CRASHES / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            file.write_bytes(data)
            traceback.print_exc()
            print(f"wrote {file}", flush=True)
            raise

    return check


if __name__ == "__main__":
    main()
