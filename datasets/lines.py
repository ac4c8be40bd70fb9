"""The lines of a text file in blocks whose memory is bounded, however long a line is."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trajflow.datasets.unpacking import unpacked

MAX_LINE = 1 << 17
"""Bytes of a line that are read; what comes after them is passed over."""
BLOCK_BYTES = 8 << 20

Numbered = tuple[int, bytes]


def blocks_of_lines(path: Path, most: int) -> Iterator[list[Numbered]]:
    """The lines that are not blank, with their numbers from 1.

    Args:
        path: A file, compressed or not.
        most: Lines in a block; lines of more than eight megabytes together are fewer.
    """
    with unpacked(path) as stream:
        block: list[Numbered] = []
        held = 0
        for number, line in enumerate(_lines(stream), 1):
            if not line.strip():
                continue
            block.append((number, line))
            held += len(line)
            if len(block) >= most or held >= BLOCK_BYTES:
                yield block
                block, held = [], 0
        if block:
            yield block


def first_lines(path: Path, most: int) -> Iterator[bytes]:
    """The first lines that are not blank, of eight megabytes at most."""
    for block in blocks_of_lines(path, most):
        yield from (line for _, line in block)
        return


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE):
        yield line
        while not line.endswith(b"\n") and line:
            line = stream.readline(MAX_LINE) if len(line) == MAX_LINE else b""
