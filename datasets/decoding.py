"""Decode one Parquet file and hand its rows on: a program of its own, whose memory is bounded.

Parquet unfolds where nobody can see it coming: a few bytes may say that a text of a megabyte is
repeated in a million rows. Here that ends the program, not its caller. It knows nothing but
pyarrow, writes an Arrow stream to stdout and one line about what is wrong to stderr.
"""

import json
import resource
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOM = 384 * 2**20
"""Bytes of memory beyond what the program has when it starts."""
BUFFER = 1 << 20
MAX_FIELDS = 10_000
WRONG, TOO_LARGE = 3, 4
"""What it exits with."""


def main(path: str, rows: int, names: list[str]) -> None:
    """Write the chosen columns of a file in batches of so many rows; without names, its schema."""
    with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        found = names or file.schema_arrow.names[:MAX_FIELDS]
        schema = pa.schema([pa.field(name, pa.null()) for name in found])
        writer = None
        for batch in file.iter_batches(rows, columns=names, use_threads=False) if names else ():
            dense = _dense(batch)
            dense.validate(full=True)
            writer = writer or pa.ipc.new_stream(sys.stdout.buffer, dense.schema)
            writer.write_batch(dense)
        (writer or pa.ipc.new_stream(sys.stdout.buffer, schema)).close()


def limit() -> None:
    """Let this process have a little more memory than it has, and no more."""
    pa.set_memory_pool(pa.system_memory_pool())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _dense(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


if __name__ == "__main__":
    if sys.platform == "linux":
        limit()
    try:
        main(sys.argv[1], int(sys.argv[2]), json.load(sys.stdin))
    except MemoryError:
        sys.exit(TOO_LARGE)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        sys.stderr.write(str(error)[:200])
        sys.exit(WRONG)
