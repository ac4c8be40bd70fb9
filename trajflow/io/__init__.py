"""Files that are written whole, listed with their digests, and read within limits."""

from trajflow.io.locking import Lock
from trajflow.io.manifest import Entry, Manifest, forget, keep, read_kept, seal
from trajflow.io.reading import JSON, parse_json, read_whole
from trajflow.io.tensors import Header, TensorSpec, read_header
from trajflow.io.writing import storing, write_whole

__all__ = [
    "JSON",
    "Entry",
    "Header",
    "Lock",
    "Manifest",
    "TensorSpec",
    "forget",
    "keep",
    "parse_json",
    "read_header",
    "read_kept",
    "read_whole",
    "seal",
    "storing",
    "write_whole",
]
