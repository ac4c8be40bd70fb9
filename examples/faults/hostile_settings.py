"""Settings that a stranger wrote to hurt: files of `--config` and words of `--set`."""

import pickle
from collections.abc import Callable
from pathlib import Path

from payload import Payload

MAKERS: dict[str, Callable[[Path, Path], list[str]]] = {}
"""By name: writes a file if it needs one and gives the options of `trajflow train`."""


def _file(name: str, content: Callable[[Path], bytes]) -> None:
    def make(path: Path, canary: Path) -> list[str]:
        path.write_bytes(content(canary))
        return ["--config", str(path)]

    MAKERS[name] = make


def _word(name: str, word: str) -> None:
    MAKERS[name] = lambda path, canary: ["--set", word]


_file("settings a hundred thousand deep", lambda c: b"a = " + b"[" * 10**5)
_file("settings with a number of 10^6 digits", lambda c: b"[train]\nseed = " + b"9" * 10**6)
_file("settings of 64 MiB", lambda c: b"# " + b"x" * 2**26)
_file("settings with a million names", lambda c: b"".join(b"a%d=1\n" % i for i in range(10**6)))
_file("settings that are a pickle", lambda c: pickle.dumps(Payload(c)))
_file("settings in UTF-16", lambda c: "[train]\nseed = 1\n".encode("utf-16"))
_file("settings with a NUL", lambda c: b"[train]\nseed = \0\n")
_file("settings of another shape", lambda c: b"train = 3\n[[model]]\n")
_file("settings that are not finite", lambda c: b"[train]\nlr = inf\nscale_jitter = nan\n")
_word("a word ten thousand deep", ".".join(["a"] * 10_000) + "=1")
_word("a word of a list 10^5 deep", "model.encoder_options=" + "[" * 10**5)
_word("a word that ends the line", "train.seed=1\nmodel.width=2")
_word("a word that is not finite", "train.lr=nan")
_word("a width of 10^18", "model.width=1" + "0" * 18)
