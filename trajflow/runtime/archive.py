"""A .pt2 file: torch's archive with what we put into it, and a digest behind it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from typing import Any

from trajflow.errors import RunError
from trajflow.runtime.artefact import LARGEST, Artefact

START, END = b"PK\x03\x04", b"PK\x05\x06"
NAME = b"trajflow.sha256="
LENGTH = len(NAME) + 64
EXTRA, PROGRAM, INPUTS = "extra/", "models/model.json", "data/sample_inputs/model.pt"
"""Where torch keeps the files it was given beside a program, the program, and its examples."""
KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.\w+|\.data/\w+|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|extra/trajflow(\.\w+)?"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
)
"""Entries of an archive that hold numbers and JSON alone."""
OPERATION = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.sym_\w+|math\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
)
"""What a program may compute by: by any other name torch would look up any function it has."""
NAMED = re.compile(r"[\w.]*")
"""Names of values: torch writes Python with them."""
SIZE = re.compile(
    r"(Add|Mul|Pow|Min|Max|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|Integer|Symbol|Eq|Ne|Lt|Le|Gt|Ge"
    r"|Rational|positive|nonnegative|integer|real|True|False|'[su]\d+'|[su]\d+|[-+*/%(),=<>\s\d])*"
)
"""What a size may be written by: torch evaluates it as Python."""
WORDS = {"target": OPERATION, "expr_str": SIZE, "name": NAMED, "as_name": NAMED}


def is_archive(content: bytes) -> bool:
    """Whether bytes begin as a .pt2 file does."""
    return content.startswith(START)


def sealed_archive(content: bytes) -> bytes:
    """An archive with a digest of all of it as its comment.

    Raises:
        RunError: It has a comment already, or is none.
    """
    if content[-22:-18] != END or content[-2:] != b"\0\0":
        raise RunError("the archive that torch made is not of the usual form")
    body = content[:-2] + struct.pack("<H", LENGTH)
    return body + NAME + hashlib.sha256(body).hexdigest().encode()


def opened_archive(content: bytes) -> Artefact:
    """The artefact in the bytes of a .pt2 file, once these are known to be whole.

    Raises:
        RunError: They are damaged, or of another kind.
    """
    body, seal = content[:-LENGTH], content[-LENGTH:]
    if not seal.startswith(NAME):
        raise RunError("damaged, or not made by `trajflow export`: it has no digest")
    if seal[len(NAME) :] != hashlib.sha256(body).hexdigest().encode():
        raise RunError("damaged: its contents do not match its own digest")
    extras = (pair for pair in _entries(content).items() if pair[0].startswith(EXTRA))
    try:
        return Artefact.of({name.removeprefix(EXTRA): one.decode() for name, one in extras})
    except UnicodeDecodeError as error:
        raise RunError(f"what it carries cannot be read: {error}") from None


def plain(content: bytes) -> bytes:
    """An archive written anew of what is numbers and JSON alone, for torch to read.

    What torch would unpickle, evaluate as Python or look up among its functions is refused or left
    out, so that a program is what it computes.

    Raises:
        RunError: There is such a thing, or the archive is none.
    """
    kept = _entries(content)
    try:
        program = json.loads(kept[PROGRAM])
        program["guards_code"] = []
        for name in kept:
            if name.endswith("_config.json"):
                _check(json.loads(kept[name]))
        _check(program)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunError(f"its program cannot be read: {error!r}") from None
    kept |= {PROGRAM: json.dumps(program).encode(), INPUTS: b""}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, one in kept.items():
            if not name.startswith(EXTRA):
                archive.writestr(f"archive/{name}", one)
    return made.getvalue()


def _entries(content: bytes) -> dict[str, bytes]:
    """The entries of an archive by name, without its folder.

    Raises:
        RunError: There are others than those known, or they are packed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
            if sum(one.file_size for one in listed) > LARGEST:
                raise RunError(f"it unfolds to more than {LARGEST} bytes")
            found = {}
            for one in listed:
                name = one.filename.partition("/")[2]
                if not KNOWN.fullmatch(name) or name in found or one.compress_type:
                    raise RunError(f"it has an entry that no export has: {one.filename!r}")
                found[name] = archive.read(one)
            return found
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise RunError(f"it is no archive of torch: {error}") from None


def _check(value: Any) -> None:
    """Refuse JSON that names what no export needs.

    Raises:
        RunError: It does.
    """
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            for key, inner in one.items():
                allowed = WORDS.get(key)
                if allowed and isinstance(inner, str) and not allowed.fullmatch(inner):
                    raise RunError(f"its program has a {key} of {inner!r}, which no export has")
                if key == "use_pickle" and inner is not False:
                    raise RunError("it has pickled numbers, which no export has")
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
