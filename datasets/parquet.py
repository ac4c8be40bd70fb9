"""Read Parquet tables of strangers through a process of their own, whose memory is bounded."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pyarrow as pa

from trajflow.datasets.inflation import Inflation
from trajflow.datasets.unpacking import check_plain
from trajflow.errors import DataError

CHILD = Path(__file__).with_name("decoding.py")
TOO_LARGE = 4
MAX_RATIO = 50
"""Positions hardly shrink; where the whole file counts as taken, the bound is tighter."""


def parquet_names(path: Path) -> list[str]:
    """Names of the columns of a Parquet file.

    Raises:
        DataError: It is none, or cannot be read.
    """
    with _decoded(path, 1, ()) as stream:
        return list(stream.schema.names)


def read_parquet(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The chosen columns of a Parquet file, in batches of at most so many rows.

    Raises:
        DataError: It is none, is damaged, or unfolds to more than memory shall hold.
    """
    size = check_plain(path)
    inflation = Inflation(path, lambda: size, MAX_RATIO)
    with _decoded(path, rows, columns) as stream:
        for batch in stream:
            inflation.add(batch.nbytes)
            yield batch


@contextmanager
def _decoded(
    path: Path, rows: int, columns: Sequence[str]
) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    check_plain(path)
    words = [sys.executable, "-P", str(CHILD), str(path.absolute()), str(rows)]
    tight = os.environ | {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with subprocess.Popen(words, env=tight, stdin=PIPE, stdout=PIPE, stderr=PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            child.stdin.write(json.dumps(list(columns)).encode())
            child.stdin.close()
            with pa.ipc.open_stream(child.stdout) as stream:
                yield stream
            if child.wait():
                raise _refused(path, child.returncode, child.stderr.read())
        except (pa.ArrowException, OSError, EOFError):
            child.stdout.close()
            raise _refused(path, child.wait(), child.stderr.read()) from None
        finally:
            child.kill()


def _refused(path: Path, code: int, told: bytes) -> DataError:
    if code == TOO_LARGE:
        return DataError(
            f"{path} unfolds to more memory than a table of tracks takes; "
            "write it with smaller row groups, or as CSV"
        )
    why = told.decode("utf-8", "replace").strip()[:200] or f"its decoder ended with {code}"
    return DataError(f"{path} is damaged or no Parquet file ({why}); get it again")
